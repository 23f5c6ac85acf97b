//! What leaves its turn: KEYS and SORT over many keys answer what was there when they were sent, whatever happens meanwhile.

mod kit;

use keystead_engine::offload::{Exchange, Exchanged, IoFailure, Turns};
use keystead_engine::{Action, Engine, SessionId};
use kit::Kit;
use std::cell::RefCell;

struct InKit<'a>(RefCell<&'a mut Kit>);

impl Turns for InKit<'_> {
    fn turn(&self, body: &mut dyn FnMut(&mut Engine)) {
        self.0.borrow_mut().turn(body);
    }

    /// There are no other servers here.
    fn exchange(&self, _: &Exchange) -> Exchanged {
        Exchanged { failure: Some(IoFailure::Connecting), ..Exchanged::default() }
    }

    fn rest(&self) {}
}

/// Carries out the job that waits, as the server would.
fn work(kit: &mut Kit) {
    let Some(Action::Offload { session, ticket, job }) = kit.actions.pop() else { panic!("nothing was left to do") };
    let reply = job(&InKit(RefCell::new(kit)));
    kit.turn(|engine| engine.complete(session, ticket, reply));
}

fn filled() -> (Kit, SessionId) {
    let mut kit = Kit::default();
    let c = kit.connect();
    let pairs: String = (0..20_000).map(|n| format!("SET key:{n} {n}\r\n")).collect();
    kit.send(c, pairs);
    (kit, c)
}

#[test]
fn a_migration_that_fails_lets_writes_go_on_and_keeps_the_key() {
    let mut kit = Kit::default();
    let (c, d) = (kit.connect(), kit.connect());
    kit.cmd(c, "SET k v");
    assert_eq!(kit.cmd(c, "MIGRATE nowhere 1 nokey 0 10"), "+NOKEY\r\n");
    assert_eq!(kit.cmd(c, "MIGRATE nowhere 1 k 0 10"), "");
    assert_eq!(kit.cmd(d, "SET k w"), "", "writes wait");
    assert_eq!(kit.cmd(c, ""), "");
    work(&mut kit);
    assert_eq!(kit.read(c), "-IOERR error or timeout connecting to the client\r\n");
    kit.advance(1);
    assert_eq!(kit.read(d), "+OK\r\n");
    assert_eq!(kit.cmd(c, "GET k"), "$1\r\nw\r\n");
}

#[test]
fn keys_answers_what_was_there_and_what_waits_behind_it_runs_afterwards() {
    let (mut kit, c) = filled();
    let d = kit.connect();
    kit.cmd(c, "PEXPIREAT key:3 1");
    assert_eq!(kit.send(c, "KEYS *7\r\nPING\r\n"), "");
    assert_eq!(kit.cmd(d, "SET new:7 x"), "+OK\r\n");
    assert_eq!(kit.cmd(d, "DEL key:7 key:17"), ":2\r\n");
    work(&mut kit);
    let reply = kit.read(c);
    assert!(reply.starts_with("*2000\r\n") && reply.ends_with("+PONG\r\n"), "{}", &reply[..20]);
    assert!(reply.contains("\r\nkey:17\r\n") && !reply.contains("new:7"));
    // No cut stays open.
    let mut cuts = || kit.turn(|engine| engine.ks.begin_cut().is_ok());
    assert!(cuts() && cuts() && !cuts());
}

#[test]
fn keys_ends_its_cut_when_the_client_goes() {
    let (mut kit, c) = filled();
    kit.cmd(c, "KEYS *");
    kit.gone(c);
    work(&mut kit);
    let mut cuts = || kit.turn(|engine| engine.ks.begin_cut().is_ok());
    assert!(cuts() && cuts() && !cuts());
}

#[test]
fn inside_multi_keys_and_sort_run_in_the_turn() {
    let (mut kit, c) = filled();
    let reply = kit.send(c, "MULTI\r\nKEYS key:*\r\nEXEC\r\n");
    assert!(reply.starts_with("+OK\r\n+QUEUED\r\n*1\r\n*20000\r\n"));
    assert!(kit.actions.is_empty());
}

#[test]
fn sort_works_on_the_list_as_it_was() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let words: String = (0..6000).map(|n| format!(" {}", (n * 7) % 6000)).collect();
    kit.cmd(c, &format!("RPUSH list{words}"));
    assert_eq!(kit.cmd(c, "SORT list DESC LIMIT 0 2"), "");
    let d = kit.connect();
    kit.cmd(d, "DEL list");
    work(&mut kit);
    assert_eq!(kit.read(c), "*2\r\n$4\r\n5999\r\n$4\r\n5998\r\n");
    kit.cmd(c, &format!("RPUSH list x{words}"));
    kit.cmd(c, "SORT list");
    work(&mut kit);
    assert_eq!(kit.read(c), "-ERR One or more scores can't be converted into double\r\n");
    // What changes a key, or looks at others, stays in the turn.
    assert_eq!(kit.cmd(c, "SORT list ALPHA STORE sorted"), ":6001\r\n");
    assert!(kit.cmd(c, "SORT list BY w_* LIMIT 0 1").starts_with("*1\r\n"));
}
