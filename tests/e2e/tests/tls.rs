//! TLS for clients: who gets in, what bad peers can do, and new certificates while it runs.

use keystead_harness::{Certs, Client, DEADLINE, Keystead, Reply, free_port, keystead_bin, ron_str, wait_until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A server with a plain port and one for TLS.
fn server(certs: &Certs, more: &str) -> (Keystead, u16) {
    let port = free_port();
    (Keystead::builder().section(&certs.section(port, more)).start(), port)
}

/// Whether somebody with this certificate is kept out. With TLS 1.3 that shows with the first reply.
fn kept_out(port: u16, certs: &Certs, name: &str) -> bool {
    let client = Client::try_connect_tls(port, certs, name);
    client.and_then(|mut client| client.try_command(&["PING"])).is_err()
}

#[test]
fn commands_big_values_pipelines_and_pushes() {
    let certs = Certs::new();
    let (node, port) = server(&certs, "");
    let mut client = Client::connect_tls(port, &certs);
    assert_eq!(client.ok("SET a 1"), Reply::Simple("OK".into()));
    let big: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    client.command(&[b"SET".as_slice(), b"big", &big]);
    assert!(client.command(&["GET", "big"]) == Reply::Bulk(big), "8 MB come back as they went");
    let lines: Vec<String> = (0..5000).map(|n| format!("INCRBY n {n}")).collect();
    let replies = client.pipeline(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(replies.last(), Some(&Reply::Int((0..5000).sum())));
    let mut listener = Client::connect_tls(port, &certs);
    listener.ok("SUBSCRIBE news");
    node.client().ok("PUBLISH news hello");
    assert_eq!(listener.read().expect("a message").items()[2].as_text().as_deref(), Some("hello"));
    let list = node.client().ok("CLIENT LIST").as_text().expect("text");
    assert!(list.contains(&format!("laddr=127.0.0.1:{port} ")), "{list}");
    // Inside one segment with the end of the handshake or behind it: nothing is lost.
    for n in 0..50 {
        let mut quick = Client::connect_tls(port, &certs);
        quick.send_raw(format!("ECHO {n}\r\nECHO {n}\r\n").as_bytes()).expect("sent");
        assert_eq!(quick.read().expect("one").as_text(), quick.read().expect("two").as_text());
    }
}

#[test]
fn clients_show_a_good_certificate_a_good_one_or_none_or_whatever_they_like() {
    let certs = Certs::new();
    let (mut node, port) = server(&certs, "");
    for name in ["", "expired", "stranger"] {
        assert!(kept_out(port, &certs, name), "{name:?} got in");
    }
    assert!(!kept_out(port, &certs, "client"));
    node.process.wait_for_log("Error accepting a client connection: peer did not return a certificate", DEADLINE);
    node.process.wait_for_log("certificate verify failed: certificate expired", DEADLINE);
    let mut admin = node.client();
    admin.ok("CONFIG SET tls-auth-clients optional");
    assert!(kept_out(port, &certs, "stranger") && kept_out(port, &certs, "expired"));
    assert!(!kept_out(port, &certs, "") && !kept_out(port, &certs, "client"));
    admin.ok("CONFIG SET tls-auth-clients no");
    assert!(!kept_out(port, &certs, "") && !kept_out(port, &certs, "stranger"));
    // The engine never saw those who failed.
    let clients: usize = admin.info("clients")["connected_clients"].parse().expect("a number");
    assert!(clients <= 2, "{clients} clients");
}

#[test]
fn plain_bytes_are_no_handshake() {
    let certs = Certs::new();
    let (mut node, port) = server(&certs, "");
    let mut plain = Client::connect(port);
    plain.send_raw(b"*1\r\n$4\r\nPING\r\n").expect("sent");
    assert!(plain.is_closed_within(DEADLINE));
    node.process.wait_for_log("Error accepting a client connection: wrong version number", DEADLINE);
    // And nonsense on an encrypted connection ends that connection only.
    let mut good = Client::connect_tls(port, &certs);
    let mut bad = Client::connect_tls(port, &certs);
    bad.send_beside(b"\x17\x03\x03\x00\x20 no record that was ever sealed..").expect("sent");
    assert!(bad.is_closed_within(DEADLINE));
    good.ok("PING");
}

#[test]
fn those_who_begin_and_say_nothing_keep_nobody_out_and_are_dropped() {
    let certs = Certs::new();
    let (mut node, port) = server(&certs, "");
    let begun = Instant::now();
    let silent: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("accepted")).collect();
    for mut socket in &silent {
        // The head of a record whose rest never comes; the oldest may be gone by now.
        let _ = socket.write_all(b"\x16\x03\x01\x02\x00");
    }
    Client::connect_tls(port, &certs).ok("PING");
    node.process.wait_for_log("too many handshakes at once", DEADLINE);
    node.process.wait_for_log("handshake timed out", DEADLINE);
    assert!(begun.elapsed() > Duration::from_secs(5), "an honest handshake may be slow");
    let lines = node.process.log().matches("too many handshakes at once").count();
    assert!(lines < 10, "{lines} lines for hundreds of them, told each second");
    for mut socket in silent {
        socket.set_read_timeout(Some(DEADLINE)).expect("a limit");
        let end = socket.read(&mut [0; 64]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// Behind a failover all come back at the same moment. Nobody is sent away for another who came later, and would come again:
/// so none of them would ever get in.
#[test]
fn a_crowd_that_comes_at_once_gets_in() {
    const CROWD: usize = 700;
    let certs = Certs::new();
    let (node, port) = server(&certs, "");
    let together = Barrier::new(CROWD);
    let knock = || {
        together.wait();
        let client = Client::try_connect_tls(port, &certs, "client");
        client.and_then(|mut client| client.try_command(&["PING"]))
    };
    let refused: Vec<_> = thread::scope(|scope| {
        let small = || thread::Builder::new().stack_size(512 << 10);
        let all: Vec<_> = (0..CROWD).map(|_| small().spawn_scoped(scope, knock).expect("a thread")).collect();
        all.into_iter().filter_map(|one| one.join().expect("no panic").err()).collect()
    });
    assert!(refused.is_empty(), "{} of {CROWD}, one with {:?}", refused.len(), refused[0]);
    assert!(!node.process.log().contains("too many handshakes"), "{}", node.process.log());
}

#[test]
fn a_slow_reader_of_a_huge_reply_gets_all_of_it_and_slows_nobody() {
    let certs = Certs::new();
    let (node, port) = server(&certs, "");
    let big: Vec<u8> = (0..32_000_000u32).map(|n| (n % 249) as u8).collect();
    let (mut slow, mut other) = (Client::connect_tls(port, &certs), Client::connect_tls(port, &certs));
    slow.command(&[b"SET".as_slice(), b"big", &big]);
    slow.send(&["GET", "big"]).expect("sent");
    wait_until("its reply waits for it", DEADLINE, || {
        let list = node.client().ok("CLIENT LIST").as_text().unwrap_or_default();
        list.lines().any(|line| line.contains("cmd=get") && !line.contains(" omem=0 "))
    });
    for n in 0..1000 {
        assert_eq!(other.ok("INCR n"), Reply::Int(n + 1));
    }
    slow.send(&["PING"]).expect("sent");
    assert!(slow.read().expect("the value") == Reply::Bulk(big));
    assert_eq!(slow.read().expect("the answer behind it"), Reply::Simple("PONG".into()));
}

#[test]
fn a_thousand_handshakes_leave_nothing_behind() {
    let certs = Certs::new();
    let (node, port) = server(&certs, "session_caching: false");
    let knocks = |count: usize| (0..count).for_each(|_| drop(Client::connect_tls(port, &certs).ok("PING")));
    let (fds, rss) = (format!("/proc/{}/fd", node.process.pid()), format!("/proc/{}/statm", node.process.pid()));
    let open = || std::fs::read_dir(&fds).expect("a process").count();
    let pages = || -> u64 {
        let text = std::fs::read_to_string(&rss).expect("a process");
        text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    knocks(300);
    let gone = || node.client().info("clients")["connected_clients"] == "1";
    wait_until("they are gone", DEADLINE, gone);
    let (before, fds_before) = (pages(), open());
    knocks(1000);
    wait_until("they are gone", DEADLINE, gone);
    wait_until("descriptors are as before", DEADLINE, || open() <= fds_before + 2);
    let grown = pages().saturating_sub(before) * 4096;
    // A kilobyte a handshake would show.
    assert!(grown < 1_000_000, "{grown} bytes more");
}

#[test]
fn new_certificates_are_taken_while_it_runs_and_bad_ones_are_not() {
    let (old, new) = (Certs::new(), Certs::new());
    let (mut node, port) = server(&old, "");
    let mut admin = node.client();
    let mut there = Client::connect_tls(port, &old);
    let before = ["cert-file", "key-file"].map(|name| admin.ok(&format!("CONFIG GET tls-{name}")));
    let words = "Unable to update TLS configuration. Check server logs.";
    for (name, value) in
        [("cert-file", new.path("server.crt")), ("key-file", "nowhere".into()), ("ca-cert-file", "".into())]
    {
        let told = admin.command(&["CONFIG", "SET", &format!("tls-{name}"), &value]);
        let head = format!("ERR CONFIG SET failed (possibly related to argument 'tls-{name}') - {words}");
        assert_eq!(told, Reply::Error(head));
    }
    node.process.wait_for_log("Failed to load private key: nowhere: No such file or directory", DEADLINE);
    assert_eq!(before, ["cert-file", "key-file"].map(|name| admin.ok(&format!("CONFIG GET tls-{name}"))));
    assert!(!kept_out(port, &old, "client") && kept_out(port, &new, "client"));
    // One call, all files.
    let set: Vec<String> = [("cert-file", "server.crt"), ("key-file", "server.key"), ("ca-cert-file", "ca.crt")]
        .iter()
        .flat_map(|(name, file)| [format!("tls-{name}"), new.path(file)])
        .collect();
    let call: Vec<&str> = ["CONFIG", "SET"].into_iter().chain(set.iter().map(String::as_str)).collect();
    assert_eq!(admin.command(&call), Reply::Simple("OK".into()));
    assert!(kept_out(port, &old, "client") && !kept_out(port, &new, "client"));
    there.ok("PING");
    // The files change behind the same names: set again, they are read again.
    for name in ["server.crt", "server.key"] {
        std::fs::copy(old.path(name), new.path(name)).expect("writable");
    }
    admin.ok("CONFIG SET tls-auth-clients no");
    admin.ok(&format!("CONFIG SET tls-cert-file {}", new.path("server.crt")));
    assert!(kept_out(port, &new, "") && !kept_out(port, &old, ""));
    // Another port, and what was set outlives a restart.
    let moved = free_port();
    admin.ok(&format!("CONFIG SET tls-port {moved}"));
    let busy = admin.cmd(&format!("CONFIG SET tls-port {}", node.port()));
    assert!(
        matches!(&busy, Reply::Error(why) if why.ends_with("- Unable to listen on this port. Check server logs.")),
        "{busy:?}"
    );
    wait_until("the old port is closed", DEADLINE, || TcpStream::connect(("127.0.0.1", port)).is_err());
    admin.ok("CONFIG REWRITE");
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
    node.restart();
    assert_eq!(node.client().ok("CONFIG GET tls-port").items()[1].as_text(), Some(moved.to_string()));
    let handshake = Client::try_connect_tls(moved, &new, "").expect_err("its certificate is of the other authority");
    assert!(!kept_out(moved, &old, ""));
    assert!(handshake.to_string().contains("invalid peer certificate"), "{handshake}");
}

#[test]
fn without_a_plain_port_and_with_an_encrypted_key() {
    let certs = Certs::new();
    let port = free_port();
    let only = Keystead::builder().port(0).section(&certs.section(port, "")).launch();
    let ready = || Client::try_connect_tls(port, &certs, "client").is_ok();
    wait_until("it is ready", DEADLINE, ready);
    let info = Client::connect_tls(port, &certs).info("server");
    assert_eq!(info["tcp_port"], port.to_string());
    drop(only);
    let sealed = certs.path("sealed.key");
    let openssl = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:sesame", "-in", &certs.path("server.key"), "-out", &sealed])
        .status();
    if !openssl.is_ok_and(|status| status.success()) {
        return println!("SKIPPED the rest: openssl is not installed");
    }
    let (node, port) = server(&certs, "");
    let mut admin = node.client();
    assert!(admin.cmd(&format!("CONFIG SET tls-key-file {sealed}")).is_error(), "there is no password");
    assert!(admin.cmd(&format!("CONFIG SET tls-key-file {sealed} tls-key-file-pass wrong")).is_error());
    assert!(node.process.log().contains("tls-key-file-pass doesn't open it"), "{}", node.process.log());
    admin.ok(&format!("CONFIG SET tls-key-file {sealed} tls-key-file-pass sesame"));
    assert!(!kept_out(port, &certs, "client"));
}

#[test]
fn a_start_without_what_it_needs_says_what_is_missing() {
    let certs = Certs::new();
    let file = |name: &str| ron_str(&certs.path(name));
    let (cert, key, other) = (file("server.crt"), file("server.key"), file("client.key"));
    let cases = [
        ("auth_clients: \"no\"".to_owned(), "No tls-cert-file configured!"),
        (format!("cert_file: {cert}"), "No tls-key-file configured!"),
        (format!("cert_file: {cert}, key_file: {key}"), "Either tls-ca-cert-file or tls-ca-cert-dir must be specified"),
        (format!("cert_file: {cert}, key_file: {other}, auth_clients: \"no\""), "key values mismatch"),
        (format!("cert_file: {cert}, key_file: \"/\", auth_clients: \"no\""), "it is no plain file"),
        (
            "protocols: \"TLSv1.1\", auth_clients: \"no\", cert_file: \"x\", key_file: \"x\"".to_owned(),
            "x: No such file",
        ),
    ];
    for (fields, told) in cases {
        let mut node = Keystead::builder().section(&format!("tls: (port: {}, {fields})", free_port())).launch();
        assert!(!node.process.wait_exit(DEADLINE).success());
        let log = node.process.log();
        assert!(log.contains(told) && log.contains("error: tls"), "{log}");
    }
}

/// It is used all the same, as in Redis; the operator hears of it.
#[test]
fn a_certificate_that_has_expired_is_told_in_the_log() {
    let certs = Certs::new();
    let file = |name: &str| ron_str(&certs.path(name));
    let files = format!("cert_file: {}, key_file: {}", file("expired.crt"), file("expired.key"));
    let section = format!("tls: (port: {}, {files}, auth_clients: \"no\")", free_port());
    let words = "expired.crt has expired: it is valid from 01 Jan 2020 00:00:00 to 01 Jan 2021 00:00:00 UTC";
    let node = Keystead::builder().section(&section).start();
    assert!(node.process.log().contains(words), "at the start: {}", node.process.log());

    let (mut node, _) = server(&certs, "");
    assert!(!node.process.log().contains("has expired"), "{}", node.process.log());
    let (cert, key) = (certs.path("expired.crt"), certs.path("expired.key"));
    node.client().ok(&format!("CONFIG SET tls-cert-file {cert} tls-key-file {key}"));
    node.process.wait_for_log(words, DEADLINE);

    let file = certs.path("check.ron");
    std::fs::write(&file, format!("({section})")).expect("written");
    let checked = Command::new(keystead_bin()).args(["check", &file]).output().expect("the binary is there");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.contains("check.ron: warning: ") && told.contains(words), "{told}");
}

/// With TLS 1.3 a primary's word about our certificate comes behind the handshake, which is done by then.
#[test]
fn a_replica_whose_certificate_is_refused_says_so() {
    let certs = Certs::new();
    let (_primary, port) = server(&certs, "");
    let file = |name: &str| ron_str(&certs.path(name));
    let shown = format!("client_cert_file: {}, client_key_file: {}", file("stranger.crt"), file("stranger.key"));
    let mut replica = Keystead::builder()
        .section(&certs.section(0, &format!("replication: true, {shown}")))
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {port}))"))
        .start();
    replica.process.wait_for_log(&format!("with 127.0.0.1:{port} ends: the peer refused it: unknown ca"), DEADLINE);
}

/// A port without TLS waits for the end of a line that never comes; what is wrong can only be guessed.
#[test]
fn a_link_to_a_port_without_tls_says_what_may_be_wrong() {
    let certs = Certs::new();
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = plain.local_addr().expect("its address").port();
    let mut replica = Keystead::builder()
        .section(&certs.section(0, "replication: true"))
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {port}))"))
        .start();
    replica.process.wait_for_log("the peer says nothing (is that a port without TLS?)", DEADLINE);
}

