//! FAILOVER over a network that loses or holds back what the replica says: behind it there is one primary, with all data.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, Reply, free_port, text, wait_until};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

/// What becomes of a connection to the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    /// Everything passes.
    Open,
    /// The question to take over passes, and its answer is lost with the connection; then nobody comes through.
    LosesTheAnswer,
    /// The question passes, and its answer never comes; other connections pass.
    SwallowsAnAnswer,
    /// The question is held back, whatever becomes of the asker.
    HoldsTheQuestion,
    /// Nobody comes through.
    Shut,
}

const WAYS: [Way; 5] = [Way::Open, Way::LosesTheAnswer, Way::SwallowsAnAnswer, Way::HoldsTheQuestion, Way::Shut];

/// The way from a primary to its replica.
struct Proxy {
    port: u16,
    way: Arc<AtomicU8>,
    /// Questions to take over that came here.
    asked: Arc<AtomicUsize>,
    /// Of them, those the replica has by now.
    passed: Arc<AtomicUsize>,
}

impl Proxy {
    fn to(replica: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            way: Arc::default(),
            asked: Arc::default(),
            passed: Arc::default(),
        };
        let (way, asked, passed) = (proxy.way.clone(), proxy.asked.clone(), proxy.passed.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(server) = TcpStream::connect(("127.0.0.1", replica)).ok().filter(|_| now(&way) != Way::Shut)
                else {
                    continue; // dropped
                };
                let (way, asked, passed) = (way.clone(), asked.clone(), passed.clone());
                std::thread::spawn(move || carry(client, server, &way, &asked, &passed));
            }
        });
        proxy
    }

    fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn now(way: &AtomicU8) -> Way {
    WAYS[usize::from(way.load(Ordering::SeqCst))]
}

