//! What plugins bring, with plugins made of closures.

mod kit;

use std::sync::{Arc, Mutex};

use keystead_engine::core::Core;
use keystead_engine::foreign::*;
use keystead_engine::journal::CursorClass;
use keystead_engine::keyspace::Keyspace;
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::session::State;
use keystead_engine::spec::{ADMIN, BLOCKING, Flags, Group, KeySpec, MAY_REPLICATE, NO_ASYNC_LOADING, WRITE};
use keystead_engine::{Action, Args, CommandError, CommandResult, ConnInfo, Ctx, Effect, Gate, Kind, Targets};
use kit::Kit;

fn spec(name: &str, arity: i32, flags: u32) -> OwnedSpec {
    OwnedSpec {
        name: name.to_owned(),
        arity,
        flags: Flags(flags),
        keys: KeySpec::FIRST,
        group: Group::Module,
        since: "0.1.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: vec!["fakes"],
    }
}

struct Twice;

impl ForeignCommand for Twice {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let (ks, db, mut reply) = ctx.split();
        ks.set_str(db, args.at(1), b"2".as_slice(), keystead_engine::keyspace::Ttl::Clear);
        reply.ok();
        Ok(ctx.instead(&[b"SET", args.at(1), b"2"]))
    }
}

#[derive(Default)]
struct Slow(Mutex<Vec<String>>);

