//! Failovers with real keystead processes: data nodes and sentinels, real libraries, real signals.

use keystead_harness::{Client, Group, Keystead, Maker, PRIMARY, Reply, Shape, free_port, sentinel_config, wait_until};
use std::time::{Duration, Instant};

/// A slow and shared machine gets this much; the bench measures what it takes.
const LIMIT: Duration = Duration::from_secs(30);

fn group() -> Group {
    let makers = |n| vec![Maker::Keystead; n];
    Group::start(&Shape { data: makers(3), sentinels: makers(3), down_after_ms: 1000 })
}

fn epochs(group: &Group) -> Vec<String> {
    let epoch = |reply: Reply| reply.get("config-epoch").and_then(|epoch| epoch.as_text()).unwrap_or_default();
    group.sentinels.iter().map(|s| epoch(s.client().cmd(&format!("SENTINEL MASTER {PRIMARY}")))).collect()
}

#[test]
fn a_killed_primary_is_replaced_once_and_returns_as_a_replica() {
    let mut group = group();
    let old = group.data[0].port();
    // WAIT is about the writes of its own connection.
    let mut client = group.data[0].client();
    client.ok("SET before 1");
    assert_eq!(client.cmd("WAIT 2 5000"), 2);
    let since = Instant::now();
    group.data[0].process().kill();
    let (new, took) = group.first_write_elsewhere(old, since, LIMIT);
    println!("first write on the new primary after {took:?}");
    let mut client = Client::connect(new);
    assert_eq!(client.cmd("GET before"), "1", "what two replicas had is there");
    let other = group.data.iter().map(|node| node.port()).find(|port| ![old, new].contains(port)).expect("three nodes");
    group.wait_replica(other, new, LIMIT);
    wait_until("all sentinels know the new primary", LIMIT, || (0..3).all(|n| group.primary_by(n) == Some(new)));
    wait_until("the failover has ended", LIMIT, || group.logged("+switch-master") == 3);
    group.expect_promotions(1);
    assert_eq!(group.logged("+failover-end"), 1);

    // The old primary comes back as the primary it was, and is told at once.
    let Some(keystead_harness::Member::Keystead(node, _)) = group.data.first_mut() else {
        panic!("data nodes are ours")
    };
    node.restart();
    group.wait_replica(old, new, Duration::from_secs(8));
    group.wait_settled(LIMIT);
    group.expect_promotions(1);
    let epochs = epochs(&group);
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[test]
fn a_sentinel_remembers_who_it_is_and_what_it_knows() {
    let mut group = group();
    let old = group.data[0].port();
    group.data[0].process().kill();
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    wait_until("all sentinels know the new primary", LIMIT, || (0..3).all(|n| group.primary_by(n) == Some(new)));
    wait_until("the failover has ended", LIMIT, || group.logged("+switch-master") == 3);
    let mut client = group.sentinels[0].client();
    let (id, master) = (client.cmd("SENTINEL MYID"), client.cmd(&format!("SENTINEL MASTER {PRIMARY}")));
    group.sentinels[0].process().kill();
    let keystead_harness::Member::Keystead(node, _) = &mut group.sentinels[0] else { panic!("sentinels are ours") };
    node.restart();
    let mut client = group.sentinels[0].client();
    assert_eq!(client.cmd("SENTINEL MYID"), id);
    let again = client.cmd(&format!("SENTINEL MASTER {PRIMARY}"));
    for field in ["ip", "port", "config-epoch", "num-slaves", "num-other-sentinels"] {
        assert_eq!(again.get(field), master.get(field), "{field}");
    }
}

#[test]
fn an_operator_can_ask_for_a_failover() {
    let mut group = group();
    let old = group.data[0].port();
    group.sentinels[1].client().ok(&format!("SENTINEL FAILOVER {PRIMARY}"));
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    group.wait_replica(old, new, LIMIT);
    group.wait_settled(LIMIT);
    group.expect_promotions(1);
    assert_eq!(group.logged("+sdown"), 0, "nobody was ever down");
}

#[test]
fn a_data_node_may_carry_its_own_sentinel() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut nodes: Vec<Keystead> = Vec::new();
    for port in &ports {
        let primary = nodes.first().map(Keystead::port);
        let data = free_port();
        let replication = primary.map_or("()".to_owned(), |p| format!("(replicaof: (\"127.0.0.1\", {p}))"));
        let sentinel = sentinel_config(*port, primary.unwrap_or(data), 2, 1000);
        let node = Keystead::builder().port(data).plugin("replication", &replication).plugin("sentinel", &sentinel);
        nodes.push(node.start());
    }
    let old = nodes[0].port();
    let ask = |port: u16, what: &str| Client::connect(port).cmd(&format!("SENTINEL {what} {PRIMARY}"));
    let seen = |port: u16, field: &str| ask(port, "MASTER").get(field).and_then(|n| n.as_text()).unwrap_or_default();
    wait_until("the sentinels found each other", LIMIT, || {
        ports.iter().all(|p| seen(*p, "num-other-sentinels") == "2" && seen(*p, "num-slaves") == "2")
    });
    let linked = |r: &Reply| r.get("master-link-status").and_then(|s| s.as_text()).as_deref() == Some("ok");
    wait_until("the replicas are in sync", LIMIT, || {
        ports.iter().all(|p| ask(*p, "REPLICAS").items().iter().all(linked))
    });
    nodes[0].process.kill();
    let mut new = None;
    wait_until("the two left elect a primary", LIMIT, || {
        let addrs: Vec<_> = ports[1..].iter().map(|p| ask(*p, "GET-MASTER-ADDR-BY-NAME").texts()).collect();
        new = addrs[0].get(1).and_then(|p| p.parse::<u16>().ok());
        addrs[0] == addrs[1] && new.is_some_and(|p| p != old)
    });
    let mut client = Client::connect(new.expect("just found"));
    wait_until("it takes writes", LIMIT, || client.cmd("SET a 1") == "OK");
}