/// One connection, until a side ends it.
fn carry(mut client: TcpStream, mut server: TcpStream, way: &AtomicU8, asked: &AtomicUsize, passed: &AtomicUsize) {
    let (mut from, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    // The first question decides what its connection is like.
    let like = Arc::new(AtomicU8::new(Way::Open as u8));
    let answers = {
        let like = like.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 64 << 10];
            while let Ok(n @ 1..) = from.read(&mut buf) {
                match now(&like) {
                    Way::LosesTheAnswer => break,
                    Way::SwallowsAnAnswer => {}
                    _ if back.write_all(&buf[..n]).is_err() => break,
                    _ => {}
                }
            }
            let _ = back.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        })
    };
    let mut buf = [0; 64 << 10];
    while let Ok(n @ 1..) = client.read(&mut buf) {
        let question = buf[..n].windows(8).any(|word| word == b"FAILOVER");
        if question {
            asked.fetch_add(1, Ordering::SeqCst);
            like.store(way.load(Ordering::SeqCst), Ordering::SeqCst);
            if now(&like) == Way::LosesTheAnswer {
                way.store(Way::Shut as u8, Ordering::SeqCst);
            }
            while now(way) == Way::HoldsTheQuestion {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if server.write_all(&buf[..n]).is_err() {
            break;
        }
        passed.fetch_add(usize::from(question), Ordering::SeqCst);
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
}

fn info(node: &Keystead, name: &str) -> String {
    node.client().info("replication").get(name).cloned().unwrap_or_default()
}

fn role(node: &Keystead) -> String {
    text(&node.client().cmd("ROLE").items()[0])
}

/// A primary with some data, and its replica, which the primary reaches by the proxy.
struct Pair {
    primary: Keystead,
    replica: Keystead,
    proxy: Proxy,
}

fn pair(more: impl Fn(KeysteadBuilder) -> KeysteadBuilder) -> Pair {
    let primary = Keystead::primary();
    let port = free_port();
    let proxy = Proxy::to(port);
    let config = format!("(replicaof: (\"127.0.0.1\", {}), announce_port: {})", primary.port(), proxy.port);
    let replica = more(Keystead::builder().port(port)).plugin("replication", &config).start();
    let pair = Pair { primary, replica, proxy };
    wait_until("the link", DEADLINE, || info(&pair.replica, "master_link_status") == "up");
    let mut client = pair.primary.client();
    (0..100).for_each(|n| drop(client.ok(&format!("SET key:{n} {n}"))));
    client.ok("SET last 1");
    assert_eq!(client.cmd("WAIT 1 20000"), 1);
    wait_until("it can take over", DEADLINE, || info(&pair.primary, "slave0").contains("state=online"));
    pair
}

impl Pair {
    /// The primary asks, and that came as far as the proxy.
    fn ask(&self) {
        self.primary.client().ok("FAILOVER");
        wait_until("the replica is asked", DEADLINE, || self.proxy.asked() > 0);
    }

    /// The replica takes over, and the primary isn't told.
    fn take_over_unheard(&self, way: Way) {
        self.proxy.set(way);
        self.ask();
        wait_until("it took over", DEADLINE, || role(&self.replica) == "master");
    }

    fn start_the_target_again(&mut self) {
        self.replica.process.terminate();
        self.replica.process.wait_exit(DEADLINE);
        self.replica.restart();
    }

    /// One follows the other, and both have the data.
    #[track_caller]
    fn one_primary(&mut self, promoted: bool) {
        let over = |node: &Keystead| info(node, "master_failover_state") == "no-failover";
        wait_until("the failover is over", DEADLINE, || over(&self.primary) && over(&self.replica));
        let roles = [role(&self.primary), role(&self.replica)];
        let logs = || format!("{}\n----\n{}", self.primary.process.log(), self.replica.process.log());
        assert_eq!(roles, if promoted { ["slave", "master"] } else { ["master", "slave"] }, "{}", logs());
        let (first, second) = if promoted { (&self.replica, &self.primary) } else { (&self.primary, &self.replica) };
        let linked = || info(second, "master_link_status") == "up";
        assert!(keystead_harness::eventually(DEADLINE, || linked().then_some(())).is_some(), "{}", logs());
        first.client().ok("SET behind 1");
        let has = |client: &mut keystead_harness::Client| client.cmd("EXISTS last behind") == Reply::Int(2);
        wait_until("both have it", DEADLINE, || has(&mut first.client()) && has(&mut second.client()));
        assert_eq!(second.client().cmd("DBSIZE"), 102);
    }
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut pair = pair(|node| node);
    pair.take_over_unheard(Way::LosesTheAnswer);
    pair.proxy.set(Way::Open);
    pair.one_primary(true);
}

/// By another name of its history it is the one that was asked still.
#[test]
fn a_target_that_took_over_unheard_and_was_started_again_is_followed() {
    let mut pair = pair(|node| node.plugin("persistence-rdb", "(save: [(3600, 1)])"));
    pair.take_over_unheard(Way::LosesTheAnswer);
    pair.start_the_target_again();
    assert_eq!(role(&pair.replica), "master");
    pair.proxy.set(Way::Open);
    pair.one_primary(true);
}

/// Without its data it isn't: the primary has everything, and goes on.
#[test]
fn a_target_that_took_over_and_lost_its_data_is_not_followed() {
    let mut pair = pair(|node| node);
    pair.take_over_unheard(Way::LosesTheAnswer);
    // Its role is on the disk.
    pair.start_the_target_again();
    assert_eq!(pair.replica.client().cmd("DBSIZE"), 0);
    pair.proxy.set(Way::Open);
    pair.primary.process.wait_for_log("is a primary without what this node has", DEADLINE);
    wait_until("it goes on", DEADLINE, || role(&pair.primary) == "master");
    let mut client = pair.primary.client();
    wait_until("it takes writes", DEADLINE, || client.cmd("SET more 1") == "OK");
    assert_eq!(client.cmd("DBSIZE"), 102);
}

/// The target is silent for good: the abort doesn't wait for ever, and what was asked isn't done later.
#[test]
fn an_abort_outlasts_a_target_that_went_silent() {
    let mut pair = pair(|node| node);
    pair.proxy.set(Way::HoldsTheQuestion);
    pair.ask();
    pair.primary.client().ok("FAILOVER ABORT");
    wait_until("they follow as before", DEADLINE, || info(&pair.replica, "master_link_status") == "up");
    let ids = || [info(&pair.primary, "master_replid"), info(&pair.replica, "master_replid")];
    wait_until("by the present name", DEADLINE, || ids()[0] == ids()[1]);
    let held = pair.proxy.asked();
    pair.proxy.set(Way::Open);
    wait_until("the question arrives", DEADLINE, || pair.proxy.passed.load(Ordering::SeqCst) == held);
    pair.replica.process.wait_for_log("Failover request received", DEADLINE);
    pair.one_primary(false);
}

/// It took over, and the network keeps its answer: it says so to whoever comes anew, and the abort comes too late.
#[test]
fn an_abort_hears_of_a_target_that_took_over_by_another_connection() {
    let mut pair = pair(|node| node);
    pair.take_over_unheard(Way::SwallowsAnAnswer);
    pair.proxy.set(Way::Open);
    let answer = pair.primary.client().cmd("FAILOVER ABORT");
    assert_eq!(answer, Reply::Error("ERR No failover in progress.".into()));
    pair.one_primary(true);
}
