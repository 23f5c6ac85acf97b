//! The lease plugin's client of etcd against three real members on loopback: over TLS with certificates on both sides, as a
//! user, with members that fall one after the other. Skipped, with the reason, where etcd isn't installed.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Certs, Process, ProcessSpec, eventually, free_port, wait_until};
use keystead_lease::agent::Answer;
use keystead_lease::config::Config;
use keystead_lease::etcd::Etcd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn etcd_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: etcd isn't installed (Debian: etcd-server)");
    }
    found
}

/// Three members; over TLS if there are certificates, of both sides if clients are asked for theirs.
fn cluster(program: &Path, dir: &Path, certs: Option<&Certs>, of_both: bool) -> Vec<(Process, u16)> {
    let mut more = Vec::new();
    // With authorities for them, etcd asks clients for certificates whatever it was told.
    if let Some(certs) = certs.filter(|_| of_both) {
        more = vec!["--trusted-ca-file".into(), certs.path("ca.crt"), "--client-cert-auth".into()];
    }
    cluster_with(program, dir, certs, &more)
}

fn cluster_with(program: &Path, dir: &Path, certs: Option<&Certs>, more: &[String]) -> Vec<(Process, u16)> {
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let scheme = if certs.is_some() { "https" } else { "http" };
    let peers = ports.iter().enumerate().map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{peer}"));
    let peers = peers.collect::<Vec<_>>().join(",");
    let start = |n: usize, (port, peer): &(u16, u16)| {
        let (clients, peer) = (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let data = dir.join(format!("m{n}")).display().to_string();
        let mut args = vec![
            ("--name", format!("m{n}")),
            ("--data-dir", data),
            ("--listen-client-urls", clients.clone()),
            ("--advertise-client-urls", clients),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", peers.clone()),
        ];
        if let Some(certs) = certs {
            args.push(("--cert-file", certs.path("server.crt")));
            args.push(("--key-file", certs.path("server.key")));
        }
        let mut args: Vec<String> = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        args.extend_from_slice(more);
        let spec = ProcessSpec {
            program: program.to_path_buf(),
            args,
            dir: dir.to_path_buf(),
            log_name: format!("m{n}.log"),
            env: Vec::new(),
        };
        (Process::start(spec).unwrap(), *port)
    };
    ports.iter().enumerate().map(|(n, ports)| start(n, ports)).collect()
}

fn config(members: &[(Process, u16)], certs: Option<&Certs>) -> Config {
    let file = |name: &str| certs.map(|certs| certs.path(name));
    Config {
        etcd: members.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect(),
        etcd_ca_file: file("ca.crt"),
        etcd_cert_file: file("client.crt"),
        etcd_key_file: file("client.key"),
        ttl_s: 6,
        ..Config::default()
    }
}

fn wait_for_leader(etcd: &Etcd) {
    wait_until("etcd answers", LIMIT, || etcd.holder("m").is_ok());
}

/// The key, as soon as it can be had: a try that took too long holds it until its lease ends.
fn acquired(etcd: &Etcd, ttl_s: u64) -> String {
    let (mut id, mut last) = (None, None);
    let got = eventually(LIMIT, || {
        match etcd.acquire("m", "a:1", ttl_s) {
            Answer::Acquired(lease) => id = Some(lease),
            other => last = Some(other),
        }
        id.is_some().then_some(())
    });
    got.and(id).unwrap_or_else(|| panic!("not acquired: {last:?}"))
}

#[test]
fn the_next_member_is_asked_when_one_falls() {
    let Some(program) = etcd_program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut members = cluster(&program, dir.path(), None, false);
    let etcd = Etcd::new(&config(&members, None)).unwrap();
    wait_for_leader(&etcd);
    let lease = acquired(&etcd, 20);
    assert!(matches!(etcd.acquire("m", "b:1", 60), Answer::HeldBy(owner) if owner == "a:1"));
    // Whoever it was that answered: each falls once, and the lease is renewed by the others within their patience.
    for (n, (member, port)) in members.iter_mut().enumerate() {
        member.kill();
        let began = Instant::now();
        wait_until("the lease is renewed without it", LIMIT, || matches!(etcd.renew(&lease), Answer::Renewed));
        println!("member {n} away: renewed after {:?}", began.elapsed());
        assert_eq!(etcd.holder("m").unwrap().as_deref(), Some("a:1"));
        member.restart().unwrap();
        wait_until("it is back", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok());
        wait_until("the others go on", LIMIT, || matches!(etcd.renew(&lease), Answer::Renewed));
    }
    // Two of three away: nobody is told that it holds anything.
    members[0].0.kill();
    members[1].0.kill();
    wait_until("etcd is away", LIMIT, || matches!(etcd.renew(&lease), Answer::Away(_)));
}

#[test]
fn over_tls_each_side_shows_its_certificate() {
    let Some(program) = etcd_program() else { return };
    let (dir, certs) = (tempfile::tempdir().unwrap(), Certs::new());
    let members = cluster(&program, dir.path(), Some(&certs), true);
    let good = config(&members, Some(&certs));
    let etcd = Etcd::new(&good).unwrap();
    wait_for_leader(&etcd);
    let nobody = Config { etcd_cert_file: None, etcd_key_file: None, ..good.clone() };
    let (stranger, key) = (Some(certs.path("stranger.crt")), Some(certs.path("stranger.key")));
    let stranger = Config { etcd_cert_file: stranger, etcd_key_file: key, ..good.clone() };
    let untrusted = Config { etcd_ca_file: Some(certs.path("stranger.crt")), ..good.clone() };
    for (bad, why) in [(nobody, "none"), (stranger, "a stranger's"), (untrusted, "of a server nobody vouches for")] {
        let answer = Etcd::new(&bad).unwrap().acquire("m", "a:1", 6);
        assert!(matches!(answer, Answer::Away(_)), "{why}: {answer:?}");
    }
    let lease = acquired(&etcd, 20);
    assert_eq!(etcd.holder("m").unwrap().as_deref(), Some("a:1"));
    etcd.revoke(&lease);
    let missing = Config { etcd_ca_file: Some("/nowhere".into()), ..good };
    assert!(Etcd::new(&missing).err().is_some_and(|error| error.contains("/nowhere")));
}

/// Has etcd ask for users, one of whom may read and write behind the prefix.
fn with_users(admin: &Etcd) {
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name": "root", "password": "r"}"#),
        ("/v3/auth/role/add", r#"{"name": "root"}"#),
        ("/v3/auth/user/grant", r#"{"user": "root", "role": "root"}"#),
        ("/v3/auth/user/add", r#"{"name": "keystead", "password": "k"}"#),
        ("/v3/auth/role/add", r#"{"name": "leases"}"#),
        // "/keystead/" up to "/keystead0": the prefix.
        (
            "/v3/auth/role/grant",
            r#"{"name": "leases", "perm": {"permType": 2, "key": "L2tleXN0ZWFkLw==", "range_end": "L2tleXN0ZWFkMA=="}}"#,
        ),
        ("/v3/auth/user/grant", r#"{"user": "keystead", "role": "leases"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        // Passwords are made slow on purpose: one that took too long is asked for again, and found done.
        let body = serde_json::from_str(body).unwrap();
        let done = || admin.call(path, &body).map_or_else(|error| error.contains("already"), |_| true);
        wait_until(path, LIMIT, done);
    }
}

fn as_user(config: &Config, password: &str) -> Config {
    Config { etcd_user: Some("keystead".into()), etcd_password: Some(password.into()), ..config.clone() }
}

#[test]
fn over_tls_as_a_user_whose_token_is_forgotten() {
    let Some(program) = etcd_program() else { return };
    let (dir, certs) = (tempfile::tempdir().unwrap(), Certs::new());
    let mut members = cluster(&program, dir.path(), Some(&certs), false);
    // etcd's gateway refuses users behind a certificate with a common name.
    let plain = Config { etcd_cert_file: None, etcd_key_file: None, ..config(&members, Some(&certs)) };
    wait_for_leader(&Etcd::new(&plain).unwrap());
    let admin = Etcd::new(&Config { etcd: plain.etcd[..1].to_vec(), ttl_s: 60, ..plain.clone() }).unwrap();
    with_users(&admin);
    let as_user = |password| as_user(&plain, password);
    let wrong = Etcd::new(&as_user("x")).unwrap();
    wait_until("a wrong password is refused", LIMIT, || matches!(wrong.acquire("m", "a:1", 60), Answer::Away(_)));
    let user = Etcd::new(&as_user("k")).unwrap();
    let lease = acquired(&user, 20);
    wait_until("it is renewed", LIMIT, || matches!(user.renew(&lease), Answer::Renewed));
    // Tokens live in the members' memory.
    for (member, _) in &mut members {
        member.kill();
        member.restart().unwrap();
    }
    wait_until("the token is fetched anew", LIMIT, || matches!(user.renew(&lease), Answer::Renewed));
    assert_eq!(user.holder("m").unwrap().as_deref(), Some("a:1"));
    user.revoke(&lease);
    wait_until("given back", LIMIT, || user.holder("m") == Ok(None));
}

/// A token that says of itself when it was made is void as soon as anybody's rights are changed: the primary's lease ran out
/// behind that.
#[test]
fn a_user_whose_token_is_older_than_a_change_of_any_user() {
    let Some(program) = etcd_program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("tokens.key");
    std::fs::write(&key, "what tokens are signed with").unwrap();
    let tokens = format!("jwt,sign-method=HS256,priv-key={},ttl=1h", key.display());
    let members = cluster_with(&program, dir.path(), None, &["--auth-token".into(), tokens]);
    let plain = config(&members, None);
    wait_for_leader(&Etcd::new(&plain).unwrap());
    let admin = Etcd::new(&Config { etcd: plain.etcd[..1].to_vec(), ttl_s: 60, ..plain.clone() }).unwrap();
    with_users(&admin);
    let root = Config { etcd_user: Some("root".into()), etcd_password: Some("r".into()), ttl_s: 60, ..plain.clone() };
    let (root, user) = (Etcd::new(&root).unwrap(), Etcd::new(&as_user(&plain, "k")).unwrap());
    let lease = acquired(&user, 20);
    let add = || root.call("/v3/auth/role/add", &serde_json::json!({"name": "of somebody else"}));
    wait_until("a role is added", LIMIT, || add().map_or_else(|error| error.contains("already"), |_| true));
    wait_until("who holds it is said again", LIMIT, || user.holder("m").is_ok_and(|by| by.as_deref() == Some("a:1")));
    assert!(matches!(user.renew(&lease), Answer::Renewed));
    assert!(matches!(user.acquire("m", "b:1", 60), Answer::HeldBy(owner) if owner == "a:1"));
}
