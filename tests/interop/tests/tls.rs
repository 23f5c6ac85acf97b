//! Replication and sentinels over TLS, with stock redis-server and redis-sentinel 7.0.15 on the other side.

use keystead_harness::{
    Certs, Client, DEADLINE, Keystead, PRIMARY, RedisSentinel, RedisServer, free_port, have, wait_until,
};
use keystead_interop::pair::{field, in_step, syncs, traffic};
use keystead_interop::random::Commands;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Stock servers know TLS if they were built with it, as Debian's are.
fn stock_is_here() -> bool {
    let here = have("redis-server") && have("redis-sentinel");
    if !here {
        println!("SKIPPED: redis-server or redis-sentinel is not installed");
    }
    here
}

/// A data node of either make: its plain port for the test, its TLS port for the others.
struct Node {
    plain: u16,
    tls: u16,
    keystead: Option<Keystead>,
    redis: Option<RedisServer>,
}

impl Node {
    fn ours(certs: &Certs, more: &str) -> Node {
        let tls = free_port();
        let section = certs.section(tls, "replication: true");
        let node =
            Keystead::builder().section(&section).plugin("replication", &format!("(ping_period_s: 3600, {more})"));
        let node = node.start();
        Node { plain: node.port(), tls, keystead: Some(node), redis: None }
    }

    fn stock(certs: &Certs, more: &[&str]) -> Node {
        let tls = free_port();
        let mut args = vec!["--repl-ping-replica-period".to_owned(), "3600".to_owned()];
        args.extend(certs.options(tls).into_iter().flat_map(|(name, value)| [format!("--{name}"), value]));
        args.extend(more.iter().map(|word| (*word).to_owned()));
        let node = RedisServer::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        Node { plain: node.port(), tls, keystead: None, redis: Some(node) }
    }

    fn client(&self) -> Client {
        Client::connect(self.plain)
    }

    fn follow(&self, primary: &Node) {
        self.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.tls));
    }

    fn kill(&mut self) {
        self.keystead.iter_mut().for_each(|node| node.process.kill());
        self.redis.iter_mut().for_each(|node| node.process.kill());
    }
}

/// Full sync, stream, dropped links with partial resyncs.
fn a_pair(primary: &Node, replica: &Node, seed: u64) {
    let (mut p, mut r) = (primary.client(), replica.client());
    let mut commands = Commands::new(seed);
    traffic(&mut p, &mut commands, 200);
    let big = "x".repeat(3_000_000);
    p.command(&["SET", "big", &big]);
    replica.follow(primary);
    in_step(&mut p, &mut r);
    traffic(&mut p, &mut commands, 200);
    p.command(&["SET", "big2", &big]);
    in_step(&mut p, &mut r);
    let (full, partial, _) = syncs(&mut p);
    for round in 1..=2 {
        p.cmd("CLIENT KILL TYPE replica");
        traffic(&mut p, &mut commands, 50);
        in_step(&mut p, &mut r);
        assert_eq!((syncs(&mut p).0, syncs(&mut p).1), (full, partial + round), "the link is resumed, not begun anew");
    }
    let line = field(&mut p, "replication", "slave0");
    assert!(line.contains(&format!("port={},state=online", replica.tls)), "{line}");
    let list = p.ok("CLIENT LIST TYPE replica").as_text().unwrap_or_default();
    assert!(list.contains(&format!("laddr=127.0.0.1:{} ", primary.tls)), "the link comes over TLS: {list}");
}

#[test]
fn redis_follows_us_over_tls() {
    if stock_is_here() {
        let certs = Certs::new();
        a_pair(&Node::ours(&certs, ""), &Node::stock(&certs, &[]), 71);
    }
}

#[test]
fn we_follow_redis_over_tls() {
    if stock_is_here() {
        let certs = Certs::new();
        a_pair(&Node::stock(&certs, &[]), &Node::ours(&certs, ""), 72);
    }
}

