//! What the sentinels of a group agree on beside failovers, by redis-cli's commands: settings that are spread.

use keystead_harness::{
    Client, Group, Keystead, Maker, PRIMARY, RedisSentinel, Shape, free_port, have, ron_str, sentinel_config,
    wait_until,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn field(port: u16, name: &str) -> String {
    let master = Client::connect(port).cmd(&format!("SENTINEL MASTER {PRIMARY}"));
    master.get(name).and_then(|value| value.as_text()).unwrap_or_default()
}

#[test]
fn a_setting_is_spread_survives_a_restart_and_leaves_stock_sentinels_alone() {
    let third = if have("redis-sentinel") { Maker::Redis } else { Maker::Keystead };
    let sentinels = vec![Maker::Keystead, Maker::Keystead, third];
    let mut group = Group::start(&Shape { data: vec![Maker::Keystead; 2], sentinels, down_after_ms: 5000 });
    let ports: Vec<u16> = group.sentinels.iter().map(|s| s.port()).collect();
    let mut heard = Client::connect(ports[1]);
    heard.send(&["SUBSCRIBE", "+set-from-group"]).expect("a socket");
    heard.read().expect("subscribed");
    let mut operator = Client::connect(ports[0]);
    let refused = operator.cmd(&format!("SENTINEL SET {PRIMARY} auth-pass x GROUP"));
    assert_eq!(refused, "ERR 'auth-pass' is a matter of each sentinel and can't be spread to the group");
    operator.ok(&format!("SENTINEL SET {PRIMARY} down-after-milliseconds 4321 parallel-syncs 3 GROUP"));
    let first = heard.read().expect("the event").texts();
    assert!(first[2].contains("down-after-milliseconds 4321"), "{first:?}");
    for port in &ports[..2] {
        wait_until("both have it", LIMIT, || {
            field(*port, "down-after-milliseconds") == "4321" && field(*port, "parallel-syncs") == "3"
        });
    }
    let explained = operator.ok(&format!("SENTINEL EXPLAIN {PRIMARY}")).texts().join("\n");
    assert!(explained.contains("setting of the group: parallel-syncs 3 (epoch 1, by "), "{explained}");
    if third == Maker::Redis {
        assert_eq!(field(ports[2], "down-after-milliseconds"), "5000");
        assert!(explained.contains("is not told, it is no Keystead"), "{explained}");
    }
    // The other one has it from its own disk: the first is gone.
    let state = group.sentinels[1].process().dir().join("sentinel.state");
    wait_until("it is there", LIMIT, || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("4321")));
    group.sentinels[0].process().kill();
    group.sentinels[1].process().kill();
    group.sentinels[1].process().restart().expect("it starts again");
    wait_until("it answers", LIMIT, || Client::try_connect(ports[1]).is_ok());
    wait_until("it still has it", LIMIT, || field(ports[1], "down-after-milliseconds") == "4321");
}

/// A sentinel of these primaries.
fn of_all(primaries: &[u16]) -> (Keystead, u16) {
    let port = free_port();
    let monitor = |(n, p): (usize, &u16)| format!("(name: \"p{n}\", host: \"127.0.0.1\", port: {p}, quorum: 2)");
    let monitors: Vec<String> = primaries.iter().enumerate().map(monitor).collect();
    let config = format!("(port: {port}, bind: [\"127.0.0.1\"], monitors: [{}])", monitors.join(", "));
    (Keystead::builder().plugin("sentinel", &config).ready_port(port).start(), port)
}

#[test]
fn sentinels_of_several_primaries_have_one_connection_to_each_other() {
    let primaries: Vec<Keystead> = (0..3).map(|_| Keystead::primary()).collect();
    let addresses: Vec<u16> = primaries.iter().map(Keystead::port).collect();
    let (_one, port) = of_all(&addresses);
    let (_other, peer) = of_all(&addresses);
    let sharing = || {
        let of = |n: usize| {
            let known = Client::connect(port).cmd(&format!("SENTINEL SENTINELS p{n}")).items();
            let text = |name| known.first()?.get(name)?.as_text();
            text("link-refcount").is_some_and(|count| count == "3")
                && text("flags").is_some_and(|flags| flags == "sentinel")
        };
        (0..3).all(of)
    };
    let lines = |at: u16| {
        let list = Client::connect(at).ok("CLIENT LIST").as_text().unwrap_or_default();
        list.lines().filter(|line| line.contains("-cmd ")).count()
    };
    wait_until("both know each other for all", LIMIT, sharing);
    assert_eq!((lines(port), lines(peer)), (1, 1));
    // It is lost for all of them, and opened again once.
    Client::connect(peer).ok("CLIENT KILL TYPE normal SKIPME yes");
    wait_until("it is there again", LIMIT, || lines(peer) == 1 && sharing());
}

