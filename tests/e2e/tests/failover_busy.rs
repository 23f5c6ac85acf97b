//! SENTINEL FAILOVER while a script runs on the primary: what the script wrote is on whoever is the primary behind it.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, PRIMARY, Reply, free_port, sentinel_config, wait_until};
use std::time::{Duration, Instant};

const COUNT: &str = "local n for i = 1, ARGV[1] do n = redis.call('INCR', 'n') end return n";

/// A primary and its replica, where scripts are busy after so long, and a sentinel that waits longer for an answer.
struct Nodes {
    primary: Keystead,
    replica: Keystead,
    sentinel: Keystead,
}

fn nodes(busy_ms: u32) -> Nodes {
    let scripting = format!("(busy_reply_threshold_ms: {busy_ms})");
    let node = |replication: &str| {
        Keystead::builder().plugin("replication", replication).plugin("scripting", &scripting).start()
    };
    let primary = node("()");
    let replica = node(&format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()));
    let port = free_port();
    let sentinel = Keystead::builder()
        .plugin("sentinel", &sentinel_config(port, primary.port(), 1, 30_000))
        .ready_port(port)
        .start();
    let nodes = Nodes { primary, replica, sentinel };
    wait_until("the replica is known and in sync", DEADLINE, || {
        let replicas = nodes.ask("REPLICAS");
        replicas.items().first().and_then(|r| r.get("master-link-status")).is_some_and(|s| s == "ok")
    });
    nodes
}

impl Nodes {
    fn ask(&self, what: &str) -> Reply {
        self.sentinel.client().cmd(&format!("SENTINEL {what} {PRIMARY}"))
    }

    fn named(&self) -> String {
        self.ask("GET-MASTER-ADDR-BY-NAME").texts()[1].clone()
    }

    /// Runs a script of about that time, asks for a failover in its middle, and gives what the script counted up to.
    fn fail_over_in_a_script(&self, script: Duration) -> i64 {
        let port = self.primary.port();
        let mut client = Client::connect(port);
        client.set_reply_limit(DEADLINE);
        let begun = Instant::now();
        client.command(&["EVAL", COUNT, "0", "2000"]);
        let each = begun.elapsed().max(Duration::from_millis(1)) / 2_000;
        let rounds = (script.as_nanos() / each.as_nanos().max(1)).to_string();
        client.send(&["EVAL", COUNT, "0", &rounds]).unwrap();
        wait_until("the script runs", DEADLINE, || {
            let mut other = Client::connect(port);
            other.set_reply_limit(Duration::from_millis(100));
            other.try_command(&["GET", "n"]).map_or(true, |reply| reply.is_error())
        });
        self.sentinel.client().ok(&format!("SENTINEL FAILOVER {PRIMARY}"));
        let reply = client.read().expect("the script's answer");
        reply.as_int().unwrap_or_else(|| panic!("{reply:?}"))
    }
}

#[test]
fn what_a_script_wrote_is_handed_over() {
    let nodes = nodes(60_000);
    // Shorter than a sentinel's patience with a hand-over.
    let counted = nodes.fail_over_in_a_script(Duration::from_millis(1_500));
    let new = nodes.replica.port().to_string();
    wait_until("the primary hands over behind the script", DEADLINE, || nodes.named() == new);
    assert_eq!(nodes.replica.client().cmd("GET n"), counted.to_string().as_str());
    let old = |nodes: &Nodes| nodes.primary.client().info("replication");
    wait_until("the old one follows", DEADLINE, || old(&nodes).get("master_port") == Some(&new));
    wait_until("both have it", DEADLINE, || nodes.primary.client().cmd("GET n") == counted.to_string().as_str());
}

#[test]
fn a_primary_that_is_busy_says_so_and_stays_the_primary() {
    let nodes = nodes(50);
    let counted = nodes.fail_over_in_a_script(Duration::from_secs(3));
    let told = || nodes.ask("TIMELINE").texts().join("\n");
    wait_until("it is given up", DEADLINE, || told().contains("given up"));
    let told = told();
    assert!(told.contains("the primary doesn't hand over: BUSY"), "{told}");
    assert_eq!(nodes.named(), nodes.primary.port().to_string());
    let mut client = nodes.primary.client();
    assert_eq!(client.info("replication")["master_failover_state"], "no-failover");
    assert_eq!(client.cmd("INCR n"), counted + 1);
}
