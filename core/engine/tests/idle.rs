//! `timeout`: who is idle. As in Redis whatever came from a client or went to it counts, not its commands alone.

mod kit;

use keystead_engine::SessionId;
use keystead_engine::limits::Buffers;
use kit::Kit;

/// Seconds.
const TIMEOUT: u64 = 10;
const POPPED: &str = "*2\r\n$1\r\nq\r\n$1\r\n1\r\n";

fn kit() -> Kit {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, &format!("CONFIG SET timeout {TIMEOUT}"));
    kit.cmd(c, "SUBSCRIBE nothing");
    kit
}

/// Somebody who never waits for long.
fn other(kit: &mut Kit, line: &str) {
    let id = kit.connect();
    kit.cmd(id, line);
    kit.gone(id);
}

fn is_closed(kit: &Kit, id: SessionId) -> bool {
    kit.closed.contains(&id)
}

/// A way in which a wait ends.
type End = fn(&mut Kit, SessionId);

#[test]
fn who_waited_for_long_has_the_whole_time_again() {
    let ends: [(&str, End); 4] = [
        ("served", |kit, _| other(kit, "RPUSH q 1")),
        ("timeout", |kit, _| kit.advance(41_000)),
        ("unblocked", |kit, id| other(kit, &format!("CLIENT UNBLOCK {}", id.id))),
        ("refused", |kit, _| {
            other(kit, "ACL SETUSER default -blpop");
            other(kit, "RPUSH q 1");
            other(kit, "ACL SETUSER default +blpop");
        }),
    ];
    for (how, end) in ends {
        let mut kit = kit();
        let id = kit.connect();
        assert_eq!(kit.cmd(id, "BLPOP q 100"), "");
        kit.advance(60_000);
        assert!(!is_closed(&kit, id), "{how}: it waits");
        end(&mut kit, id);
        // The heartbeat comes before the server has taken what the client is told.
        kit.advance(100);
        assert!(!is_closed(&kit, id), "{how}: it had no time to ask for more");
        assert_ne!(kit.read(id), "", "{how}");
        kit.advance(TIMEOUT * 1000);
        assert!(!is_closed(&kit, id), "{how}");
        kit.advance(1000);
        assert!(is_closed(&kit, id), "{how}: now it is idle");
    }
}

#[test]
fn what_was_popped_for_a_client_reaches_it() {
    let mut kit = kit();
    let id = kit.connect();
    kit.cmd(id, "BLPOP q 0");
    kit.advance(3_600_000);
    other(&mut kit, "RPUSH q 1");
    kit.advance(100);
    assert_eq!(kit.read(id), POPPED);
}

#[test]
fn who_sends_or_reads_slowly_is_not_idle() {
    let mut kit = kit();
    let [sends, reads, stands_still] = std::array::from_fn(|_| kit.connect());
    let report = |kit: &mut Kit, id, unread, unsent| {
        kit.turn(|engine| engine.report_buffers(id, Buffers { unread, unsent, ..Buffers::default() }));
    };
    report(&mut kit, reads, 0, 1_000_000);
    report(&mut kit, stands_still, 500, 1_000_000);
    for step in 1..10 {
        report(&mut kit, sends, step * 100_000, 0);
        kit.turn(|engine| engine.core.report_moved(reads));
        report(&mut kit, stands_still, 500, 1_000_000);
        kit.advance(TIMEOUT * 900);
    }
    kit.closed.dedup();
    assert_eq!(kit.closed, [stands_still]);
}

/// Who caches is told of changes, and needs no command of its own to be alive.
#[test]
fn who_was_told_something_is_not_idle() {
    let mut kit = kit();
    let id = kit.connect();
    kit.cmd(id, "HELLO 3");
    kit.cmd(id, "CLIENT TRACKING ON BCAST");
    for n in 0..5 {
        kit.advance(TIMEOUT * 900);
        other(&mut kit, &format!("SET k {n}"));
        assert!(kit.read(id).contains("invalidate"), "{n}");
    }
    assert!(!is_closed(&kit, id));
}
