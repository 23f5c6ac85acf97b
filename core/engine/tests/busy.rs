//! What others may see and do inside a long command, with a script made of a closure: `LONG words, …` calls the words
//! between commas as a script does, and at the word BUSY another client's line runs.

mod kit;

use std::sync::{Arc, Mutex};

use keystead_engine::foreign::{ForeignBody, ForeignCommand};
use keystead_engine::journal::CursorClass;
use keystead_engine::registry::OwnedSpec;
use keystead_engine::resp::Proto;
use keystead_engine::script::{self, ScriptCall};
use keystead_engine::spec::{Flags, Group, KeySpec};
use keystead_engine::{Args, BusyTurn, CommandResult, Ctx, Effect, Origin, OwnedArgs, SessionId, Targets};
use kit::Kit;

/// Whose line runs at BUSY, and what it is.
type Other = Arc<Mutex<Option<(SessionId, &'static str)>>>;

struct Long(Other);

impl ForeignCommand for Long {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let (db, targets) = (ctx.db(), Targets::ALL);
        let mut how = ScriptCall { db, proto: Proto::Resp2, read_only: false, allow_oom: false, wrote: false, targets };
        let words: Vec<&[u8]> = args.iter().skip(1).collect();
        for command in words.split(|word| *word == b",") {
            if command == [b"BUSY"] {
                let mut turn = BusyTurn::begin(ctx.ks, ctx.core, "BUSY wait");
                if let Some((id, line)) = *self.0.lock().expect("no test panicked") {
                    let line: OwnedArgs = line.split(' ').collect();
                    turn.execute(id, line.view());
                }
                turn.end();
                continue;
            }
            let command: OwnedArgs = command.iter().collect();
            script::call(ctx, &mut how, command.view(), &mut Vec::new())?;
        }
        ctx.reply.ok();
        Ok(Effect::None)
    }
}

fn kit() -> (Kit, Other) {
    let (mut kit, other) = (Kit::default(), Other::default());
    let spec = OwnedSpec {
        name: "long".to_owned(),
        arity: -2,
        flags: Flags(0),
        keys: KeySpec::None,
        group: Group::Scripting,
        since: "1.0.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: Vec::new(),
    };
    let body = ForeignBody::Sync(Arc::new(Long(other.clone())));
    kit.engine.register_command("test", spec, body, false).expect("a new name");
    (kit, other)
}

#[test]
fn what_a_long_command_tells_its_own_client_is_for_no_other() {
    let (mut kit, other) = kit();
    let (a, b) = (kit.connect(), kit.connect());
    *other.lock().expect("no test panicked") = Some((b, "HELLO 2"));
    kit.cmd(a, "HELLO 3");
    kit.cmd(a, "SUBSCRIBE ch");
    let told = kit.cmd(a, "LONG PUBLISH ch secret , BUSY , PUBLISH ch again");
    let message = |text: &str| format!(">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n${}\r\n{text}\r\n", text.len());
    let seen = kit.read(b);
    assert!(seen.contains("proto") && !seen.contains("secret"), "{seen}");
    assert_eq!(told, format!("+OK\r\n{}{}", message("secret"), message("again")));
    // What it cached.
    kit.cmd(a, "CLIENT TRACKING ON");
    kit.cmd(a, "SET k 1");
    kit.cmd(a, "GET k");
    let told = kit.cmd(a, "LONG SET k 2 , BUSY");
    assert_eq!(told, "+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert!(!kit.read(b).contains("invalidate"));
}

/// Whoever others redirect to may be the one whose command runs.
#[test]
fn redirected_news_reach_the_client_of_a_long_command_alone() {
    let (mut kit, other) = kit();
    let (a, b, c) = (kit.connect(), kit.connect(), kit.connect());
    *other.lock().expect("no test panicked") = Some((b, "HELLO 3"));
    kit.cmd(a, "HELLO 3");
    kit.cmd(c, "HELLO 3");
    assert_eq!(kit.cmd(c, &format!("CLIENT TRACKING ON REDIRECT {}", a.id)), "+OK\r\n");
    kit.cmd(c, "GET k");
    assert_eq!(kit.cmd(a, "LONG SET k 2 , BUSY"), "+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert!(!kit.read(b).contains("invalidate"));
}

/// The keys are ahead of the journal then: nothing that builds on them may be written.
#[test]
fn nothing_is_recorded_behind_a_script_that_was_torn() {
    let (mut kit, _) = kit();
    let c = kit.connect();
    let _file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
    kit.cmd(c, "SET n 1");
    kit.cmd(c, "SET gone v PX 10");
    let before = kit.engine.core.journal.position();
    kit.engine.core.shutting_down = true;
    kit.cmd(c, "LONG SET n 5 , BUSY");
    assert!(kit.engine.core.torn);
    kit.turn(|engine| _ = engine.exec(0, &[b"INCR", b"n"], Origin::Internal, Proto::Resp2));
    kit.turn(|engine| engine.atomic(|engine| _ = engine.exec(0, &[b"INCR", b"n"], Origin::Internal, Proto::Resp2)));
    kit.advance(100);
    kit.turn(|engine| _ = engine.core.control_record(Targets::REPLICATION, &[b"PING"]));
    kit.cmd(c, "SET other v");
    assert_eq!(kit.engine.core.journal.position(), before);
    assert_eq!(kit.cmd(c, "GET gone"), "$-1\r\n");
}
