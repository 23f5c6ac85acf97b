//! What leaves its turn: KEYS and SORT over many keys answer what was there when they were sent, whatever happens meanwhile.

mod kit;

use keystead_engine::journal::CursorClass;
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

/// How many KEYS more would have a cut.
fn free_cuts(kit: &mut Kit) -> usize {
    let open: Vec<_> = (0..9).map_while(|_| kit.turn(|engine| engine.ks.begin_reader_cut().ok())).collect();
    open.iter().for_each(|cut| kit.turn(|engine| engine.ks.end_cut(*cut)));
    open.len()
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
    assert_eq!(free_cuts(&mut kit), 2);
}

#[test]
fn keys_ends_its_cut_when_the_client_goes() {
    let (mut kit, c) = filled();
    kit.cmd(c, "KEYS *");
    kit.gone(c);
    work(&mut kit);
    assert_eq!(free_cuts(&mut kit), 2);
}

#[test]
fn keys_wait_for_each_other_and_leave_replicas_and_files_their_snapshots() {
    let (mut kit, a) = filled();
    let (b, c, d) = (kit.connect(), kit.connect(), kit.connect());
    assert_eq!([kit.cmd(a, "KEYS *"), kit.cmd(b, "KEYS *"), kit.send(c, "KEYS new:*\r\nPING\r\n")], ["", "", ""]);
    assert_eq!(kit.actions.len(), 2, "the third waits");
    let mut snapshot = |class| kit.turn(|engine| engine.begin_snapshot(Some(class)).is_ok());
    assert!(snapshot(CursorClass::Replica) && snapshot(CursorClass::Replica) && snapshot(CursorClass::Persistence));
    kit.cmd(d, "SET new:1 x");
    work(&mut kit);
    let early = kit.read(b);
    assert!(early.starts_with("*20000\r\n") && !early.contains("new:1"), "what was there when it was sent");
    assert_eq!(kit.actions.len(), 2, "the third has the place of one that is through");
    kit.cmd(d, "SET new:2 x");
    work(&mut kit);
    assert_eq!(kit.read(c), "*1\r\n$5\r\nnew:1\r\n+PONG\r\n", "what was there when it began");
    work(&mut kit);
    assert!(kit.read(a).starts_with("*20000\r\n"));
    assert_eq!((kit.actions.len(), free_cuts(&mut kit)), (0, 2));
}

#[test]
fn whoever_waits_for_keys_may_go_be_killed_lose_its_rights_or_find_nothing_any_more() {
    let (mut kit, a) = filled();
    let [b, gone, killed, denied, last, d] = std::array::from_fn(|_| kit.connect());
    kit.cmd(d, "ACL SETUSER u on nopass ~* +@all");
    kit.cmd(denied, "AUTH u x");
    for id in [a, b, gone, killed, denied, last] {
        assert!(kit.cmd(id, "KEYS *").is_empty(), "it waits");
    }
    assert_eq!(kit.actions.len(), 2);
    kit.gone(gone);
    assert_eq!(kit.cmd(d, &format!("CLIENT KILL ID {}", killed.id)), ":1\r\n");
    assert_eq!(kit.cmd(d, "ACL SETUSER u -keys"), "+OK\r\n");
    assert_eq!(kit.cmd(d, &format!("CLIENT UNBLOCK {}", last.id)), ":0\r\n", "it isn't one that blocks");
    assert_eq!(kit.cmd(d, "FLUSHALL"), "+OK\r\n");
    work(&mut kit);
    assert!(kit.read(denied).starts_with("-NOPERM User u has no permissions to run the 'keys' command"));
    assert_eq!(kit.actions.len(), 2);
    work(&mut kit);
    assert_eq!(kit.read(last), "*0\r\n");
    work(&mut kit);
    assert!([a, b].into_iter().all(|id| kit.read(id).starts_with("*20000\r\n")), "those began before");
    assert_eq!((kit.actions.len(), free_cuts(&mut kit)), (0, 2));
}

/// A job that panics gives its cut back all the same.
#[test]
fn a_reader_that_breaks_off_makes_room_for_the_next() {
    struct Breaks<'a, 'k>(&'a InKit<'k>, RefCell<u32>);

    impl Turns for Breaks<'_, '_> {
        fn turn(&self, body: &mut dyn FnMut(&mut Engine)) {
            *self.1.borrow_mut() += 1;
            assert!(*self.1.borrow() != 3, "in the middle of the walk");
            self.0.turn(body);
        }

        fn exchange(&self, exchange: &Exchange) -> Exchanged {
            self.0.exchange(exchange)
        }

        fn rest(&self) {}
    }

    let (mut kit, a) = filled();
    let (b, c) = (kit.connect(), kit.connect());
    for id in [a, b, c] {
        kit.cmd(id, "KEYS *");
    }
    let Some(Action::Offload { job, .. }) = kit.actions.pop() else { panic!("b's") };
    let inside = InKit(RefCell::new(&mut kit));
    let turns = Breaks(&inside, RefCell::default());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&turns))).is_err());
    assert_eq!(kit.actions.len(), 2);
    work(&mut kit);
    assert!(kit.read(c).starts_with("*20000\r\n"));
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