#[test]
fn what_a_sentinel_tells_and_refuses() {
    let mut group =
        Group::start(&Shape { data: vec![Maker::Keystead], sentinels: vec![Maker::Keystead], down_after_ms: 30_000 });
    let port = group.data[0].port();
    let mut c = group.sentinels[0].client();
    assert_eq!(c.cmd("PING"), "PONG");
    assert_eq!(c.cmd("ROLE").items()[0], "sentinel");
    let info = c.info("sentinel");
    assert_eq!(info["sentinel_masters"], "1");
    assert_eq!(info["master0"], format!("name={PRIMARY},status=ok,address=127.0.0.1:{port},slaves=0,sentinels=1"));
    let cases = [
        ("SENTINEL MASTER x", "ERR No such master with that name"),
        ("SENTINEL FAILOVER mymaster", "NOGOODSLAVE No suitable replica to promote"),
        ("SENTINEL MONITOR mymaster 1.1.1.1 1 1", "ERR Duplicate master name."),
        ("SENTINEL MONITOR a foo 1 1", "ERR Invalid IP address or hostname specified"),
        ("SENTINEL SET mymaster quorum 0", "ERR Invalid argument '0' for SENTINEL SET 'quorum'"),
        ("SENTINEL nonsense", "ERR unknown subcommand 'nonsense'. Try SENTINEL HELP."),
        ("SENTINEL MASTER", "ERR wrong number of arguments for 'sentinel|master' command"),
        ("PUBLISH news hi", "ERR Only HELLO messages are accepted by Sentinel instances."),
    ];
    for (command, error) in cases {
        assert_eq!(c.cmd(command), error, "{command}");
    }
    assert!(c.cmd("GET a").is_error() && c.cmd("SET a b").is_error(), "a sentinel has no keys");
    assert_eq!(c.cmd("SENTINEL GET-MASTER-ADDR-BY-NAME x"), Reply::Null);
    assert!(c.cmd("SENTINEL CKQUORUM mymaster").as_text().expect("a status").starts_with("OK 1 usable Sentinels."));
    c.ok("SENTINEL SET mymaster down-after-milliseconds 5000 quorum 1");
    c.ok("SENTINEL MONITOR other 127.0.0.1 1 1");
    c.ok("SENTINEL REMOVE other");
    assert_eq!(c.cmd("SENTINEL RESET my*"), 1);
    let field = c.cmd("SENTINEL MASTER mymaster").get("down-after-milliseconds");
    assert_eq!(field.and_then(|f| f.as_text()).as_deref(), Some("5000"));
    c.ok("SENTINEL FLUSHCONFIG");
    c.ok("HELLO 3");
    assert!(matches!(c.cmd("SENTINEL MASTER mymaster"), Reply::Map(_)), "RESP3 gets a map");
    assert!(group.logged("+set") >= 2);
}