/// A sentinel of ours that signs, of a primary on loopback.
fn signing(primary: u16, key: &str) -> (Keystead, u16) {
    let port = free_port();
    let config = sentinel_config(port, primary, 2, 1000).replacen('(', &format!("(hello_key: {}, ", ron_str(key)), 1);
    (Keystead::builder().plugin("sentinel", &config).ready_port(port).start(), port)
}

#[test]
fn signed_hellos_are_ignored_by_stock_sentinels_and_unsigned_ones_by_ours() {
    let primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    let (old, new) = ("the first key of all", "the second key of all");
    let (_a, first) = signing(primary.port(), old);
    let (_b, second) = signing(primary.port(), old);
    let both = [first, second];
    let know_each_other = |others: &str| {
        let word = format!("each of ours knows {others}");
        wait_until(&word, LIMIT, || both.iter().all(|port| field(*port, "num-other-sentinels") == others));
        wait_until("and can reach it", LIMIT, || {
            both.iter().all(|port| {
                let said = Client::connect(*port).cmd(&format!("SENTINEL CKQUORUM {PRIMARY}"));
                said.as_text().is_some_and(|text| text.starts_with("OK 2 usable"))
            })
        });
    };
    know_each_other("1");
    let mut heard = Client::connect(primary.port());
    heard.send(&["SUBSCRIBE", "__sentinel__:hello"]).expect("a socket");
    heard.read().expect("subscribed");
    let stock = have("redis-sentinel").then(|| {
        RedisSentinel::start(&[
            format!("sentinel monitor {PRIMARY} 127.0.0.1 {} 2", primary.port()),
            format!("sentinel down-after-milliseconds {PRIMARY} 60000"),
        ])
    });
    if let Some(stock) = &stock {
        // Stock's own hellos have eight fields, ours nine: each side has sent several by the end of this.
        let (mut eight, mut nine) = (0, 0);
        while eight < 2 || nine < 4 {
            match heard.read().expect("a hello").texts()[2].split(',').count() {
                8 => eight += 1,
                9 => nine += 1,
                other => panic!("a hello of {other} fields"),
            }
        }
        assert_eq!(field(stock.port(), "num-other-sentinels"), "0");
        let told = Client::connect(first).ok(&format!("SENTINEL EXPLAIN {PRIMARY}")).texts().join("\n");
        assert!(told.contains("are ignored: not signed"), "{told}");
    }
    // A forged configuration in a channel that any client of the data node may write to.
    let mut events = Client::connect(second);
    events.send(&["SUBSCRIBE", "-hello-refused"]).expect("a socket");
    events.read().expect("subscribed");
    let forged = format!("127.0.0.1,1,{},99,{PRIMARY},127.0.0.1,{},99", "f".repeat(40), replica.port());
    Client::connect(primary.port()).cmd(&format!("PUBLISH __sentinel__:hello {forged}"));
    wait_until("it is told", LIMIT, || events.read().is_ok_and(|event| event.texts()[2].contains(&"f".repeat(40))));
    know_each_other("1");
    assert_eq!(field(second, "port"), primary.port().to_string());
    // A new key, in three steps, each of which the group goes on after.
    for pairs in [vec!["hello-key-old", new], vec!["hello-key", new, "hello-key-old", old], vec!["hello-key-old", ""]] {
        for port in both {
            let words: Vec<&str> = ["SENTINEL", "CONFIG", "SET"].into_iter().chain(pairs.iter().copied()).collect();
            assert_eq!(Client::connect(port).try_command(&words).expect("an answer"), "OK");
        }
        know_each_other("1");
    }
    let mut primary = primary;
    primary.process.kill();
    let moved = |port: &u16| field(*port, "port") == replica.port().to_string();
    wait_until("the signed group fails over", LIMIT, || both.iter().all(moved));
}
