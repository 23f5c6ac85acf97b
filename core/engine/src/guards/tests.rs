//! The golden table: state × command → verdict. A changed line here is a changed promise to clients.

use std::sync::Arc;

use super::*;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::{Engine, EngineOptions};
use crate::exec;
use crate::foreign::ForeignCommand;
use crate::pause::Pauser;
use crate::registry::OwnedSpec;
use crate::session::{Multi, Queued};
use crate::spec::{Group, KeySpec};

struct Script;

impl ForeignCommand for Script {
    fn call(&self, _: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
        Ok(Effect::None)
    }
}

/// An engine with EVAL, as it is where the script doesn't say what it does.
fn engine() -> Engine {
    let mut engine = Engine::new(EngineOptions::default());
    let eval = OwnedSpec {
        name: "EVAL".to_owned(),
        arity: -3,
        flags: Flags(STALE | MAY_REPLICATE | READONLY),
        keys: KeySpec::None,
        group: Group::Scripting,
        since: "2.6.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: Vec::new(),
    };
    engine.register_command("scripts", eval, ForeignBody::Sync(Arc::new(Script)), false).expect("free");
    engine
}

fn verdict(prepare: &dyn Fn(&mut Engine, &mut State), line: &str) -> String {
    let mut engine = engine();
    let mut state = State::nobody(0);
    prepare(&mut engine, &mut state);
    let args: keystead_resp::OwnedArgs = line.split(' ').collect();
    let command = exec::find(&engine.core, args.view()).expect("known");
    match check(&engine.core, &state, command, args.view()) {
        Verdict::Deny(_) => "NOPERM".to_owned(),
        Verdict::Refuse(error) => error.code().to_owned(),
        Verdict::Queue(_) => "Queue".to_owned(),
        other => format!("{other:?}"),
    }
}

fn in_multi(queued: &'static str) -> impl Fn(&mut Engine, &mut State) {
    move |engine, state| {
        let args: keystead_resp::OwnedArgs = queued.split(' ').collect();
        let command = exec::find(&engine.core, args.view()).expect("known");
        state.multi = Some(Multi { queue: vec![Queued { command, args, flags: command.flags }], ..Multi::default() });
    }
}

/// This was a primary, whose role a plugin hands over.
fn handed_over(engine: &mut Engine) {
    engine.core.pause_for(Pauser::Plugin("replication"), Pause::Write, u64::MAX);
    engine.core.gates.set(Gate::ReadOnly, true);
    engine.core.gates.set(Gate::Replica, true);
}

#[test]
fn states_and_commands() {
    const COMMANDS: [&str; 15] = [
        "GET k",
        "SET k v",
        "EVAL text 0",
        "PFCOUNT k",
        "PING",
        "PUBLISH a b",
        "AUTH x",
        "INFO",
        "CONFIG GET x",
        "SUBSCRIBE a",
        "EXEC",
        "MULTI",
        "SHUTDOWN",
        "WATCH k",
        "DEBUG SLEEP 0",
    ];
    let gate = |gate: Gate| move |engine: &mut Engine, _: &mut State| engine.core.gates.set(gate, true);
    let pause = |kind: Pause| {
        move |engine: &mut Engine, _: &mut State| {
            (engine.core.pause, engine.core.pause_until_ms) = (kind, u64::MAX);
        }
    };
    type Prepare = Box<dyn Fn(&mut Engine, &mut State)>;
    let states: Vec<(&str, Prepare)> = vec![
        ("open", Box::new(|_, _| ())),
        ("not authenticated", Box::new(|_, state| state.authenticated = false)),
        ("read-only", Box::new(gate(Gate::ReadOnly))),
        ("stale", Box::new(gate(Gate::Stale))),
        ("loading", Box::new(gate(Gate::Loading))),
        ("few replicas", Box::new(gate(Gate::FewReplicas))),
        ("disk error", Box::new(gate(Gate::DiskError))),
        ("async loading", Box::new(gate(Gate::AsyncLoading))),
        ("write error", Box::new(|engine, _| engine.core.gates.refuse_writes("Errors writing to the AOF file: full"))),
        ("out of memory", Box::new(|engine, _| engine.core.room.out = true)),
        (
            "out of memory, multi set",
            Box::new(|engine, state| {
                in_multi("SET k v")(engine, state);
                engine.core.room.out = true;
            }),
        ),
        ("pause write", Box::new(pause(Pause::Write))),
        ("pause all", Box::new(pause(Pause::All))),
        ("pause of a plugin, read-only", Box::new(|engine, _| handed_over(engine))),
        (
            "pause of a plugin, read-only, stale",
            Box::new(|engine, _| {
                handed_over(engine);
                engine.core.gates.set(Gate::Stale, true);
            }),
        ),
        (
            "multi script, then pause of a plugin, read-only",
            Box::new(|engine, state| {
                in_multi("EVAL text 0")(engine, state);
                handed_over(engine);
            }),
        ),
        (
            "multi publish, then pause of a plugin, read-only",
            Box::new(|engine, state| {
                in_multi("PUBLISH a b")(engine, state);
                handed_over(engine);
            }),
        ),
        ("subscriber", Box::new(|_, state| _ = state.channels.insert(b"a"))),
        ("multi set", Box::new(in_multi("SET k v"))),
        ("a replica's link", Box::new(|_, state| state.kind = Kind::Replica)),
        (
            "multi set, then read-only",
            Box::new(|engine, state| {
                in_multi("SET k v")(engine, state);
                engine.core.gates.set(Gate::ReadOnly, true);
            }),
        ),
        (
            "multi get, then stale",
            Box::new(|engine, state| {
                in_multi("GET k")(engine, state);
                engine.core.gates.set(Gate::Stale, true);
            }),
        ),
        (
            "not authenticated, read-only, loading",
            Box::new(|engine, state| {
                state.authenticated = false;
                engine.core.gates.set(Gate::ReadOnly, true);
                engine.core.gates.set(Gate::Loading, true);
            }),
        ),
    ];
    let mut table = String::new();
    for (name, prepare) in &states {
        table.push_str(&format!("{name}\n"));
        for line in COMMANDS {
            table.push_str(&format!("    {line}: {}\n", verdict(prepare.as_ref(), line)));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guards/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &table).expect("writable");
    }
    assert_eq!(table, include_str!("golden.txt"), "UPDATE=1 rewrites it; read the difference");
}

