//! Commands called as a script calls them, with a plugin made of a closure: `RUN [ro] command …`.

mod kit;

use std::sync::Arc;

use keystead_engine::foreign::{AsyncCall, ForeignAsync, ForeignBody, ForeignCommand, ForeignTakeover};
use keystead_engine::journal::{CursorClass, CursorId, Read};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::resp::Proto;
use keystead_engine::script::{self, ScriptCall};
use keystead_engine::spec::{Flags, Group, KeySpec};
use keystead_engine::{Args, CommandError, CommandResult, Ctx, Effect, Gate, Targets};
use kit::Kit;

/// The stream as words, `|` behind each command.
fn stream(kit: &mut Kit, cursor: CursorId) -> String {
    let mut wire = Vec::new();
    while let Read::Data(pieces) = kit.engine.core.journal.read(cursor, 1 << 20) {
        pieces.iter().for_each(|piece| wire.extend_from_slice(piece));
    }
    let text = String::from_utf8(wire).expect("ascii");
    let lines = text.split("\r\n").filter(|line| !line.starts_with('$') && !line.is_empty());
    let joined: Vec<&str> = lines.collect();
    joined.join(" ").split('*').skip(1).map(|command| format!("{}|", command[1..].trim())).collect()
}

/// Calls the words between commas as commands of one script; the last reply is the script's.
struct Run;

impl ForeignCommand for Run {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let mut how = ScriptCall {
            db: ctx.db(),
            proto: Proto::Resp2,
            read_only: args.at(1) == b"ro",
            allow_oom: false,
            wrote: false,
            targets: if args.at(1) == b"nobody" { Targets(0) } else { Targets::ALL },
        };
        let words: Vec<&[u8]> = args.iter().skip(2).collect();
        let mut last = Vec::new();
        for command in words.split(|word| *word == b",") {
            last.clear();
            let command: keystead_engine::OwnedArgs = command.iter().collect();
            script::call(ctx, &mut how, command.view(), &mut last)?;
        }
        ctx.reply.raw(&last);
        Ok(Effect::None)
    }
}

/// A command that leaves its turn and has no answer of the moment, and one that takes the connection.
struct Elsewhere;

impl ForeignAsync for Elsewhere {
    fn try_now(&self, _: &mut Ctx<'_>, _: Args<'_>) -> Option<CommandResult> {
        None
    }
    fn start(&self, _: AsyncCall) {}
    fn cancel(&self, _: u64) {}
}

impl ForeignTakeover for Elsewhere {
    fn check(&self, _: &mut Ctx<'_>, _: Args<'_>) -> Result<(), CommandError> {
        Ok(())
    }
}

fn kit() -> Kit {
    let mut kit = Kit::default();
    let (call, take) = (ForeignBody::Async(Arc::new(Elsewhere)), ForeignBody::Takeover(Arc::new(Elsewhere)));
    for (name, body) in [("run", ForeignBody::Sync(Arc::new(Run))), ("slow", call), ("take", take)] {
        kit.engine.register_command("test", spec(name), body, false).expect("a new name");
    }
    kit
}

fn spec(name: &str) -> OwnedSpec {
    OwnedSpec {
        name: name.to_owned(),
        arity: -1,
        flags: Flags(0),
        keys: KeySpec::None,
        group: Group::Scripting,
        since: "1.0.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: Vec::new(),
    }
}

#[test]
fn effects_are_one_unit() {
    let mut kit = kit();
    let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("a cursor");
    let id = kit.connect();
    assert_eq!(kit.cmd(id, "run rw set a 1 , select 3 , incr b , get b"), "$1\r\n1\r\n");
    assert_eq!(kit.cmd(id, "get a"), "$1\r\n1\r\n", "SELECT in a script doesn't move the session");
    assert_eq!(stream(&mut kit, cursor), "MULTI|SELECT 0|set a 1|SELECT 3|incr b|EXEC|");
}

#[test]
fn what_a_script_may_not() {
    let mut kit = kit();
    let id = kit.connect();
    assert_eq!(kit.cmd(id, "run rw nonsense"), "-ERR Unknown Redis command called from script\r\n");
    assert_eq!(kit.cmd(id, "run rw get"), "-ERR Wrong number of args calling Redis command from script\r\n");
    assert_eq!(kit.cmd(id, "run rw multi"), "-ERR This Redis command is not allowed from script\r\n");
    for line in ["run rw slow", "run rw take"] {
        assert_eq!(kit.cmd(id, line), "-ERR This Redis command is not allowed from script\r\n", "{line}");
    }
    assert!(
        kit.send(id, "MULTI\r\nslow\r\nEXEC\r\n").ends_with("-ERR this command can't answer inside a transaction\r\n")
    );
    assert_eq!(kit.cmd(id, "run ro incr a"), "-ERR Write commands are not allowed from read-only scripts.\r\n");
    assert_eq!(kit.cmd(id, "run rw lpush a x , incr a").split(' ').next(), Some("-WRONGTYPE"));
    let gates = kit.engine.gates();
    gates.set(Gate::FewReplicas, true);
    assert_eq!(kit.cmd(id, "run rw incr b"), "-NOREPLICAS Not enough good replicas to write.\r\n");
    gates.set(Gate::FewReplicas, false);
    gates.refuse_writes("Errors writing to the AOF file: full");
    assert_eq!(kit.cmd(id, "run rw incr b"), "-MISCONF Errors writing to the AOF file: full\r\n");
    assert_eq!(kit.cmd(id, "run rw get b"), "$-1\r\n");
    gates.refuse_writes("");
    gates.set(Gate::Stale, true);
    assert_eq!(kit.cmd(id, "run rw get b").split(' ').next(), Some("-MASTERDOWN"));
}

#[test]
fn nobody_gets_effects_for_nobody() {
    let mut kit = kit();
    let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("a cursor");
    let id = kit.connect();
    assert_eq!(kit.cmd(id, "run nobody set a 1"), "+OK\r\n");
    assert_eq!(stream(&mut kit, cursor), "");
    assert_eq!(kit.cmd(id, "get a"), "$1\r\n1\r\n");
}

/// As Redis, which shows the command as it was typed and looks no further.
#[test]
fn nothing_is_waited_for_in_streams() {
    let mut kit = kit();
    let c = kit.connect();
    for (line, name) in [
        ("RUN rw XrEAD BLOCK x STREAMS k 0", "XrEAD"),
        ("RUN rw xREADGroup GROUP g c BLOCK 0 STREAMS k 0", "xREADGroup"),
    ] {
        let expected = format!("-ERR {name} command is not allowed with BLOCK option from scripts\r\n");
        assert_eq!(kit.cmd(c, line), expected);
    }
}