#[test]
fn we_follow_ourselves_over_tls_with_a_user_and_a_chain() {
    let certs = Certs::new();
    let (primary, middle) =
        (Node::ours(&certs, ""), Node::ours(&certs, "auth_user: \"copy\", auth_password: \"secret\""));
    primary.client().ok("ACL SETUSER copy on >secret +psync +replconf +ping");
    primary.client().ok("ACL SETUSER default -psync");
    a_pair(&primary, &middle, 73);
    let last = Node::ours(&certs, "");
    last.follow(&middle);
    primary.client().ok("SET to-the-last 1");
    in_step(&mut primary.client(), &mut last.client());
}

#[test]
fn a_primary_of_a_strange_authority_is_not_followed() {
    let (certs, others) = (Certs::new(), Certs::new());
    let (primary, mut replica) = (Node::ours(&others, ""), Node::ours(&certs, ""));
    replica.follow(&primary);
    let node = replica.keystead.as_mut().expect("ours");
    node.process.wait_for_log("TLS handshake failed: certificate verify failed", DEADLINE);
    assert_eq!(field(&mut replica.client(), "replication", "master_link_status"), "down");
}

/// A sentinel of ours that speaks TLS only.
fn our_sentinel(certs: &Certs, primary: u16) -> (Keystead, u16) {
    let port = free_port();
    let config = format!(
        "(port: 0, tls_port: {port}, bind: [\"127.0.0.1\"], monitors: [(name: \"{PRIMARY}\", host: \"127.0.0.1\", \
         port: {primary}, quorum: 2, down_after_ms: 1000, failover_timeout_ms: 10000)])"
    );
    let node = Keystead::builder().section(&certs.section(0, "replication: true")).plugin("sentinel", &config).launch();
    wait_until("our sentinel is there", DEADLINE, || Client::try_connect_tls(port, certs, "client").is_ok());
    (node, port)
}

/// A stock sentinel; its plain port is for the test alone.
fn stock_sentinel(certs: &Certs, primary: u16) -> (RedisSentinel, u16) {
    let port = free_port();
    let mut lines: Vec<String> =
        certs.options(port).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    lines.extend([
        format!("sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2"),
        format!("sentinel down-after-milliseconds {PRIMARY} 1000"),
        format!("sentinel failover-timeout {PRIMARY} 10000"),
    ]);
    (RedisSentinel::start(&lines), port)
}

/// What a sentinel says of the primary and of how many it knows.
fn seen(certs: &Certs, sentinel: u16) -> Option<(u16, String, String)> {
    let mut client = Client::try_connect_tls(sentinel, certs, "client").ok()?;
    let primary = client.try_command(&["SENTINEL", "MASTER", PRIMARY]).ok()?;
    let field = |name: &str| primary.get(name).and_then(|value| value.as_text()).unwrap_or_default();
    Some((field("port").parse().ok()?, field("num-slaves"), field("num-other-sentinels")))
}

#[test]
fn a_mixed_group_fails_over_over_tls() {
    if !stock_is_here() {
        return;
    }
    let certs = Certs::new();
    let mut primary = Node::ours(&certs, "");
    let (ours, stock) = (Node::ours(&certs, ""), Node::stock(&certs, &[]));
    ours.follow(&primary);
    stock.follow(&primary);
    let (_one, a) = our_sentinel(&certs, primary.tls);
    let (_two, b) = our_sentinel(&certs, primary.tls);
    let (_three, c) = stock_sentinel(&certs, primary.tls);
    let all = |port: u16, replicas: &str| {
        [a, b, c].iter().all(|at| seen(&certs, *at) == Some((port, replicas.into(), "2".into())))
    };
    wait_until("the sentinels know each other and the replicas", LIMIT, || all(primary.tls, "2"));
    in_step(&mut primary.client(), &mut ours.client());
    in_step(&mut primary.client(), &mut stock.client());
    primary.kill();
    let new = |node: &Node| [a, b, c].iter().all(|at| seen(&certs, *at).is_some_and(|(port, ..)| port == node.tls));
    wait_until("all three name one of the replicas", LIMIT, || new(&ours) || new(&stock));
    let (leader, follower) = if new(&ours) { (&ours, &stock) } else { (&stock, &ours) };
    wait_until("it is a primary", LIMIT, || field(&mut leader.client(), "replication", "role") == "master");
    leader.client().ok("SET after the-failover");
    in_step(&mut leader.client(), &mut follower.client());
}
