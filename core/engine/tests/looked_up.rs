//! Commands that are looked up ahead of their execution: the same answers, also if what was found is gone meanwhile.

mod kit;

use std::sync::Arc;

use keystead_engine::foreign::{ForeignBody, ForeignCommand};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::spec::{FAST, Flags, Group, KeySpec};
use keystead_engine::{Ahead, Args, CommandResult, Ctx, Effect, Engine, OwnedArgs, SessionId};
use kit::Kit;

struct Hello;

impl ForeignCommand for Hello {
    fn call(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
        ctx.reply.simple("hello");
        Ok(Effect::None)
    }
}

fn add_greet(engine: &mut Engine) {
    let spec = OwnedSpec {
        name: "greet".to_owned(),
        arity: 1,
        flags: Flags(FAST),
        keys: KeySpec::None,
        group: Group::Module,
        since: "0.1.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: vec![],
    };
    engine.register_command("greeter", spec, ForeignBody::Sync(Arc::new(Hello)), false).expect("registered");
}

fn words(line: &str) -> OwnedArgs {
    line.split(' ').collect()
}

/// Looked up, then something happens, then executed.
fn answer(kit: &mut Kit, id: SessionId, line: &str, between: impl FnOnce(&mut Engine)) -> String {
    let args = words(line);
    kit.turn(|engine| {
        let known = engine.ahead(id, args.view(), &mut Ahead::default());
        between(engine);
        engine.execute_known(id, args.view(), known);
    });
    kit.read(id)
}

#[test]
fn the_answers_are_the_same() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for line in
        ["PING", "ping x", "NOSUCH a b", "CLIENT", "CLIENT NOSUCH", "client getname", "GET", "COMMAND COUNT", "EVAL"]
    {
        let plain = kit.cmd(id, line);
        assert_eq!(answer(&mut kit, id, line, |_| {}), plain, "{line}");
    }
}

#[test]
fn a_command_that_is_gone_meanwhile_is_unknown() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.turn(add_greet);
    assert_eq!(answer(&mut kit, id, "GREET", |_| {}), "+hello\r\n");
    let gone = answer(&mut kit, id, "GREET", |engine| engine.unregister_plugin("greeter"));
    assert!(gone.starts_with("-ERR unknown command 'GREET'"), "{gone}");
    assert_eq!(answer(&mut kit, id, "GREET", add_greet), "+hello\r\n", "and one that came is known");
}
