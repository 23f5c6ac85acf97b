//! Sessions that come, wait, are woken, killed, paused and go, in random order: nobody may be forgotten in any list.

mod kit;

use keystead_engine::SessionId;
use keystead_engine::session::Parked;
use kit::Kit;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Disconnect(usize),
    Command(usize, usize),
    Unblock(usize, usize),
    Kill(usize, usize),
    Advance(u64),
}

const LINES: &[&str] = &[
    "BLPOP a b 0",
    "BLPOP b 1",
    "BLMOVE a b LEFT RIGHT 0",
    "BZPOPMIN z 0.5",
    "RPUSH a 1 2",
    "RPUSH b 1",
    "ZADD z 1 m",
    "SET a x",
    "DEL a b z",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH a b",
    "UNWATCH",
    "SUBSCRIBE c d",
    "UNSUBSCRIBE c",
    "PSUBSCRIBE *",
    "PUBLISH c m",
    "SSUBSCRIBE s",
    "MONITOR",
    "RESET",
    "HELLO 3",
    "SWAPDB 0 1",
    "SELECT 1",
    "SELECT 0",
    "FLUSHALL",
    "CLIENT PAUSE 50 WRITE",
    "CLIENT PAUSE 20 ALL",
    "CLIENT UNPAUSE",
    "CLIENT REPLY OFF",
    "CLIENT REPLY ON",
    "QUIT",
    "PEXPIRE a 10",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Connect),
        1 => any::<usize>().prop_map(Step::Disconnect),
        20 => (any::<usize>(), 0..LINES.len()).prop_map(|(who, line)| Step::Command(who, line)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(who, whom)| Step::Unblock(who, whom)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(who, whom)| Step::Kill(who, whom)),
        2 => (1..200u64).prop_map(Step::Advance),
    ]
}

fn check(kit: &Kit, live: &[SessionId]) {
    let core = &kit.engine.core;
    assert_eq!(core.sessions.len(), live.len());
    let states: Vec<_> = core.sessions.iter().map(|session| &session.state).collect();
    assert_eq!(states.len(), live.len(), "nobody is left taken out of the table");
    let waiting = states.iter().filter(|state| matches!(state.parked, Some(Parked::Keys(_)))).count();
    assert_eq!(core.blocking.waiting(), waiting);
    if waiting == 0 {
        assert_eq!(core.blocking.keys(), 0);
        assert_eq!(core.blocking.next_deadline(), None);
    }
    assert!(!core.blocking.has_ready());
    if states.iter().all(|state| state.watched.is_empty()) {
        assert!(core.watch.is_empty());
    }
    if states.iter().all(|state| !state.subscribed()) {
        assert!(core.pubsub.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn nobody_is_forgotten(steps in prop::collection::vec(step(), 1..200)) {
        let mut kit = Kit::default();
        let mut live: Vec<SessionId> = Vec::new();
        for step in steps {
            let pick = |at: usize, live: &[SessionId]| (!live.is_empty()).then(|| live[at % live.len()]);
            match step {
                Step::Connect if live.len() < 6 => live.push(kit.connect()),
                Step::Connect => {}
                Step::Disconnect(at) => {
                    if let Some(id) = pick(at, &live) {
                        kit.gone(id);
                        live.retain(|other| *other != id);
                    }
                }
                Step::Command(at, line) => {
                    if let Some(id) = pick(at, &live) {
                        kit.push(id, format!("{}\r\n", LINES[line]).as_bytes());
                    }
                }
                Step::Unblock(who, whom) => {
                    if let (Some(who), Some(whom)) = (pick(who, &live), pick(whom, &live)) {
                        kit.push(who, format!("CLIENT UNBLOCK {}\r\n", whom.id).as_bytes());
                    }
                }
                Step::Kill(who, whom) => {
                    if let (Some(who), Some(whom)) = (pick(who, &live), pick(whom, &live)) {
                        kit.push(who, format!("CLIENT KILL ID {} SKIPME no\r\n", whom.id).as_bytes());
                    }
                }
                Step::Advance(ms) => kit.advance(ms),
            }
            // The server closes whom it was told to close.
            for id in std::mem::take(&mut kit.closed) {
                kit.gone(id);
                live.retain(|other| *other != id);
            }
            check(&kit, &live);
        }
    }
}