/// What `openssl req -x509` makes is authority, server and client in one. Redis takes it.
#[test]
fn one_certificate_that_signed_itself_does_for_all() {
    let certs = Certs::of_one();
    let port = free_port();
    let section = certs.section(port, "replication: true");
    let primary = Keystead::builder().section(&section).plugin("replication", "()").start();
    assert!(kept_out(port, &certs, "stranger") && kept_out(port, &certs, "expired") && kept_out(port, &certs, ""));
    let replica =
        Keystead::builder().section(&certs.section(0, "replication: true")).plugin("replication", "()").start();
    primary.client().ok("SET a 1");
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("both show it to each other", DEADLINE, || replica.client().cmd("GET a") == "1");
    // Another one that signed itself is no authority, even of the same name.
    let stranger = Keystead::builder()
        .section(&Certs::of_one().section(0, "replication: true"))
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {port}))"))
        .start();
    let words = "certificate verify failed: ";
    wait_until("it is refused", DEADLINE, || stranger.process.log().contains(words));
    assert_ne!(stranger.client().cmd("GET a"), "1");
}

#[test]
fn keys_that_are_not_read_are_told_with_what_is() {
    let certs = Certs::new();
    let (mut node, _) = server(&certs, "");
    let (old, strong, sealed) = (certs.path("server.key"), certs.path("p521.key"), certs.path("des.key"));
    let openssl = |args: &[&str]| Command::new("openssl").args(args).output().is_ok_and(|done| done.status.success());
    if !openssl(&["ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", &strong])
        || !openssl(&["pkcs8", "-topk8", "-v2", "des3", "-passout", "pass:x", "-in", &old, "-out", &sealed])
    {
        return println!("SKIPPED: openssl is not installed");
    }
    let mut admin = node.client();
    assert!(admin.cmd(&format!("CONFIG SET tls-key-file {strong}")).is_error());
    node.process
        .wait_for_log("p521.key: it is damaged, or of a kind that isn't read: RSA with 2048 to 4096 bits", DEADLINE);
    assert!(admin.cmd(&format!("CONFIG SET tls-key-file {sealed} tls-key-file-pass x")).is_error());
    node.process.wait_for_log("des.key: it is encrypted in a form that isn't read: PBES2 with AES is", DEADLINE);
}