impl ForeignAsync for Slow {
    fn try_now(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Option<CommandResult> {
        (!ctx.may_block()).then(|| {
            ctx.reply.int(-7);
            Ok(Effect::None)
        })
    }
    fn start(&self, call: AsyncCall) {
        self.0.lock().expect("whole").push(format!("start {} {:?}", call.client.name, call.args));
    }
    fn cancel(&self, _: u64) {
        self.0.lock().expect("whole").push("cancel".to_owned());
    }
}

struct Take;

impl ForeignTakeover for Take {
    fn check(&self, _: &mut Ctx<'_>, args: Args<'_>) -> Result<(), CommandError> {
        if args.len() > 1 { Ok(()) } else { Err(CommandError::new("ERR not like this")) }
    }
}

#[derive(Default)]
struct Hooked(Mutex<Vec<String>>);

impl ForeignHook for Hooked {
    fn wants_writes(&self) -> bool {
        true
    }
    fn on_write(&self, event: &WriteEvent<'_>) -> bool {
        let words: Vec<_> = event.argv.iter().map(String::from_utf8_lossy).collect();
        self.0.lock().expect("whole").push(words.join(" "));
        !event.argv.at(0).eq_ignore_ascii_case(b"flushall")
    }
    fn on_conn(&self, event: ConnEvent, state: &State) -> bool {
        self.0.lock().expect("whole").push(format!("{event:?} {}", state.info.addr));
        true
    }
}

struct Lines(&'static str);

impl ForeignInfo for Lines {
    fn write(&self, _: &Keyspace, core: &Core, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:{}\r\n", self.0, core.journal.offset()).as_bytes());
    }
}

struct Value(Mutex<String>);

impl ForeignConfig for Value {
    fn get(&self) -> String {
        self.0.lock().expect("whole").clone()
    }
    fn set(&self, value: &str) -> Result<(), String> {
        if value == "bad" {
            return Err("it is bad".to_owned());
        }
        *self.0.lock().expect("whole") = value.to_owned();
        Ok(())
    }
}

/// Carries out what the server would.
fn carry_out(kit: &mut Kit) {
    for action in std::mem::take(&mut kit.actions) {
        match action {
            Action::StartAsync { command, call } => command.start(call),
            Action::CancelAsync { command, ticket } => command.cancel(ticket),
            _ => {}
        }
    }
}

#[test]
fn commands_of_three_kinds() {
    let mut kit = Kit::default();
    let slow = Arc::new(Slow::default());
    let engine = &mut kit.engine;
    engine.register_command("p", spec("TWICE", 2, WRITE), ForeignBody::Sync(Arc::new(Twice)), false).expect("free");
    engine.register_command("p", spec("slow", -1, 0), ForeignBody::Async(slow.clone()), false).expect("free");
    engine.register_command("p", spec("take", -1, ADMIN), ForeignBody::Takeover(Arc::new(Take)), false).expect("free");
    engine.register_command("p", spec("box|sub", 2, 0), ForeignBody::Sync(Arc::new(Twice)), false).expect("free");
    let taken = engine.register_command("q", spec("get", 2, 0), ForeignBody::Sync(Arc::new(Twice)), false);
    assert_eq!(taken.err().as_deref(), Some("command 'get' exists already (from the core)"));
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "twice k"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "GET k"), "$1\r\n2\r\n");
    assert_eq!(kit.cmd(c, "twice"), "-ERR wrong number of arguments for 'twice' command\r\n");
    assert_eq!(kit.cmd(c, "box nope"), "-ERR unknown subcommand 'nope'. Try BOX HELP.\r\n");
    assert_eq!(kit.cmd(c, "ACL CAT fakes").lines().next(), Some("*4"));
    // Asynchronous: parks, is completed, and what waited behind it runs.
    kit.cmd(c, "CLIENT SETNAME me");
    assert_eq!(kit.send(c, "slow 1\r\nPING\r\n"), "");
    let Some(Action::StartAsync { call, .. }) = kit.actions.last() else { panic!("started") };
    let ticket = call.ticket;
    carry_out(&mut kit);
    assert_eq!(slow.0.lock().expect("whole").as_slice(), ["start me [\"slow\", \"1\"]"]);
    kit.turn(|engine| engine.complete(c, ticket + 1, b"+WRONG\r\n"));
    kit.turn(|engine| engine.complete(c, ticket, b"+DONE\r\n"));
    assert_eq!(kit.read(c), "+DONE\r\n+PONG\r\n");
    // Inside MULTI it answers at once; CLIENT UNBLOCK makes it answer too.
    assert_eq!(kit.send(c, "MULTI\r\nslow\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*1\r\n:-7\r\n");
    let d = kit.connect();
    kit.cmd(c, "slow");
    assert_eq!(kit.cmd(d, &format!("CLIENT UNBLOCK {}", c.id)), ":1\r\n");
    assert_eq!(kit.read(c), ":-7\r\n");
    // The client goes: the future is dropped. The plugin goes: its waiters are told.
    kit.cmd(c, "slow");
    kit.engine.disconnect(c);
    kit.turn(|_| ());
    carry_out(&mut kit);
    assert_eq!(slow.0.lock().expect("whole").last().map(String::as_str), Some("cancel"));
    assert_eq!(kit.cmd(d, "take"), "-ERR not like this\r\n");
    kit.cmd(d, "slow");
    kit.turn(|engine| engine.unregister_plugin("p"));
    assert_eq!(kit.read(d), "-ERR the plugin of this command was stopped\r\n");
    assert!(kit.cmd(d, "twice k").starts_with("-ERR unknown command"));
}

#[test]
fn a_taken_over_session_stays_in_the_table() {
    let mut kit = Kit::default();
    let body = ForeignBody::Takeover(Arc::new(Take));
    kit.engine.register_command("p", spec("psync", -1, ADMIN), body, false).expect("free");
    let (replica, admin) = (kit.connect(), kit.connect());
    kit.feed(replica, b"psync ? -1\r\nraw bytes");
    assert!(matches!(&kit.actions[..], [Action::Takeover { session, .. }] if *session == replica));
    kit.engine.set_kind(replica, Kind::Replica);
    assert!(kit.cmd(admin, "CLIENT LIST TYPE replica").contains("flags=S"));
    assert_eq!(kit.cmd(admin, "CLIENT KILL TYPE slave"), ":1\r\n");
    assert!(matches!(kit.actions.last(), Some(Action::KillTakenOver { session }) if *session == replica));
}

/// As Redis does to those who wait for replicas; whose own work goes on elsewhere gets its answer.
#[test]
fn a_demotion_ends_the_calls_of_those_who_wait_for_others() {
    let mut kit = Kit::default();
    let slow = Arc::new(Slow::default());
    for (name, flags) in [("waits", BLOCKING), ("works", 0)] {
        kit.engine.register_command("p", spec(name, -1, flags), ForeignBody::Async(slow.clone()), false).expect("free");
    }
    let (waits, works) = (kit.connect(), kit.connect());
    assert_eq!((kit.cmd(waits, "WAITS k"), kit.cmd(works, "WORKS k")), (String::new(), String::new()));
    kit.turn(|engine| engine.unblock_all());
    assert!(kit.read(waits).starts_with("-UNBLOCKED force unblock"));
    assert_eq!(kit.read(works), "");
    assert_eq!(kit.closed, [waits]);
    carry_out(&mut kit);
    assert_eq!(slow.0.lock().expect("whole").last().map(String::as_str), Some("cancel"));
}

#[test]
fn hooks_see_effects_and_can_go() {
    let mut kit = Kit::default();
    let hook = Arc::new(Hooked::default());
    kit.engine.register_hook("p", hook.clone());
    let c = kit.connect();
    kit.send(c, "SET a 1\r\nGET a\r\nINCRBYFLOAT a 1.5\r\nDEL nokey\r\nFLUSHALL\r\nSET a 1\r\n");
    kit.engine.disconnect(c);
    let seen = hook.0.lock().expect("whole").clone();
    assert_eq!(seen, ["Open 127.0.0.1:50000", "SET a 1", "SET a 2.5 KEEPTTL", "FLUSHALL"], "it left at FLUSHALL");
}

#[test]
fn sections_and_parameters() {
    let mut kit = Kit::default();
    kit.engine.register_info("p", "Replication", false, Arc::new(Lines("mine")));
    kit.engine.register_info("p", "stats", true, Arc::new(Lines("sync_full")));
    kit.engine.register_info("p", "extra", false, Arc::new(Lines("more")));
    let value = Arc::new(Value(Mutex::new("1".to_owned())));
    kit.engine.register_config("p", "repl-thing", Some("slave-thing"), value.clone()).expect("free");
    assert!(kit.engine.register_config("q", "repl-thing", None, value).is_err());
    let c = kit.connect();
    let info = kit.cmd(c, "INFO");
    assert!(info.contains("# Replication\r\nmine:0\r\n") && !info.contains("role:master"), "{info}");
    assert!(info.contains("total_commands_processed:") && info.contains("sync_full:0"));
    assert!(info.contains("# Extra\r\nmore:0\r\n"));
    assert_eq!(kit.cmd(c, "INFO extra"), "$17\r\n# Extra\r\nmore:0\r\n\r\n");
    assert_eq!(kit.cmd(c, "CONFIG SET repl-thing 5 timeout 3"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "CONFIG GET slave-thing"), "*2\r\n$11\r\nslave-thing\r\n$1\r\n5\r\n");
    assert_eq!(
        kit.cmd(c, "CONFIG SET timeout 9 repl-thing bad"),
        "-ERR CONFIG SET failed (possibly related to argument 'repl-thing') - it is bad\r\n"
    );
    assert!(kit.cmd(c, "CONFIG GET timeout").ends_with("$1\r\n3\r\n"));
}

/// They would take a primary for dead that says nothing for longer than `repl-timeout`.
#[test]
fn under_client_pause_replicas_hear_that_the_primary_lives() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let _cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now");
    assert_eq!(kit.cmd(c, "CLIENT PAUSE 100000 ALL"), "+OK\r\n");
    let core = &mut kit.engine.core;
    assert!(core.control_record(Targets::REPLICATION, &[b"PING"]));
    assert!(!core.control_record(Targets::REPLICATION, &[b"REPLCONF", b"GETACK", b"*"]), "as in Redis");
}

