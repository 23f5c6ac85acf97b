//! A panic inside a command costs its connection; behind the first change it costs the process.

mod kit;

use std::sync::Arc;

use keystead_engine::foreign::{ForeignBody, ForeignCommand};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::spec::{Flags, Group, KeySpec};
use keystead_engine::{Args, CommandResult, Ctx};
use kit::Kit;

/// Panics, with an argument only behind a change.
struct Trip;

impl ForeignCommand for Trip {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        ctx.reply.simple("half a reply");
        if args.len() > 1 {
            ctx.ks.flush_all();
            ctx.ks.add_dirty(1);
        }
        panic!("tripped");
    }
}

fn kit() -> Kit {
    let mut kit = Kit::default();
    let spec = OwnedSpec {
        name: "trip".into(),
        arity: -1,
        flags: Flags::NONE,
        keys: KeySpec::None,
        categories: Default::default(),
        group: Group::Generic,
        since: "1.0.0".into(),
        summary: "Panics.".into(),
        page: String::new(),
    };
    kit.engine.register_command("test", spec, ForeignBody::Sync(Arc::new(Trip)), false).expect("a new name");
    kit
}

#[test]
fn before_a_change_it_costs_one_connection() {
    let mut kit = kit();
    let (one, other) = (kit.connect(), kit.connect());
    assert_eq!(kit.cmd(other, "SET k v"), "+OK\r\n");
    let said = kit.cmd(one, "TRIP");
    assert_eq!(said, "-ERR internal error, the connection is closed\r\n");
    assert_eq!(kit.closed, [one]);
    kit.engine.disconnect(one);
    assert_eq!(kit.cmd(other, "GET k"), "$1\r\nv\r\n");
    assert!(kit.engine.end_turn().broken.is_none());
}

#[test]
fn others_keep_renewing_the_keys_they_use() {
    let mut kit = kit();
    let (one, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "SET k v");
    kit.cmd(one, "CLIENT NO-TOUCH ON");
    kit.cmd(one, "TRIP");
    kit.advance(10_000);
    kit.cmd(other, "GET k");
    assert_eq!(kit.cmd(other, "OBJECT IDLETIME k"), ":0\r\n");
}

/// Whoever is told that the connection ends must not take it for one in a transaction.
#[test]
fn inside_exec_the_transaction_is_over_as_well() {
    let mut kit = kit();
    let id = kit.connect();
    kit.cmd(id, "MULTI");
    assert_eq!(kit.cmd(id, "TRIP"), "+QUEUED\r\n");
    assert_eq!(kit.cmd(id, "EXEC"), "-ERR internal error, the connection is closed\r\n");
    let state = kit.engine.session(id).expect("nobody has disconnected it yet");
    assert!(!state.in_exec && state.multi.is_none());
}

#[test]
fn behind_a_change_the_process_must_end() {
    let mut kit = kit();
    let id = kit.connect();
    kit.engine.begin_turn(kit.now);
    kit.engine.execute(id, ["trip", "now"].iter().collect::<keystead_engine::OwnedArgs>().view());
    let broken = kit.engine.end_turn().broken.expect("the server must end");
    assert!(broken.contains("'trip'"), "{broken}");
}
