//! More of DEBUG: what suites of other servers' tests ask for. Where Redis has a knob for something that doesn't exist here
//! (kinds of list nodes, reply buffers that shrink), a valid value is taken and nothing follows from it; HELP says so.

use keystead_keyspace::Object;
use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::commands::common::is;
use crate::config::parse_memory;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Targets};
use crate::error::CommandError;

fn table_text(elements: usize) -> String {
    match elements {
        0 => "Hash table 0 stats (main hash table):\nNo stats available for empty dictionaries\n".to_owned(),
        n => format!("Hash table 0 stats (main hash table):\n table size: {n}\n number of elements: {n}\n"),
    }
}

/// How many entries a database's tables have. There are no chains here to tell of.
pub(super) fn htstats(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let db = usize::try_from(args.int(2)?).ok().filter(|db| *db < ctx.ks.databases());
    let db = db.ok_or(CommandError::fixed("ERR Out of range database"))?;
    let (keys, deadlines) = (ctx.ks.len(db), ctx.ks.len_with_deadline(db));
    let text = format!("[Dictionary HT]\n{}[Expires HT]\n{}", table_text(keys), table_text(deadlines));
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

pub(super) fn htstats_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(2);
    if ctx.ks.glance(ctx.session.db, key).is_none() {
        return Err(CommandError::NO_KEY);
    }
    let hashed = |object: &&Object| matches!(object.encoding(), "hashtable" | "skiplist");
    match ctx.ks.object(ctx.session.db, key).filter(hashed) {
        Some(object) => {
            let text = table_text(object.len());
            ctx.reply.verbatim(*b"txt", text);
            Ok(Effect::None)
        }
        None => {
            Err(CommandError::fixed("ERR The value stored at the specified key is not represented using an hash table"))
        }
    }
}

/// Puts words into the replication stream as they are: what a replica does with nonsense can be tried with it.
pub(super) fn replicate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let words: Vec<&[u8]> = args.iter().skip(2).collect();
    if !ctx.core.control_record(Targets::REPLICATION, &words) {
        return Err(CommandError::fixed("ERR the replication stream is paused"));
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Elements of any size are kept alike here.
pub(super) fn quicklist_packed_threshold(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // Redis' own bound, a little below what its 32-bit lengths hold.
    let most = i64::from(u32::MAX) - (1 << 20);
    let valid = parse_memory(&args.text(2)).is_some_and(|bytes| (0..=most).contains(&bytes));
    if !valid {
        return Err(CommandError::fixed("ERR argument must be a memory value bigger than 1 and smaller than 4gb"));
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Replies are buffered per turn here: nothing has a peak to reset.
pub(super) fn replybuffer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let value = args.at(3);
    match args.at(2) {
        word if is(word, "peak-reset-time") && (is(value, "never") || is(value, "reset")) => {}
        word if is(word, "peak-reset-time") || is(word, "resizing") => drop(args.int(3)?),
        _ => return Err(CommandError::subcommand_syntax("DEBUG", args.at(1))),
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Stops what is done without any command but for timeouts of waiting clients.
pub(super) fn pause_cron(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.core.cron_paused = args.int(2).unwrap_or(0) != 0;
    ctx.reply.ok();
    Ok(Effect::None)
}
