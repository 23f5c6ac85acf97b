//! HyperLogLog: adding, counting, merging. The format is the keyspace's; a value that is none is refused here.

use super::common::{Res, as_sent_if, err, rest};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::spec::*;
use keystead_keyspace::Keyspace;
use keystead_keyspace::hll::{self, Addition, Bad, Encoding, REGISTERS, Sign};
use keystead_resp::Args;

const HLL: Group = Group::HyperLogLog;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new("pfadd", -2, WRITE | DENYOOM | FAST, KeySpec::FIRST, HLL, "2.8.9",
        "Adds elements to a HyperLogLog key. Creates the key if it doesn't exist.", pfadd).uses(&[PUTS]),
    CommandSpec::new("pfcount", -2, READONLY | MAY_REPLICATE, KeySpec::ALL, HLL, "2.8.9",
        "Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s).", pfcount).uses(&[NOTES]),
    CommandSpec::new("pfmerge", -2, WRITE | DENYOOM, KeySpec::ALL, HLL, "2.8.9",
        "Merges one or more HyperLogLog values into a single key.", pfmerge).uses(&[NOTES.and(PUTS), READS]),
    CommandSpec::new("pfdebug", 3, WRITE | DENYOOM | ADMIN, KeySpec::Range { first: 2, last: 2, step: 1 }, HLL, "2.8.9",
        "Internal commands for debugging HyperLogLog values.", pfdebug).uses(&[NOTES]),
];

impl From<Bad> for CommandError {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Format => err("WRONGTYPE Key is not a valid HyperLogLog string value."),
            Bad::Corrupt => err("INVALIDOBJ Corrupted HLL object detected"),
        }
    }
}

/// Looks at the bytes under a key; none if there is no key.
fn with<R>(ks: &Keyspace, db: usize, key: &[u8], look: impl FnOnce(&[u8]) -> Result<R, Bad>) -> Res<Option<R>> {
    match ks.get_str(db, key)? {
        Some(text) => Ok(Some(look(text.text(&mut itoa::Buffer::new()))?)),
        None => Ok(None),
    }
}

fn pfadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let max = ctx.core.config.live.sparse_hll_bytes;
    let signs: Vec<Sign> = args.skip(2).iter().map(Sign::of).collect();
    let (ks, db, mut out) = ctx.split();
    let key = &args[1];
    let plan = with(ks, db, key, |bytes| hll::plan(bytes, &signs, max))?;
    let mut raised = 0;
    let new = plan.is_none();
    match plan.unwrap_or(Addition::InPlace) {
        Addition::Nothing => {
            out.int(0);
            return Ok(Effect::None);
        }
        Addition::InPlace => change(ks, db, key, |bytes| hll::add(bytes, &signs, max).map(|n| raised = n))?,
        Addition::Whole(bytes, count) => {
            raised = count;
            ks.edit_str(db, key, |old| *old = bytes)?;
        }
    }
    // Redis counts each register that rose, and a new key; the edit counted one.
    ks.add_dirty((raised + usize::from(new)).saturating_sub(1) as u64);
    out.int(1);
    Ok(Effect::AsSent)
}

/// Changes the value under a key, an empty one if there is none. What it holds was found sound before.
fn change(ks: &mut Keyspace, db: usize, key: &[u8], change: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>) -> Res<()> {
    let mut result = Ok(());
    ks.edit_str(db, key, |bytes| {
        if bytes.is_empty() {
            *bytes = hll::empty();
        }
        result = change(bytes);
    })?;
    Ok(result?)
}

fn pfcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    if args.len() > 2 {
        let mut registers = [0; REGISTERS];
        for key in rest(args, 1) {
            with(ks, db, key, |bytes| hll::merge(&mut registers, bytes))?;
        }
        out.int(hll::count(&registers) as i64);
        return Ok(Effect::None);
    }
    let key = &args[1];
    let counted = with(ks, db, key, |bytes| {
        hll::encoding(bytes)?;
        if let Some(count) = hll::cached(bytes) {
            return Ok((count, true));
        }
        Ok((hll::count_value(bytes)?, false))
    })?;
    match counted {
        None => out.int(0),
        Some((count, true)) => out.int(count as i64),
        // Counting changes the value: the result is kept in it, and replicas keep it too.
        Some((count, false)) => {
            ks.name_changes(None);
            ks.edit_str(db, key, |bytes| hll::keep_count(bytes, count))?;
            out.int(count as i64);
            return Ok(Effect::AsSent);
        }
    }
    Ok(Effect::None)
}

fn pfmerge(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let max = ctx.core.config.live.sparse_hll_bytes;
    let (ks, db, mut out) = ctx.split();
    let (mut registers, mut dense) = ([0; REGISTERS], false);
    for key in rest(args, 1) {
        with(ks, db, key, |bytes| {
            dense |= hll::encoding(bytes)? == Encoding::Dense;
            hll::merge(&mut registers, bytes)
        })?;
    }
    change(ks, db, &args[1], |bytes| hll::take_over(bytes, &registers, dense, max))?;
    out.ok();
    Ok(Effect::AsSent)
}

fn pfdebug(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let (word, key) = (args[1].to_ascii_lowercase(), &args[2]);
    let mut registers = [0; REGISTERS];
    let found = with(ks, db, key, |bytes| Ok((hll::encoding(bytes)?, hll::merge(&mut registers, bytes))))?;
    let (encoding, sound) = found.ok_or(err("ERR The specified key does not exist"))?;
    let sparse = encoding == Encoding::Sparse;
    ks.name_changes(None);
    match &word[..] {
        b"getreg" => {
            sound?;
            if sparse {
                ks.edit_str(db, key, |bytes| hll::to_dense(bytes).unwrap_or_default())?;
            }
            out.array(REGISTERS);
            registers.iter().for_each(|count| out.int(i64::from(*count)));
            Ok(as_sent_if(sparse))
        }
        b"todense" => {
            sound?;
            if sparse {
                ks.edit_str(db, key, |bytes| hll::to_dense(bytes).unwrap_or_default())?;
            }
            out.int(i64::from(sparse));
            Ok(as_sent_if(sparse))
        }
        b"decode" if !sparse => Err(err("ERR HLL encoding is not sparse")),
        b"decode" => {
            let text = with(ks, db, key, hll::describe)?.unwrap_or_default();
            out.bulk(text.as_bytes());
            Ok(Effect::None)
        }
        b"encoding" => {
            out.simple(if sparse { "sparse" } else { "dense" });
            Ok(Effect::None)
        }
        _ => Err(CommandError::quoting(&[b"ERR Unknown PFDEBUG subcommand '", c_text(&args[1]), b"'"])),
    }
}