#[test]
fn a_failed_save_stops_writes_only_if_that_is_wanted() {
    let with = |value: &'static str| {
        verdict(
            &move |engine, _| {
                engine.core.config.init("stop-writes-on-bgsave-error", value).expect("yes or no");
                engine.core.gates.set(Gate::DiskError, true);
            },
            "SET k v",
        )
    };
    assert_eq!(with("yes"), "MISCONF");
    assert_eq!(with("no"), "Run");
}

#[test]
fn reads_are_refused_only_while_their_replies_would_wait() {
    let with = |held: bool, replica: bool| {
        move |engine: &mut Engine, _: &mut State| {
            engine.core.gates.refuse_writes("Errors writing to the AOF file: full");
            engine.core.gates.set(Gate::Replica, replica);
            engine.core.barriers.confirm("file", held.then_some(0));
        }
    };
    for (held, replica, line, expected) in [
        (true, false, "GET k", "MISCONF"),
        (true, false, "DBSIZE", "MISCONF"),
        (true, false, "INFO", "Run"),
        (true, false, "CONFIG SET appendfsync everysec", "Run"),
        (false, false, "GET k", "Run"),
        (true, true, "GET k", "Run"),
    ] {
        assert_eq!(verdict(&with(held, replica), line), expected, "{held} {replica} {line}");
    }
}

#[test]
fn debug_is_for_local_connections() {
    let with = |value: &'static str, loopback: bool| {
        verdict(
            &move |engine, state| {
                engine.core.config.init("enable-debug-command", value).expect("a word");
                state.info.loopback = loopback;
            },
            "DEBUG SLEEP 0",
        )
    };
    assert_eq!(with("local", true), "Run");
    assert_eq!(with("local", false), "ERR");
    assert_eq!(with("yes", false), "Run");
    assert_eq!(with("no", true), "ERR");
}

#[test]
fn replicas_are_too_few_once_they_were_silent_for_too_long() {
    let with = |end: Option<u64>| {
        move |engine: &mut Engine, _: &mut State| {
            engine.core.now.mono_us = 1_000;
            engine.core.gates.enough_replicas_until(end);
        }
    };
    for (end, line, expected) in [
        (None, "SET k v", "Run"),
        (Some(1_001), "SET k v", "Run"),
        (Some(1_000), "SET k v", "NOREPLICAS"),
        (Some(0), "SET k v", "NOREPLICAS"),
        (Some(0), "GET k", "Run"),
    ] {
        assert_eq!(verdict(&with(end), line), expected, "{end:?} {line}");
    }
}

#[test]
fn a_lease_ends_by_itself() {
    let with = |end: Option<u64>| {
        move |engine: &mut Engine, _: &mut State| {
            engine.core.now.mono_us = 1_000;
            engine.core.gates.write_until(end);
        }
    };
    for (end, line, expected) in [
        (None, "SET k v", "Run"),
        (Some(1_001), "SET k v", "Run"),
        (Some(1_000), "SET k v", "READONLY"),
        (Some(0), "SET k v", "READONLY"),
        (Some(0), "GET k", "Run"),
        (Some(0), "PING", "Run"),
    ] {
        assert_eq!(verdict(&with(end), line), expected, "{end:?} {line}");
    }
}
