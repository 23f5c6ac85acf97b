//! SUBSCRIBE, PUBLISH and their kin. Owns the replies; who listens is in the index of `crate::pubsub`.

use keystead_resp::{Args, Writer};

use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Recorded, Targets};
use crate::error::CommandError;
use crate::gates::Gate;
use crate::pubsub::{Space, publish as send};
use crate::session::ReplyMode;
use crate::spec::*;

const SUB: u32 = PUBSUB | NOSCRIPT | LOADING | STALE | ENDPOINT | IN_SUBSCRIBER;
const PUB: u32 = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE | ENDPOINT;
const ASK: u32 = PUBSUB | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;
const PS: Group = Group::PubSub;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new("subscribe", -2, SUB, NONE, PS, "2.0.0", "Listens for messages published to channels.", subscribe),
    CommandSpec::new("unsubscribe", -1, SUB, NONE, PS, "2.0.0", "Stops listening to messages posted to channels.", unsubscribe),
    CommandSpec::new("psubscribe", -2, SUB, NONE, PS, "2.0.0", "Listens for messages published to channels that match one or more patterns.", psubscribe),
    CommandSpec::new("punsubscribe", -1, SUB, NONE, PS, "2.0.0", "Stops listening to messages published to channels that match one or more patterns.", punsubscribe),
    CommandSpec::new("ssubscribe", -2, SUB, NONE, PS, "7.0.0", "Listens for messages published to shard channels.", ssubscribe),
    CommandSpec::new("sunsubscribe", -1, SUB, NONE, PS, "7.0.0", "Stops listening to messages posted to shard channels.", sunsubscribe),
    CommandSpec::new("publish", 3, PUB, NONE, PS, "2.0.0", "Posts a message to a channel.", publish),
    CommandSpec::new("spublish", 3, PUB, NONE, PS, "7.0.0", "Post a message to a shard channel", spublish),
    CommandSpec::container("pubsub", PS, "2.8.0", "A container for Pub/Sub commands.", &[
        CommandSpec::new("channels", -2, ASK, NONE, PS, "2.8.0", "Returns the active channels.", channels),
        CommandSpec::new("numsub", -2, ASK, NONE, PS, "2.8.0", "Returns a count of subscribers to channels.", numsub),
        CommandSpec::new("numpat", 2, ASK, NONE, PS, "2.8.0", "Returns a count of unique pattern subscriptions.", numpat),
        CommandSpec::new("shardchannels", -2, ASK, NONE, PS, "7.0.0", "Returns the active shard channels.", shardchannels),
        CommandSpec::new("shardnumsub", -2, ASK, NONE, PS, "7.0.0", "Returns the count of subscribers of shard channels.", shardnumsub),
        CommandSpec::new("help", 2, LOADING | STALE | ENDPOINT, NONE, PS, "6.2.0", "Returns helpful text about the different subcommands.", help),
    ]),
];

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, Space::Channel)
}

fn psubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, Space::Pattern)
}

fn ssubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // Redis lets the other two into MULTI for old clients' sake, and not this one.
    if ctx.nested {
        return Err(CommandError::fixed("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    add(ctx, args, Space::Shard)
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, Space::Channel)
}

fn punsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, Space::Pattern)
}

fn sunsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, Space::Shard)
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, space: Space) -> CommandResult {
    for name in args.skip(1).iter() {
        ctx.core.pubsub.subscribe(space, ctx.session, name);
        confirm(ctx, space.subscribe_word(), Some(name), space);
    }
    Ok(Effect::None)
}

fn remove(ctx: &mut Ctx<'_>, args: Args<'_>, space: Space) -> CommandResult {
    let names: Vec<Box<[u8]>> = match args.len() {
        1 => space.of(ctx.session).iter().cloned().collect(),
        _ => args.skip(1).iter().map(Box::from).collect(),
    };
    for name in &names {
        ctx.core.pubsub.unsubscribe(space, ctx.session, name);
        confirm(ctx, space.unsubscribe_word(), Some(name), space);
    }
    if names.is_empty() {
        confirm(ctx, space.unsubscribe_word(), None, space);
    }
    Ok(Effect::None)
}

fn confirm(ctx: &mut Ctx<'_>, word: &str, name: Option<&[u8]>, space: Space) {
    let count = space.count(ctx.session) as i64;
    match ctx.session.reply_mode {
        ReplyMode::On | ReplyMode::SkipNext => write_confirmation(&mut ctx.reply, word, name, count),
        // It is a message: of all that a silent client's transaction says, this is sent.
        ReplyMode::Off | ReplyMode::Skip => {
            let mut aside = Writer::new(ctx.session.pushed.get_or_insert_default(), ctx.reply.proto);
            write_confirmation(&mut aside, word, name, count);
        }
    }
}

fn write_confirmation(to: &mut Writer<'_>, word: &str, name: Option<&[u8]>, count: i64) {
    to.push(3);
    to.bulk(word);
    to.bulk_or_null(name);
    to.int(count);
}

fn publish(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    post(ctx, args, Space::Channel)
}

fn spublish(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    post(ctx, args, Space::Shard)
}

fn post(ctx: &mut Ctx<'_>, args: Args<'_>, space: Space) -> CommandResult {
    let count = send(ctx.core, Some(ctx.session.id), space, args.at(1), args.at(2));
    ctx.reply.int(count as i64);
    // Messages go to replicas only; a replica's own are for its own subscribers.
    if ctx.core.gates.is(Gate::Replica) || !ctx.core.effects_wanted() {
        return Ok(Effect::None);
    }
    ctx.core.push_effect(ctx.session.db, Targets::REPLICATION, ctx.origin, args.iter());
    Ok(Effect::Recorded(Recorded(())))
}

fn channels(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    list(ctx, args, Space::Channel)
}

fn shardchannels(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    list(ctx, args, Space::Shard)
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>, space: Space) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::subcommand_syntax("PUBSUB", args.at(1)));
    }
    let Ctx { core, reply, .. } = ctx;
    let mark = reply.defer();
    let mut count = 0;
    for name in core.pubsub.channels(space, args.get(2)) {
        reply.bulk(name);
        count += 1;
    }
    reply.end_array(mark, count);
    Ok(Effect::None)
}

fn numsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, Space::Channel)
}

fn shardnumsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, Space::Shard)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, space: Space) -> CommandResult {
    let names = args.skip(2);
    ctx.reply.array(names.len() * 2);
    for name in names.iter() {
        ctx.reply.bulk(name);
        ctx.reply.int(ctx.core.pubsub.listeners(space, name) as i64);
    }
    Ok(Effect::None)
}

fn numpat(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.int(ctx.core.pubsub.patterns() as i64);
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "PUBSUB",
        &[
            "CHANNELS [<pattern>]",
            "    Return the currently active channels matching a <pattern> (default: '*').",
            "NUMPAT",
            "    Return number of subscriptions to patterns.",
            "NUMSUB [<channel> ...]",
            "    Return the number of subscribers for the specified channels, excluding",
            "    pattern subscriptions(default: no channels).",
            "SHARDCHANNELS [<pattern>]",
            "    Return the currently active shard level channels matching a <pattern> (default: '*').",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Return the number of subscribers for the specified shard level channel(s)",
        ],
    )
}
