//! CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO. Owns options and replies; who is told what is in `crate::tracking`.

use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::tracking::Mode;

pub(super) fn tracking(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (mode, prefixes) = options(ctx, args)?;
    if args.is(2, "on") {
        let mode = merged(ctx, mode, &prefixes)?;
        ctx.core.tracking.start(ctx.session, mode);
    } else if args.is(2, "off") {
        ctx.core.tracking.stop(ctx.session);
    } else {
        return Err(CommandError::SYNTAX);
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

/// The options, and the prefixes as they were given.
fn options<'a>(ctx: &Ctx<'_>, args: Args<'a>) -> Result<(Mode, Vec<&'a [u8]>), CommandError> {
    let mut mode = Mode::default();
    let mut given: Vec<&[u8]> = Vec::new();
    let mut at = 3;
    while at < args.len() {
        let more = at + 1 < args.len();
        if args.is(at, "redirect") && more {
            at += 1;
            if mode.redirect.is_some() {
                return Err(CommandError::fixed("ERR A client can only redirect to a single other client"));
            }
            let id = u64::try_from(args.int(at)?).unwrap_or(0);
            if ctx.core.sessions.find(id).is_none() {
                return Err(CommandError::fixed("ERR The client ID you want redirect to does not exist"));
            }
            mode.redirect = Some(id);
        } else if args.is(at, "bcast") {
            mode.bcast = true;
        } else if args.is(at, "optin") {
            mode.optin = true;
        } else if args.is(at, "optout") {
            mode.optout = true;
        } else if args.is(at, "noloop") {
            mode.noloop = true;
        } else if args.is(at, "prefix") && more {
            at += 1;
            given.push(args.at(at));
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 1;
    }
    Ok((mode, given))
}

fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn overlapping(prefix: &[u8], which: &str, other: &[u8]) -> CommandError {
    const END: &[u8] = b"'. Prefixes for a single client must not overlap.";
    let between = format!("' overlaps with {which} prefix '");
    CommandError::quoting(&[b"ERR Prefix '", c_text(prefix), between.as_bytes(), c_text(other), END])
}

/// The new mode beside the one the session has: what can't be changed is refused, prefixes add up.
fn merged(ctx: &Ctx<'_>, mut mode: Mode, prefixes: &[&[u8]]) -> Result<Mode, CommandError> {
    let fixed = |text| Err(CommandError::fixed(text));
    if !prefixes.is_empty() && !mode.bcast {
        return fixed("ERR PREFIX option requires BCAST mode to be enabled");
    }
    let old = ctx.session.tracking.as_deref();
    if old.is_some_and(|old| old.bcast != mode.bcast) {
        return fixed(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        );
    }
    if mode.bcast && (mode.optin || mode.optout) {
        return fixed("ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    if mode.optin && mode.optout {
        return fixed("ERR You can't specify both OPTIN mode and OPTOUT mode");
    }
    if old.is_some_and(|old| mode.optin && old.optout || mode.optout && old.optin) {
        return fixed(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        );
    }
    if !mode.bcast {
        return Ok(mode);
    }
    let had = old.map(|old| old.prefixes.clone()).unwrap_or_default();
    for (at, prefix) in prefixes.iter().enumerate() {
        if let Some(other) = had.iter().find(|other| overlap(other, prefix)) {
            return Err(overlapping(prefix, "an existing", other));
        }
        if let Some(other) = prefixes[at + 1..].iter().find(|other| overlap(other, prefix)) {
            return Err(overlapping(prefix, "another provided", other));
        }
    }
    prefixes.iter().for_each(|prefix| _ = mode.prefixes.insert(prefix));
    if mode.prefixes.is_empty() {
        // Everything; Redis lets it overlap with what was asked for before.
        mode.prefixes.insert(b"");
    }
    had.iter().for_each(|prefix| _ = mode.prefixes.insert(prefix));
    Ok(mode)
}

pub(super) fn caching(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let fixed = |text| Err(CommandError::fixed(text));
    let Some(mode) = ctx.session.tracking.as_deref_mut() else {
        return fixed(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    match (args.is(2, "yes"), args.is(2, "no")) {
        (true, _) if !mode.optin => {
            return fixed("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
        }
        (_, true) if !mode.optout => {
            return fixed("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        }
        (false, false) => return Err(CommandError::SYNTAX),
        _ => mode.caching = true,
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

/// -1 without tracking, 0 without a redirection.
fn redirection(mode: Option<&Mode>) -> i64 {
    mode.map_or(-1, |mode| mode.redirect.map_or(0, |id| id as i64))
}

pub(super) fn getredir(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.int(redirection(ctx.session.tracking.as_deref()));
    Ok(Effect::None)
}

pub(super) fn trackinginfo(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let mode = ctx.session.tracking.as_deref();
    let flags = flags(mode);
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.bulk("flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag));
    reply.bulk("redirect");
    reply.int(redirection(mode));
    reply.bulk("prefixes");
    let prefixes: Vec<&[u8]> = mode.into_iter().flat_map(|mode| mode.prefixes.iter().map(|prefix| &**prefix)).collect();
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(Effect::None)
}

fn flags(mode: Option<&Mode>) -> Vec<&'static str> {
    let Some(mode) = mode else { return vec!["off"] };
    let words = [
        (true, "on"),
        (mode.bcast, "bcast"),
        (mode.optin, "optin"),
        (mode.optin && mode.caching, "caching-yes"),
        (mode.optout, "optout"),
        (mode.optout && mode.caching, "caching-no"),
        (mode.noloop, "noloop"),
        (mode.broken, "broken_redirect"),
    ];
    words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect()
}