#[test]
fn a_plugin_pauses_the_journal() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now");
    kit.cmd(c, "SET a 1 PX 10");
    let until = kit.now.unix_ms + 1000;
    kit.turn(|engine| engine.pause(Pauser::Plugin("p"), Pause::Write, until));
    let offset = kit.engine.core.journal.offset();
    assert_eq!(kit.cmd(c, "SET b 1"), "");
    kit.advance(20);
    assert!(!kit.engine.core.control_record(Targets::REPLICATION, &[b"PING"]));
    let d = kit.connect();
    assert_eq!(kit.cmd(d, "GET a"), "$-1\r\n", "hidden, not deleted");
    assert_eq!(kit.engine.core.journal.offset(), offset);
    kit.turn(|engine| engine.pause(Pauser::Plugin("p"), Pause::Off, 0));
    assert_eq!(kit.read(c), "+OK\r\n");
    assert!(kit.engine.core.journal.offset() > offset);
    assert!(kit.engine.core.journal.cursor_status(cursor).is_some());
}

#[test]
fn a_command_about_roles_waits_for_a_load_beside_the_data() {
    let mut kit = Kit::default();
    let role = spec("rolechange", 2, ADMIN | NO_ASYNC_LOADING);
    kit.engine.register_command("fakes", role, ForeignBody::Sync(Arc::new(Twice)), false).expect("free");
    let c = kit.connect();
    kit.engine.gates().set(Gate::AsyncLoading, true);
    assert!(kit.cmd(c, "ROLECHANGE a").starts_with("-LOADING"));
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    kit.engine.gates().set(Gate::AsyncLoading, false);
    assert_eq!(kit.cmd(c, "ROLECHANGE a"), "+OK\r\n");
}

