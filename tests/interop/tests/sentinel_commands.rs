//! The same commands to a Keystead sentinel and to redis-sentinel 7.0.15: the same replies, errors to the letter.
//! What differs on purpose stands in a list with its reason, and must differ.

use keystead_harness::{Client, Keystead, RedisSentinel, Reply, free_port, have};
use std::os::unix::fs::PermissionsExt;

/// A pair of sentinels that watch the same primary, which isn't there.
struct Pair {
    ours: Keystead,
    stock: RedisSentinel,
}

impl Pair {
    fn start(extra: &str, lines: &[&str]) -> Pair {
        let (port, primary) = (free_port(), free_port());
        let config = format!(
            "(port: {port}, bind: [\"127.0.0.1\"], {extra} monitors: [(name: \"mymaster\", host: \"127.0.0.1\", \
             port: {primary}, quorum: 2)])"
        );
        let ours = Keystead::builder().plugin("sentinel", &config).ready_port(port).start();
        let mut conf = vec![format!("sentinel monitor mymaster 127.0.0.1 {primary} 2")];
        conf.extend(lines.iter().map(|line| (*line).to_owned()));
        Pair { ours, stock: RedisSentinel::start(&conf) }
    }

    fn clients(&self) -> [Client; 2] {
        [self.ours.client(), self.stock.client()]
    }
}

fn stock_is_here() -> bool {
    let here = have("redis-sentinel");
    if !here {
        println!("SKIPPED: redis-sentinel is not installed");
    }
    here
}

/// Splits at blanks; `''` is an empty word.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect()
}

