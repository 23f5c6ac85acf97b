//! Strategies as libraries of their own beside a real sentinel: named in RON, missed by `keystead check`, explained,
//! swapped at run time.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, free_port, keystead_bin, wait_until};
use keystead_harness::{PRIMARY, sentinel_config};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn sentinel(primary: u16, more: &str, plugins: &[(&str, &str)]) -> Keystead {
    let port = free_port();
    let config = sentinel_config(port, primary, 2, 1000).replace("quorum:", &format!("{more}, quorum:"));
    let mut builder = Keystead::builder().plugin("sentinel", &config).ready_port(port);
    for (name, config) in plugins {
        builder = builder.plugin(name, config);
    }
    builder.start()
}

fn lines(sentinel: &Keystead, what: &str) -> String {
    sentinel.client().cmd(&format!("SENTINEL {what}")).texts().join("\n")
}

fn field(client: &mut Client, name: &str) -> String {
    client.cmd(&format!("SENTINEL MASTER {PRIMARY}")).get(name).and_then(|v| v.as_text()).unwrap_or_default()
}

#[test]
fn a_strategy_that_is_not_listed_is_missed_before_and_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.ron");
    let text = |plugins: &str, selection: &str| {
        format!(
            "(server: (dir: \"{}\"), plugins: [(name: \"sentinel\", config: (port: {}, monitors: [(name: \"m\", \
             host: \"127.0.0.1\", port: 6379, quorum: 1, selection: \"{selection}\")])){plugins}])",
            dir.path().display(),
            free_port()
        )
    };
    let run = |args: &[&str]| {
        let output = Command::new(keystead_bin()).args(args).arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        (output.status.success(), told)
    };
    let cases = [
        ("", "freshest", "monitors: \"m\": selection: no plugin 'freshest' is listed", "there is redis"),
        (", (name: \"freshest\")", "frehsest", "did you mean 'freshest'?", "no plugin 'frehsest' gives a strategy"),
        (", (name: \"nowhere\")", "nowhere", "the plugin 'nowhere' was not found", "'nowhere' was not found"),
    ];
    for (plugins, selection, checked, started) in cases {
        std::fs::write(&file, text(plugins, selection)).unwrap();
        let (ok, told) = run(&["check"]);
        assert!(!ok && told.contains(checked), "check of {selection}: {told}");
        let (ok, told) = run(&[]);
        assert!(!ok && told.contains(started), "start with {selection}: {told}");
    }
    // Listed, but it gives no selection: seen at the start.
    std::fs::write(&file, text(", (name: \"manual\")", "manual")).unwrap();
    let (ok, told) = run(&[]);
    assert!(!ok && told.contains("no plugin 'manual' gives a strategy for selections here"), "{told}");
    std::fs::write(&file, text(", (name: \"freshest\")", "freshest")).unwrap();
    let (ok, told) = run(&["check"]);
    assert!(ok, "{told}");
}

#[test]
fn zones_and_an_operator_s_word_decide_with_real_libraries() {
    let mut data = vec![Keystead::primary()];
    let old = data[0].port();
    data.extend([Keystead::replica_of(old), Keystead::replica_of(old)]);
    let ports: Vec<u16> = data.iter().map(Keystead::port).collect();
    let zones = format!(
        "(zones: [(name: \"a\", nodes: [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]), (name: \"b\", nodes: [\"127.0.0.1:{}\"])])",
        ports[0], ports[1], ports[2]
    );
    let plugins = [("manual", "()"), ("freshest", "()"), ("zoned", zones.as_str())];
    let sentinels: Vec<Keystead> =
        (0..3).map(|_| sentinel(old, "election: \"manual\", selection: \"zoned\"", &plugins)).collect();
    let mut clients: Vec<Client> = sentinels.iter().map(Keystead::client).collect();
    let ready = |client: &mut Client| {
        let explained = client.cmd(&format!("SENTINEL EXPLAIN {PRIMARY}")).texts().join("\n");
        field(client, "num-other-sentinels") == "2" && explained.matches("priority 100").count() == 2
    };
    wait_until("everybody is known", LIMIT, || clients.iter_mut().all(ready));
    let explained = lines(&sentinels[0], &format!("EXPLAIN {PRIMARY}"));
    assert!(explained.contains("elections by the strategy 'manual', replicas chosen by 'zoned'"), "{explained}");
    let first = format!("replica 127.0.0.1:{} would be promoted: zone b of weight 1, 0 bytes behind", ports[2]);
    let second = format!("replica 127.0.0.1:{} is number 2: zone a of weight 1, the primary's", ports[1]);
    assert!(explained.contains(&first) && explained.contains(&second), "{explained}");
    // Swapped at run time, and back.
    clients[0].ok(&format!("SENTINEL SET {PRIMARY} selection-strategy freshest"));
    let rehearsed = lines(&sentinels[0], &format!("FAILOVER {PRIMARY} DRYRUN"));
    assert!(rehearsed.contains("(0 bytes behind)"), "{rehearsed}");
    assert_eq!(field(&mut clients[0], "selection-strategy"), "freshest");
    clients[0].ok(&format!("SENTINEL SET {PRIMARY} selection-strategy zoned"));
    let refused = clients[0].cmd(&format!("SENTINEL SET {PRIMARY} election-strategy nobody"));
    assert_eq!(refused, "ERR no plugin 'nobody' gives a strategy for elections here; there is sentinel, manual");

    data[0].process.kill();
    let waits = "blocked: the election strategy 'manual' doesn't stand: it waits for an operator";
    wait_until("every sentinel waits for the operator", LIMIT, || {
        sentinels.iter().all(|s| lines(s, &format!("EXPLAIN {PRIMARY}")).contains(waits))
    });
    clients[1].ok(&format!("SENTINEL CONFIRM {PRIMARY}"));
    let held =
        |client: &mut Client| client.cmd(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}")).texts()[1].clone();
    wait_until("all hold the one of the other zone", DEADLINE, || {
        clients.iter_mut().all(|client| held(client) == ports[2].to_string())
    });
    assert_eq!(data[2].client().cmd("SET after 1"), "OK");
    let nothing = format!("ERR {PRIMARY} is not objectively down: there is nothing to confirm");
    wait_until("there is nothing to confirm any more", DEADLINE, || {
        clients[1].cmd(&format!("SENTINEL CONFIRM {PRIMARY}")) == nothing.as_str()
    });
}