struct Reader;

impl ForeignCommand for Reader {
    fn call(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
        ctx.reply.ok();
        Ok(Effect::None)
    }
    fn flags_now(&self, args: Args<'_>, own: Flags) -> Flags {
        match args.at(1) {
            b"read" => Flags(own.0 & !MAY_REPLICATE),
            b"change" => Flags(own.0 | WRITE),
            _ => own,
        }
    }
}

#[test]
fn a_pause_of_writes_lets_through_what_says_that_it_only_reads() {
    let mut kit = Kit::default();
    let (c, other) = (kit.connect(), kit.connect());
    let body = ForeignBody::Sync(Arc::new(Reader));
    kit.turn(|engine| engine.register_command("p", spec("may", -2, MAY_REPLICATE), body, false)).expect("free");
    kit.cmd(c, "CLIENT PAUSE 100000 WRITE");
    assert_eq!(kit.cmd(other, "MAY read"), "+OK\r\n");
    assert_eq!(kit.send(other, "MULTI\r\nMAY read\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(kit.cmd(other, "MAY write"), "");
    kit.cmd(c, "CLIENT UNPAUSE");
    assert_eq!(kit.read(other), "+OK\r\n");
    kit.send(other, "MULTI\r\nMAY read\r\nMAY write\r\n");
    kit.cmd(c, "CLIENT PAUSE 100000 WRITE");
    assert_eq!(kit.cmd(other, "EXEC"), "", "one of its commands may write");
}

/// A primary hands its role over: a script that doesn't say whether it writes waits as writes do, in front of the swap and
/// behind it, and so does a transaction with one.
#[test]
fn what_may_write_waits_for_the_end_of_a_hand_over() {
    let mut kit = Kit::default();
    let [first, script, queue, reader] = std::array::from_fn(|_| kit.connect());
    let body = ForeignBody::Sync(Arc::new(Reader));
    kit.turn(|engine| engine.register_command("p", spec("may", -2, MAY_REPLICATE), body, false)).expect("free");
    kit.send(queue, "MULTI\r\nGET k\r\nMAY write\r\n");
    let pauser = Pauser::Plugin("replication");
    kit.turn(|engine| engine.pause(pauser, Pause::Write, u64::MAX));
    assert_eq!(kit.cmd(first, "MAY write"), "");
    let gates = kit.engine.gates();
    for gate in [Gate::ReadOnly, Gate::Replica, Gate::Stale] {
        gates.set(gate, true);
    }
    let until = kit.engine.core.now.unix_ms + 2_000;
    kit.turn(|engine| engine.pause(pauser, Pause::Write, until));
    assert_eq!((kit.read(first), kit.cmd(script, "MAY write"), kit.cmd(queue, "EXEC")), Default::default());
    gates.set(Gate::Stale, false);
    assert_eq!(kit.cmd(reader, "MAY read"), "+OK\r\n");
    kit.advance(2_001);
    assert_eq!((kit.read(first), kit.read(script)), ("+OK\r\n".to_owned(), "+OK\r\n".to_owned()));
    assert_eq!(kit.read(queue), "*2\r\n$-1\r\n+OK\r\n");
}

#[test]
fn what_the_words_say_refuses_at_once_in_the_queue_and_at_its_end() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let body = ForeignBody::Sync(Arc::new(Reader));
    kit.turn(|engine| engine.register_command("p", spec("may", -2, MAY_REPLICATE), body, false)).expect("free");
    let refused = "-READONLY You can't write against a read only replica.\r\n";
    kit.engine.gates().set(Gate::ReadOnly, true);
    assert_eq!(kit.cmd(c, "MAY change"), refused);
    assert_eq!(kit.cmd(c, "MAY read"), "+OK\r\n");
    assert_eq!(kit.send(c, "MULTI\r\nMAY read\r\nMAY change\r\n"), format!("+OK\r\n+QUEUED\r\n{refused}"));
    assert_eq!(kit.cmd(c, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    kit.engine.gates().set(Gate::ReadOnly, false);
    assert_eq!(kit.send(c, "MULTI\r\nMAY change\r\n"), "+OK\r\n+QUEUED\r\n");
    kit.engine.gates().set(Gate::ReadOnly, true);
    let refused = refused.trim_start_matches('-');
    assert_eq!(kit.cmd(c, "EXEC"), format!("-EXECABORT Transaction discarded because of: {refused}"));
}

#[test]
fn a_subcommand_joins_a_container_of_the_core_until_its_plugin_goes() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let body = || ForeignBody::Sync(Arc::new(Reader));
    let add = |kit: &mut Kit, name: &str, plugin: &str| {
        kit.turn(|engine| engine.register_command(plugin, spec(name, 2, ADMIN), body(), false)).map(|_| ())
    };
    add(&mut kit, "DEBUG|MORE", "p").expect("a word that is free");
    assert_eq!(kit.cmd(c, "DEBUG MORE"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DEBUG PAUSE-CRON 0"), "+OK\r\n", "the core's own are there");
    kit.cmd(c, "CONFIG SET protected-mode no");
    let far = kit.engine.connect(ConnInfo { addr: "10.0.0.9:5000".to_owned(), ..ConnInfo::default() }, kit.now);
    let far = far.expect("accepted");
    for line in ["DEBUG MORE", "DEBUG SLEEP 0"] {
        assert!(
            kit.cmd(far, line).starts_with("-ERR DEBUG command not allowed."),
            "enable-debug-command is local: {line}"
        );
    }
    assert!(add(&mut kit, "DEBUG|MORE", "q").is_err(), "taken");
    assert!(add(&mut kit, "DEBUG|SLEEP", "q").is_err(), "the core's");
    assert!(add(&mut kit, "GET|MORE", "q").is_err(), "no container");
    kit.turn(|engine| engine.unregister_plugin("p"));
    assert!(kit.cmd(c, "DEBUG MORE").starts_with("-ERR"));
    assert_eq!(kit.cmd(c, "DEBUG PAUSE-CRON 0"), "+OK\r\n");
}

/// The group decides: what is Redis' own isn't a module's, whichever plugin has it.
#[test]
fn a_plugins_own_command_has_the_flag_of_modules() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let own = OwnedSpec { group: Group::Scripting, ..spec("eval", -1, 0) };
    for spec in [spec("TWICE", 2, WRITE), own] {
        kit.engine.register_command("p", spec, ForeignBody::Sync(Arc::new(Twice)), false).expect("free");
    }
    let told = kit.cmd(c, "COMMAND INFO twice");
    assert!(told.contains("*2\r\n+write\r\n+module\r\n"), "{told}");
    assert!(!kit.cmd(c, "COMMAND INFO eval").contains("+module"));
}

/// Asks for a list and answers how many bytes it was told.
struct Measures;

impl ForeignCommand for Measures {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let lrange = ctx.core.registry.find(b"lrange").expect("the core's");
        let begin = ctx.reply.out.len();
        ctx.run_inside(lrange, &["LRANGE".as_bytes(), args.at(1), b"0", b"-1"].into_iter().collect());
        let told = ctx.reply.out.split_off(begin).len();
        ctx.reply.int(told as i64);
        Ok(Effect::None)
    }
}

/// What a plugin reads itself is whole, whatever its client may have waiting.
#[test]
fn a_plugins_own_calls_know_no_output_limit() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let measures = ForeignBody::Sync(Arc::new(Measures));
    kit.engine.register_command("p", spec("measure", 2, 0), measures, false).expect("free");
    for _ in 0..100 {
        kit.cmd(c, &format!("RPUSH l {}", "x".repeat(100)));
    }
    kit.cmd(c, "CONFIG SET client-output-buffer-limit \"normal 1000 0 0\"");
    assert_eq!(kit.cmd(c, "measure l"), ":10806\r\n");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    assert_eq!(kit.cmd(c, "LRANGE l 0 -1"), "", "its own replies have the limit");
}