fn compare(pair: &Pair, lines: &[&str]) {
    let [mut ours, mut stock] = pair.clients();
    let mut differ = Vec::new();
    for line in lines {
        let (a, b) = (ours.command(&words(line)), stock.command(&words(line)));
        if format!("{a:?}") != format!("{b:?}") {
            differ.push(format!("{line}\n   ours:  {a:?}\n   stock: {b:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn replies_and_errors_are_those_of_the_stock_sentinel() {
    if !stock_is_here() {
        return;
    }
    let lines = [
        "SENTINEL",
        "SENTINEL FOO",
        "SENTINEL CONFIG",
        "SENTINEL CONFIG GET announce-*",
        "SENTINEL CONFIG GET RESOLVE-hostnames",
        "SENTINEL CONFIG GET nosuch",
        "SENTINEL CONFIG SET nosuch 1",
        "SENTINEL CONFIG SET resolve-hostnames maybe",
        "SENTINEL CONFIG SET announce-hostnames 1",
        "SENTINEL CONFIG SET announce-port x",
        "SENTINEL CONFIG SET announce-port 70000",
        "SENTINEL CONFIG SET announce-port -1",
        "SENTINEL CONFIG SET announce-port 7000",
        "SENTINEL CONFIG SET announce-ip 127.0.0.1",
        "SENTINEL CONFIG GET announce-*",
        "SENTINEL CONFIG SET announce-port 0",
        "SENTINEL CONFIG SET announce-ip ''",
        "SENTINEL CONFIG GET announce-*",
        "SENTINEL CONFIG SET sentinel-user u",
        "SENTINEL CONFIG SET sentinel-pass p",
        "SENTINEL CONFIG GET sentinel-*",
        "SENTINEL DEBUG foo",
        "SENTINEL DEBUG foo 1",
        "SENTINEL DEBUG info-period",
        "SENTINEL DEBUG info-period 0",
        "SENTINEL DEBUG info-period x",
        "SENTINEL DEBUG info-period 5000 ping-period 500 tilt-trigger 2000 tilt-period 30000",
        "SENTINEL DEBUG",
        "SENTINEL PENDING-SCRIPTS",
        "SENTINEL PENDING-SCRIPTS a",
        "SENTINEL SIMULATE-FAILURE",
        "SENTINEL SIMULATE-FAILURE foo",
        "SENTINEL SIMULATE-FAILURE help",
        "SENTINEL SIMULATE-FAILURE crash-after-election help",
        "SENTINEL MYID a",
        "SENTINEL MASTER",
        "SENTINEL MASTER nosuch",
        "SENTINEL MASTERS a",
        "SENTINEL REPLICAS mymaster",
        "SENTINEL REPLICAS nosuch",
        "SENTINEL SLAVES nosuch",
        "SENTINEL SLAVES",
        "SENTINEL SENTINELS mymaster",
        "SENTINEL SENTINELS nosuch",
        "SENTINEL GET-MASTER-ADDR-BY-NAME nosuch",
        "SENTINEL GET-MASTER-ADDR-BY-NAME",
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster",
        "SENTINEL CKQUORUM",
        "SENTINEL CKQUORUM nosuch",
        "SENTINEL CKQUORUM mymaster",
        "SENTINEL FAILOVER nosuch",
        "SENTINEL FAILOVER mymaster",
        "SENTINEL RESET nosuch",
        "SENTINEL RESET",
        "SENTINEL FLUSHCONFIG",
        "SENTINEL FLUSHCONFIG a",
        "SENTINEL INFO-CACHE",
        "SENTINEL INFO-CACHE nosuch",
        "SENTINEL INFO-CACHE mymaster",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 x 0 *",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 x *",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *",
        "SENTINEL MONITOR a",
        "SENTINEL MONITOR a 127.0.0.1 x 1",
        "SENTINEL MONITOR a 127.0.0.1 1 x",
        "SENTINEL MONITOR a 127.0.0.1 1 0",
        "SENTINEL MONITOR a 127.0.0.1 70000 1",
        "SENTINEL MONITOR a 127.0.0.1 -1 1",
        "SENTINEL MONITOR a no.such.host.invalid 1 1",
        "SENTINEL MONITOR mymaster 127.0.0.1 1 1",
        "SENTINEL MONITOR second localhost 6998 1",
        "SENTINEL GET-MASTER-ADDR-BY-NAME second",
        "SENTINEL REMOVE second",
        "SENTINEL MONITOR third 127.0.0.1 6997 1",
        "SENTINEL GET-MASTER-ADDR-BY-NAME third",
        "SENTINEL RESET thi*",
        "SENTINEL REMOVE third",
        "SENTINEL REMOVE third",
        "SENTINEL SET",
        "SENTINEL SET mymaster",
        "SENTINEL SET mymaster quorum",
        "SENTINEL SET nosuch quorum 1",
        "SENTINEL SET mymaster foo 1",
        "SENTINEL SET mymaster quorum 0",
        "SENTINEL SET mymaster quorum x",
        "SENTINEL SET mymaster quorum 2 foo",
        "SENTINEL SET mymaster quorum 2 foo 1",
        "SENTINEL SET mymaster quorum 2 down-after-milliseconds 0",
        "SENTINEL SET mymaster down-after-milliseconds -1",
        "SENTINEL SET mymaster down-after-millisecond 1000",
        "SENTINEL SET mymaster down-after-milliseconds 99999999999999999999",
        "SENTINEL SET mymaster failover-timeout 0",
        "SENTINEL SET mymaster failover-timeout 1000",
        "SENTINEL SET mymaster parallel-syncs 0",
        "SENTINEL SET mymaster parallel-syncs -1",
        "SENTINEL SET mymaster parallel-syncs 2",
        "SENTINEL SET mymaster master-reboot-down-after-period -1",
        "SENTINEL SET mymaster master-reboot-down-after-period 0",
        "SENTINEL SET mymaster notification-script /bin/true",
        "SENTINEL SET mymaster client-reconfig-script /bin/true",
        "SENTINEL SET mymaster auth-user u",
        "SENTINEL SET mymaster auth-pass p",
        "SENTINEL SET mymaster auth-pass p auth-user u quorum 1",
        "SENTINEL SET mymaster rename-command",
        "SENTINEL SET mymaster rename-command CONFIG",
        "SENTINEL SET mymaster rename-command CONFIG GUESSME",
        "SENTINEL SET mymaster rename-command CONFIG GUESSME quorum 2",
        "SENTINEL SET mymaster rename-command CONFIG CONFIG",
        "SENTINEL SET mymaster rename-command CONFIG ''",
        "SENTINEL SET mymaster known-replica 1",
        "PUBLISH foo bar",
        "PUBLISH __sentinel__:hello bar",
        "PUBLISH a",
        "ROLE",
        "ROLE a",
        "SELECT 1",
        "ECHO a",
        "GET a",
        "TIME",
        "MONITOR",
        "WAIT 0 0",
        "SHUTDOWN foo",
        "HELLO 4",
        "ACL WHOAMI",
        "AUTH a",
        "AUTH a b c",
        "PING",
        "PING a",
        "CLIENT GETNAME",
        "CLIENT FOO",
        "PSUBSCRIBE",
    ];
    compare(&Pair::start("", &[]), &lines);
}

/// The subcommands of both, and how many words behind each one the stock sentinel doesn't take though ours does.
const SUBCOMMANDS: [(&str, Option<usize>); 21] = [
    ("CKQUORUM", None),
    ("DEBUG", None),
    // FORCE, COORDINATED, DRYRUN
    ("FAILOVER", Some(2)),
    ("FLUSHCONFIG", None),
    ("GET-MASTER-ADDR-BY-NAME", None),
    ("HELP", None),
    ("INFO-CACHE", None),
    // A Keystead peer says which configuration it asks about.
    ("IS-MASTER-DOWN-BY-ADDR", Some(7)),
    ("MASTER", None),
    ("MASTERS", None),
    ("MONITOR", None),
    ("MYID", None),
    ("PENDING-SCRIPTS", None),
    ("REMOVE", None),
    ("REPLICAS", None),
    ("RESET", None),
    ("SENTINELS", None),
    ("SET", None),
    ("SIMULATE-FAILURE", None),
    ("SLAVES", None),
    ("nosuch", None),
];

#[test]
fn every_subcommand_takes_as_many_words_as_the_stock_sentinel_s() {
    if !stock_is_here() {
        return;
    }
    let mut lines = Vec::new();
    for (name, ours_only) in SUBCOMMANDS {
        // What is never the same without words: ids, times, our own subcommands.
        let least = usize::from(matches!(name, "HELP" | "MASTERS" | "MYID" | "DEBUG"));
        let words = (least..=8).filter(|words| ours_only != Some(*words));
        lines.extend(words.map(|words| format!("SENTINEL {name} {}", "x ".repeat(words))));
    }
    compare(&Pair::start("", &[]), &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn every_option_refuses_what_the_stock_sentinel_refuses() {
    if !stock_is_here() {
        return;
    }
    let options = [
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
        "notification-script",
        "client-reconfig-script",
        "auth-pass",
        "auth-user",
        "quorum",
        "rename-command",
        "master-reboot-down-after-period",
        "known-replica",
        "config-epoch",
    ];
    let values = "x 0 -1 1 1.5 +1 01 -0 1x 0x10 1e3 yes no '' é 9223372036854775808 -9223372036854775808";
    let mut lines = Vec::new();
    for option in options {
        let two = if option == "rename-command" { "GET " } else { "" };
        for value in values.split(' ') {
            lines.push(format!("SENTINEL SET mymaster {option} {two}{value}"));
            lines.push(format!("SENTINEL SET mymaster {} {two}{value}", option.to_uppercase()));
        }
    }
    for parameter in ["announce-port", "resolve-hostnames", "announce-hostnames"] {
        lines.extend(values.split(' ').map(|value| format!("SENTINEL CONFIG SET {parameter} {value}")));
    }
    for period in ["info-period", "TILT-PERIOD"] {
        lines.extend(values.split(' ').map(|value| format!("SENTINEL DEBUG {period} {value}")));
    }
    for value in values.split(' ') {
        lines.push(format!("SENTINEL MONITOR x 127.0.0.1 {value} x"));
        lines.push(format!("SENTINEL MONITOR mymaster 127.0.0.1 1000 {value}"));
        lines.push(format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {value} 0 *"));
        lines.push(format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 {value} *"));
    }
    let pair = Pair::start("", &[]);
    compare(&pair, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    // The stock sentinel takes numbers that it can't keep, and addresses that can't be one or would tear a hello apart; and
    // no name of a command has a blank.
    let [mut ours, mut stock] = pair.clients();
    for words in [
        ["SENTINEL", "SET", "mymaster", "parallel-syncs", "99999999999"].as_slice(),
        &["SENTINEL", "SET", "mymaster", "rename-command", "G T", "x"],
        &["SENTINEL", "CONFIG", "SET", "announce-ip", "a,b"],
        &["SENTINEL", "CONFIG", "SET", "announce-ip", "+1"],
    ] {
        assert!(matches!(ours.command(words), Reply::Error(_)), "{words:?}");
        assert_eq!(stock.command(words), "OK", "{words:?}");
    }
}

#[test]
fn scripts_may_be_set_when_that_is_allowed() {
    if !stock_is_here() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plain = dir.path().join("not-executable");
    std::fs::write(&plain, "#!/bin/sh\n").expect("writable");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let plain = plain.display().to_string();
    let pair = Pair::start("deny_scripts_reconfig: false,", &["sentinel deny-scripts-reconfig no"]);
    let lines = [
        "SENTINEL SET mymaster notification-script /no/such".to_owned(),
        format!("SENTINEL SET mymaster client-reconfig-script {plain}"),
        "SENTINEL SET mymaster notification-script /bin/true client-reconfig-script /bin/true".into(),
        "SENTINEL SET mymaster notification-script '' client-reconfig-script ''".into(),
    ];
    // access(2) lets root run only what somebody may run: a plain file is refused for root too.
    compare(&pair, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn names_are_taken_with_resolve_hostnames() {
    if !stock_is_here() {
        return;
    }
    let pair = Pair::start("resolve_hostnames: true,", &["sentinel resolve-hostnames yes"]);
    compare(
        &pair,
        &[
            "SENTINEL MONITOR second localhost 6998 1",
            "SENTINEL GET-MASTER-ADDR-BY-NAME second",
            "SENTINEL MONITOR third no.such.host.invalid 6998 1",
            "SENTINEL CONFIG SET announce-hostnames yes",
            "SENTINEL GET-MASTER-ADDR-BY-NAME second",
            "SENTINEL CONFIG GET *-hostnames",
            "SENTINEL CONFIG SET announce-hostnames no",
            "SENTINEL GET-MASTER-ADDR-BY-NAME second",
            "SENTINEL REMOVE second",
        ],
    );
}

/// What 7.2 has and 7.0 hasn't, and what differs on purpose.
#[test]
fn several_parameters_at_once_all_or_nothing() {
    let port = free_port();
    let config = format!(
        "(port: {port}, bind: [\"127.0.0.1\"], monitors: [(name: \"m\", host: \"127.0.0.1\", port: {}, quorum: 1)])",
        free_port()
    );
    let mut node = Keystead::builder().plugin("sentinel", &config).ready_port(port).start();
    let mut client = node.client();
    let form = "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...]/ SET <param> <value> [<param> <value> \
                ...] are supported.";
    for line in
        ["SENTINEL CONFIG GET", "SENTINEL CONFIG SET", "SENTINEL CONFIG SET announce-ip", "SENTINEL CONFIG FOO a b"]
    {
        assert_eq!(client.cmd(line), form, "{line}");
    }
    client.ok("SENTINEL CONFIG SET announce-ip 10.0.0.1 announce-port 7 loglevel verbose");
    let shown = client.ok("SENTINEL CONFIG GET announce-* loglevel announce-ip");
    let expected = ["announce-hostnames", "no", "announce-ip", "10.0.0.1", "announce-port", "7", "loglevel", "verbose"];
    assert_eq!(shown.texts(), expected);
    for (line, error) in [
        ("announce-ip 10.0.0.2 announce-port x", "ERR Invalid value 'x' to SENTINEL CONFIG SET 'announce-port'"),
        ("announce-ip 10.0.0.2 announce-ip a", "ERR Duplicate argument 'announce-ip' to SENTINEL CONFIG SET"),
        ("announce-ip 10.0.0.2 loglevel", "ERR Missing argument 'loglevel' value"),
        ("announce-ip 10.0.0.2 colour red", "ERR Invalid argument 'colour' to SENTINEL CONFIG SET"),
        ("loglevel loud announce-ip 10.0.0.2", "ERR Invalid value 'loud' to SENTINEL CONFIG SET 'loglevel'"),
    ] {
        assert_eq!(client.cmd(&format!("SENTINEL CONFIG SET {line}")), error);
    }
    // A change of several options of a primary is one too.
    let reply = client.cmd("SENTINEL SET m quorum 3 foo 1");
    assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    assert_eq!(client.ok("SENTINEL MASTER m").get("quorum").expect("a field"), "1");
    // And it survives.
    client.ok("SENTINEL SET m rename-command CONFIG GUESSME rename-command CLIENT OTHER");
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.ok("SENTINEL CONFIG GET announce-ip announce-port").texts()[1], "10.0.0.1");
    // HELP names every subcommand.
    let help = client.ok("SENTINEL HELP").texts().join("\n");
    for word in ["CONFIG", "DEBUG", "PENDING-SCRIPTS", "SIMULATE-FAILURE", "EXPLAIN"] {
        assert!(help.contains(&format!("\n{word} ")) || help.contains(&format!("\n{word}\n")), "{word}");
    }
}