/// What happened, what would happen, and the command line that shows it.
#[test]
fn a_failover_explains_itself() {
    let mut group = group();
    let (old, port) = (group.data[0].port(), group.sentinels[0].port());
    let lines = |what: &str| Client::connect(port).cmd(&format!("SENTINEL {what}")).texts().join("\n");
    wait_until("it is well, and a replica could be promoted", LIMIT, || {
        let before = lines("EXPLAIN mymaster");
        before.contains(&format!("primary 127.0.0.1:{old} is up")) && before.contains("would be promoted")
    });
    let rehearsed = lines("FAILOVER mymaster DRYRUN");
    assert!(rehearsed.contains(&format!("127.0.0.1:{old} would hand over")), "{rehearsed}");
    assert_eq!(group.primary_by(0), Some(old), "nothing happened");
    group.data[0].process().kill();
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    wait_until("all sentinels know the new primary", LIMIT, || (0..3).all(|n| group.primary_by(n) == Some(new)));
    wait_until("the failover has ended", LIMIT, || group.logged("+switch-master") == 3);
    let story = lines("TIMELINE mymaster");
    assert!(story.contains("sdown: no valid answer for") && story.contains("switched: "), "{story}");
    let json = lines("TIMELINE mymaster 1 JSON");
    assert!(json.starts_with("{\"name\":\"mymaster\",\"ago_ms\":") && json.ends_with("}]}"), "{json}");
    for (what, expected) in [("explain", "configuration epoch"), ("timeline", "switched: ")] {
        let out = std::process::Command::new(keystead_harness::keystead_bin())
            .args(["sentinel", what, "--port", &port.to_string()])
            .output()
            .expect("the binary is there");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success() && text.contains(expected),
            "{what}: {text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}

/// A refused connection, seen twice and by the quorum, needs no down-after.
#[test]
fn fast_detection_does_not_wait_for_down_after() {
    let mut group = Group::start(&Shape {
        data: vec![Maker::Keystead; 3],
        sentinels: vec![Maker::Keystead; 3],
        down_after_ms: 60_000,
    });
    for sentinel in &group.sentinels {
        sentinel.client().ok("SENTINEL SET mymaster fast-detection yes");
    }
    let (old, since) = (group.data[0].port(), Instant::now());
    group.data[0].process().kill();
    let (_, took) = group.first_write_elsewhere(old, since, LIMIT);
    println!("first write on the new primary after {took:?}");
    wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") == 1);
    group.expect_promotions(1);
}

#[test]
fn the_subcommands_are_rows_of_their_own() {
    let group =
        Group::start(&Shape { data: vec![Maker::Keystead], sentinels: vec![Maker::Keystead], down_after_ms: 30_000 });
    let mut c = group.sentinels[0].client();
    let row = c.cmd("COMMAND INFO sentinel|masters").items()[0].items();
    assert_eq!((row[0].clone(), row[1].clone()), (Reply::Bulk(b"sentinel|masters".to_vec()), Reply::Int(2)));
    assert!(c.cmd("COMMAND INFO sentinel").items()[0].items().len() >= 7);
    assert_eq!(c.cmd("SENTINEL SIMULATE-FAILURE nonsense"), "ERR Unknown failure simulation specified");
    c.ok("SENTINEL SIMULATE-FAILURE crash-after-election");
    assert_eq!(c.info("sentinel")["sentinel_simulate_failure_flags"], "1");
}

#[test]
fn events_are_published_under_their_names() {
    let group = group();
    let mut listener = group.sentinels[0].client();
    listener.ok("SUBSCRIBE +switch-master");
    let old = group.data[0].port();
    group.sentinels[1].client().ok(&format!("SENTINEL FAILOVER {PRIMARY}"));
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    let message = listener.read().expect("the event").texts();
    assert_eq!(message, ["message", "+switch-master", &format!("{PRIMARY} 127.0.0.1 {old} 127.0.0.1 {new}")]);
}

/// F8: without persistence a primary that is back before anybody could see it down would wipe its replicas.
#[test]
fn a_primary_that_comes_back_empty_does_not_stay_one() {
    let mut group = Group::start(&Shape {
        data: vec![Maker::Keystead; 3],
        sentinels: vec![Maker::Keystead; 3],
        down_after_ms: 10_000,
    });
    let old = group.data[0].port();
    let mut client = group.data[0].client();
    client.ok("SET precious 1");
    assert_eq!(client.cmd("WAIT 2 5000"), 2);
    group.data[0].process().kill();
    group.data[0].process().restart().expect("it starts again");
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    assert_eq!(Client::connect(new).cmd("GET precious"), "1");
    group.wait_replica(old, new, LIMIT);
    group.wait_settled(LIMIT);
    assert_eq!(Client::connect(old).cmd("GET precious"), "1");
    group.expect_promotions(1);
}

/// Clients are back before replicas are: a first write must not make the replicas' data worthless.
#[test]
fn a_primary_that_comes_back_with_one_new_key_does_not_stay_one() {
    let mut group = Group::start(&Shape {
        data: vec![Maker::Keystead; 3],
        sentinels: vec![Maker::Keystead; 3],
        down_after_ms: 10_000,
    });
    let old = group.data[0].port();
    let mut client = group.data[0].client();
    for n in 0..1000 {
        client.ok(&format!("SET key:{n} {n}"));
    }
    assert_eq!(client.cmd("WAIT 2 5000"), 2);
    group.data[0].process().kill();
    group.data[0].process().restart().expect("it starts again");
    wait_until("it takes a write", LIMIT, || {
        let again = Client::try_connect(old).and_then(|mut c| c.try_command(&["SET", "x", "1"]));
        again.is_ok_and(|reply| !reply.is_error())
    });
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    group.wait_replica(old, new, LIMIT);
    group.wait_settled(LIMIT);
    for node in &group.data {
        let mut client = node.client();
        assert_eq!(client.cmd("GET key:0"), "0");
        assert_eq!(client.cmd("GET key:999"), "999");
    }
    group.expect_promotions(1);
}

/// F3: stock sentinels that stood still go passive for half a minute and longer.
#[test]
fn sentinels_that_stood_still_fail_over_nevertheless() {
    let mut group = group();
    let old = group.data[0].port();
    for sentinel in &mut group.sentinels[..2] {
        sentinel.process().pause();
    }
    // Longer than their stall limit; what is waited for is the third one seeing them down.
    let mut third = group.sentinels[2].client();
    let down = |r: &Reply| r.get("flags").and_then(|f| f.as_text()).is_some_and(|f| f.contains("s_down"));
    wait_until("the paused sentinels are seen down", LIMIT, || {
        third.cmd(&format!("SENTINEL SENTINELS {PRIMARY}")).items().iter().all(down)
    });
    for sentinel in &mut group.sentinels[..2] {
        sentinel.process().resume();
    }
    let since = Instant::now();
    group.data[0].process().kill();
    let (_, took) = group.first_write_elsewhere(old, since, LIMIT);
    println!("first write after {took:?}");
    wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") == 1);
    group.expect_promotions(1);
}

#[test]
fn passwords_on_data_nodes_and_sentinels() {
    let data = |primary: Option<u16>| {
        let follow = primary.map_or(String::new(), |port| format!(", replicaof: (\"127.0.0.1\", {port})"));
        Keystead::builder()
            .server("requirepass: \"data-secret\"")
            .plugin("replication", &format!("(auth_password: \"data-secret\"{follow})"))
            .start()
    };
    let mut primary = data(None);
    let (old, replicas) = (primary.port(), [data(Some(primary.port())), data(Some(primary.port()))]);
    let sentinels: Vec<Keystead> = (0..3)
        .map(|_| {
            let port = free_port();
            let config = sentinel_config(port, old, 2, 1000)
                .replace("monitors:", "password: \"sentinel-secret\", monitors:")
                .replace("quorum:", "auth_pass: \"data-secret\", quorum:");
            Keystead::builder().plugin("sentinel", &config).ready_port(port).start()
        })
        .collect();
    assert!(sentinels[0].client().cmd("SENTINEL MASTERS").is_error(), "a password is asked for");
    let mut clients: Vec<Client> = sentinels.iter().map(Keystead::client).collect();
    for client in &mut clients {
        client.ok("AUTH sentinel-secret");
    }
    wait_until("everybody is known and well", LIMIT, || {
        clients.iter_mut().all(|client| {
            let all = |reply: Reply, field: &str, value: &str| {
                let items = reply.items();
                items.len() == 2
                    && items.iter().all(|r| r.get(field).and_then(|v| v.as_text()).as_deref() == Some(value))
            };
            all(client.cmd(&format!("SENTINEL REPLICAS {PRIMARY}")), "master-link-status", "ok")
                && all(client.cmd(&format!("SENTINEL SENTINELS {PRIMARY}")), "flags", "sentinel")
        })
    });
    primary.process.kill();
    let addr = |client: &mut Client| client.cmd(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}")).texts();
    wait_until("a replica takes over", LIMIT, || clients.iter_mut().all(|c| addr(c)[1] != old.to_string()));
    let new = addr(&mut clients[0])[1].clone();
    let other = replicas.iter().find(|r| r.port().to_string() != new).expect("two replicas");
    let mut client = other.client();
    client.ok("AUTH data-secret");
    wait_until("the other follows it", LIMIT, || client.info("replication")["master_port"] == new);
}

/// Writes increasing numbers until the connection is gone, without any error before; the last one that was acknowledged.
fn write_until_closed(port: u16, key: &str) -> i64 {
    let mut client = Client::connect(port);
    let mut last = 0;
    while let Ok(reply) = client.try_command(&["SET", key, &(last + 1).to_string()]) {
        match reply {
            Reply::Error(why) => panic!("{why}"),
            _ => last += 1,
        }
    }
    last
}

/// The primary hands over: whatever was acknowledged is on the new one, nobody sees an error but the end of his connection,
/// and the old one follows without a full sync.
#[test]
fn a_failover_asked_for_loses_nothing_under_load() {
    const WRITERS: usize = 4;
    let mut group = group();
    let mut old = group.data[0].port();
    for round in 1..=2 {
        let full = |port: u16| Client::connect(port).info("stats")["sync_full"].clone();
        let before: Vec<_> = group.data.iter().map(|node| (node.port(), full(node.port()))).collect();
        let (new, acknowledged) = std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..WRITERS).map(|n| scope.spawn(move || write_until_closed(old, &format!("k{n}")))).collect();
            let mut seen = Client::connect(old);
            wait_until("writes flow", LIMIT, || (0..WRITERS).all(|n| seen.cmd(&format!("GET k{n}")) != Reply::Null));
            group.sentinels[0].client().ok(&format!("SENTINEL FAILOVER {PRIMARY}"));
            let (new, took) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
            println!("round {round}: first write on the new primary after {took:?}");
            (new, writers.into_iter().map(|w| w.join().expect("a writer ends")).collect::<Vec<_>>())
        });
        let mut client = Client::connect(new);
        for (n, last) in acknowledged.iter().enumerate() {
            let kept = client.cmd(&format!("GET k{n}")).as_text().and_then(|text| text.parse::<i64>().ok());
            assert!(*last > 0 && kept >= Some(*last), "writer {n}: acknowledged {last}, kept {kept:?}");
        }
        group.wait_replica(old, new, LIMIT);
        assert!(before.contains(&(new, full(new))), "the old primary goes on where it was: {before:?}, {}", full(new));
        group.wait_settled(LIMIT);
        group.expect_promotions(round);
        let how = group.sentinels[0].client().ok(&format!("SENTINEL TIMELINE {PRIMARY} 1")).texts().join(" ");
        assert!(how.contains("hand over"), "{how}");
        // For the next round the keys begin anew.
        client.ok("FLUSHALL");
        old = new;
    }
    // Forced, it is Redis' way.
    group.sentinels[0].client().ok(&format!("SENTINEL FAILOVER {PRIMARY} FORCE"));
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    group.wait_replica(old, new, LIMIT);
    let how = group.sentinels[0].client().ok(&format!("SENTINEL TIMELINE {PRIMARY} 1")).texts().join(" ");
    assert!(how.contains("SLAVEOF NO ONE"), "{how}");
}

