//! The running sum is what a walk over all sessions would find, whatever they do.

use super::*;
use crate::limits::Buffers;
use crate::session::{ConnInfo, Session};
use crate::{Engine, EngineOptions, Now, OwnedArgs};

const LINES: [&str; 26] = [
    "SUBSCRIBE news sport",
    "SUBSCRIBE news {a}{b}{c}",
    "UNSUBSCRIBE news",
    "UNSUBSCRIBE",
    "PSUBSCRIBE n* s*",
    "PUNSUBSCRIBE",
    "SSUBSCRIBE shard",
    "PUBLISH news hello",
    "WATCH k l m",
    "UNWATCH",
    "MULTI",
    "SET k some-value-that-is-queued",
    "EXEC",
    "DISCARD",
    "CLIENT TRACKING ON BCAST PREFIX user: PREFIX item:",
    "CLIENT TRACKING OFF",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT OFF",
    "HELLO 3",
    "RESET",
    "GET k",
    "CLIENT LIST",
    "BLPOP wanted by-some-of-them 0.05",
    "RPUSH wanted one two",
    "CLIENT PAUSE 20 WRITE",
    "CLIENT UNPAUSE",
];

fn counts(state: &State) -> bool {
    state.kind == Kind::Normal && !state.no_evict && !state.close_now
}

fn fresh(engine: &Engine) -> u64 {
    let all = engine.core.sessions.iter().filter(|session| counts(&session.state));
    all.map(|session| session.state.memory(session.out.len()) as u64).sum()
}

/// What names and watched keys take, counted one by one.
fn names_are_counted(engine: &Engine) {
    for state in engine.core.sessions.iter().map(|session| &session.state) {
        let prefixes = state.tracking.as_ref().map(|mode| &mode.prefixes);
        for names in [&state.channels, &state.patterns, &state.shard_channels].into_iter().chain(prefixes) {
            assert_eq!(names.bytes(), names.iter().map(|name| name.len()).sum::<usize>());
        }
        let watched: usize = state.watched.iter().map(|watched| size_of_val(watched) + watched.key.len()).sum();
        assert_eq!(state.watched_bytes, watched);
    }
}

fn waiting(engine: &Engine) -> Vec<SessionId> {
    let all = engine.core.sessions.iter().map(|session| &session.state);
    all.filter(|state| state.parked.is_some()).map(|state| state.id).collect()
}

/// Who begins to wait, or ceases to, is counted at once, and not only when its output is taken.
fn waits_are_counted(engine: &Engine, waited: Vec<SessionId>) {
    for id in waited.into_iter().chain(waiting(engine)) {
        let Some(Session { state, out }) = engine.core.sessions.get(id) else { continue };
        assert_eq!(state.share, if counts(state) { state.memory(out.len()) as u64 } else { 0 });
    }
}

fn execute(engine: &mut Engine, id: SessionId, line: &str) {
    let args: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
    engine.execute(id, args.view());
}

#[test]
fn the_running_sum_is_what_a_walk_finds() {
    let mut engine = Engine::new(EngineOptions::default());
    let connect =
        |engine: &mut Engine| engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, Now::default());
    let mut clients: Vec<SessionId> = (0..6).map(|_| connect(&mut engine).expect("let in")).collect();
    execute(&mut engine, clients[0], "SUBSCRIBE before-anything-is-counted");
    execute(&mut engine, clients[1], "CONFIG SET maxmemory-clients 1gb");
    assert_eq!(engine.core.sessions.held, fresh(&engine), "a new limit counts who is there");
    let (mut out, mut waited) = (Vec::new(), 0);
    for step in 0..4000_u64 {
        engine.begin_turn(Now { unix_ms: step, mono_us: step * 1000 });
        let (dice, parked) = (engine.core.random(), waiting(&engine));
        let at = (dice % 6) as usize;
        let id = clients[at];
        match (dice >> 8) % 16 {
            0 => {
                engine.disconnect(id);
                clients[at] = connect(&mut engine).expect("let in");
            }
            1 => {
                let unread = (dice >> 16) as usize % 100_000;
                engine.report_buffers(id, Buffers { unread, unsent: unread / 2, spare: 7, ..Buffers::default() });
            }
            2 => engine.report_arrived(id, 20_000, 100, Default::default()),
            3 => engine.report_sent(id),
            4 => _ = engine.tick(),
            _ if engine.session(id).is_some_and(|state| state.parked.is_some()) => waited += 1,
            _ => execute(&mut engine, id, LINES[(dice >> 16) as usize % LINES.len()]),
        }
        names_are_counted(&engine);
        waits_are_counted(&engine, parked);
        if dice >> 63 == 0 {
            clients.iter().for_each(|id| _ = engine.swap_out(*id, &mut out));
        }
        engine.end_turn();
        // A reply is in the sum when the server has taken it, a turn's own before its end.
        clients.iter().for_each(|id| _ = engine.swap_out(*id, &mut out));
        assert_eq!(engine.core.sessions.held, fresh(&engine), "behind step {step}");
    }
    assert!(waited > 100, "{waited}");
    clients.into_iter().for_each(|id| engine.disconnect(id));
    assert_eq!(engine.core.sessions.held, 0);
}
