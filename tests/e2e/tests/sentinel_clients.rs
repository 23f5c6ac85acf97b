//! Clients that nobody here wrote, in their sentinel modes: each writes through a failover and goes on, unchanged.
//!
//! redis-rs is linked. redis-py and ioredis run when their interpreter and package are there: installed as usual, or by
//! `tests/run clients` into `target/clients`; else the test says SKIPPED and why.

use keystead_harness::{Client, Group, Maker, PRIMARY, Shape, have, wait_until};
use redis::sentinel::{SentinelClient, SentinelServerType};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A slow and shared machine gets this much.
const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "written-by-client";

fn group() -> Group {
    let makers = |n| vec![Maker::Keystead; n];
    Group::start(&Shape { data: makers(3), sentinels: makers(3), down_after_ms: 1000 })
}

fn ports(group: &Group) -> Vec<u16> {
    group.sentinels.iter().map(|sentinel| sentinel.port()).collect()
}

/// An acknowledged number, and when.
type Acknowledged = (u64, Instant);

/// Kills the primary under the acknowledged numbers and wants them to go on, at a primary that has what was acknowledged
/// there.
fn through_a_failover(who: &str, mut group: Group, acknowledged: &Receiver<Acknowledged>) {
    let next = |words: &str| {
        acknowledged.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{who}: {words}, and nothing was acknowledged"))
    };
    (0..20).for_each(|_| _ = next("at the start"));
    let (mut last, mut at) = next("before the kill");
    let old = group.primary_by(0).expect("a primary");
    group.node(old).process().kill();
    let killed = Instant::now();
    wait_until("the sentinels name a new primary", LIMIT, || group.primary_by(0).is_some_and(|port| port != old));
    let switched = Instant::now();
    let mut gap = Duration::ZERO;
    // Until two seconds of writes behind the switch.
    while at < switched + Duration::from_secs(2) {
        let (n, then) = next("after the failover");
        gap = gap.max(then - at);
        (last, at) = (n, then);
        assert!(killed.elapsed() < LIMIT, "{who}: it doesn't go on");
    }
    let new = group.primary_by(0).expect("a primary");
    assert_ne!(new, old);
    let kept: u64 = Client::connect(new).cmd(&format!("GET {KEY}")).as_text().and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(kept >= last, "{who}: {last} was acknowledged, the new primary has {kept}");
    group.expect_promotions(1);
    println!("| {who} | {last} | {:.2} s | 1 |", gap.as_secs_f64());
}

#[test]
fn redis_rs() {
    let group = group();
    let nodes: Vec<String> = ports(&group).iter().map(|port| format!("redis://127.0.0.1:{port}")).collect();
    let (sender, acknowledged) = channel();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let built = SentinelClient::build(nodes, PRIMARY.to_owned(), None, SentinelServerType::Master);
            let mut client = built.expect("sentinels' addresses");
            let mut last = 0u64;
            while !over.load(Ordering::Relaxed) {
                // As its documentation says: whoever loses a connection asks for the next one.
                let Ok(mut connection) = client.get_connection() else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                while !over.load(Ordering::Relaxed)
                    && redis::cmd("SET").arg(KEY).arg(last + 1).exec(&mut connection).is_ok()
                {
                    last += 1;
                    let _ = sender.send((last, Instant::now()));
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            through_a_failover("redis-rs 1.8", group, &acknowledged);
        }));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A client's process; it ends with the test.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where `tests/run clients` puts packages.
fn installed(what: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients")).join(what)
}

/// The interpreter with the path to what was installed for it.
fn interpreter(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PYTHONPATH", installed("python")).env("NODE_PATH", installed("node/node_modules"));
    command
}

fn script(client: &str, program: &str, probe: &[&str], file: &str) {
    if !have(program) {
        println!("SKIPPED: {client}: {program} is not installed");
        return;
    }
    let there = interpreter(program).args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!(
            "SKIPPED: {client}: its package is not installed; `tests/run clients` installs it into target/clients"
        );
        return;
    }
    let group = group();
    let sentinels = ports(&group).iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients").join(file);
    let started = interpreter(program).arg(file).arg(sentinels).stdout(Stdio::piped()).spawn();
    let mut child = Script(started.expect("the interpreter starts"));
    let output = child.0.stdout.take().expect("it is piped");
    let (sender, acknowledged) = channel();
    let (tell, version) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("version", version)) => drop(tell.send(version.to_owned())),
                Some(("ok", n)) => drop(n.parse().map(|n| sender.send((n, Instant::now())))),
                _ => {} // what it says about the gap
            }
        }
    });
    let version = version.recv_timeout(LIMIT).expect("the client's version");
    through_a_failover(&format!("{client} {version}"), group, &acknowledged);
}

#[test]
fn redis_py() {
    script("redis-py", "python3", &["-c", "import redis.sentinel"], "redis_py.py");
}

#[test]
fn ioredis() {
    script("ioredis", "node", &["-e", "require('ioredis')"], "ioredis.js");
}