#[test]
fn a_primary_that_cannot_hand_over_stays_the_primary() {
    let mut group = group();
    let port = group.data[0].port();
    // The replicas can't catch up: they stand still, and nobody calls them down within the sentinels' patience. The primary
    // isn't even asked to wait for them.
    for sentinel in &group.sentinels {
        sentinel.client().ok(&format!("SENTINEL SET {PRIMARY} down-after-milliseconds 60000 failover-timeout 1000"));
    }
    for node in &mut group.data[1..] {
        node.process().pause();
    }
    let mut client = Client::connect(port);
    client.ok("SET a 1");
    let mut sentinel = group.sentinels[0].client();
    sentinel.ok(&format!("SENTINEL FAILOVER {PRIMARY} COORDINATED"));
    wait_until("it is given up", LIMIT, || group.logged("-failover-abort-no-good-slave") == 1);
    assert_eq!(client.info("replication")["master_failover_state"], "no-failover");
    assert!(!group.data[0].process().log().contains("FAILOVER requested"), "it was never asked to hand over");
    client.ok("SET a 2");
    assert_eq!(client.cmd("ROLE").items()[0], "master");
    assert_eq!(group.primary_by(0), Some(port));
}

/// By a hand, or by a sentinel of another make that came late: nobody is a primary, and no node ends that.
#[test]
fn a_primary_that_follows_its_own_replica_is_replaced() {
    let mut group = group();
    let (old, replica) = (group.data[0].port(), group.data[1].port());
    let since = Instant::now();
    Client::connect(old).ok(&format!("REPLICAOF 127.0.0.1 {replica}"));
    // INFO's period, down-after and the failover; a wrong role alone is waited for 20 s longer.
    let (new, took) = group.first_write_elsewhere(old, since, Duration::from_secs(19));
    println!("first write on the new primary after {took:?}");
    group.wait_replica(old, new, LIMIT);
    group.wait_settled(LIMIT);
    group.expect_promotions(1);
}
