//! CONFIG GET, SET, RESETSTAT, REWRITE, HELP, and what follows from a changed parameter inside the engine.

use keystead_keyspace::Keyspace;
use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::config::SetError;
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::Action;
use crate::error::{CommandError, c_text};
use crate::gates::Gate;
use crate::guards::IS_LOADING;
use crate::journal::JournalLimits;
use crate::session::{Late, Parked, State};
use crate::spec::*;

const ADM: u32 = ADMIN | NOSCRIPT | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;

/// The table.
pub const TABLE: &[CommandSpec] = &[CommandSpec::container(
    "config",
    Group::Server,
    "2.0.0",
    "A container for server configuration commands.",
    &[
        CommandSpec::new(
            "get",
            -3,
            ADM,
            NONE,
            Group::Server,
            "2.0.0",
            "Returns the effective values of configuration parameters.",
            get,
        ),
        CommandSpec::new("set", -4, ADM, NONE, Group::Server, "2.0.0", "Sets configuration parameters in-flight.", set),
        CommandSpec::new(
            "resetstat",
            2,
            ADM,
            NONE,
            Group::Server,
            "2.0.0",
            "Resets the server's statistics.",
            resetstat,
        ),
        CommandSpec::new(
            "rewrite",
            2,
            ADM,
            NONE,
            Group::Server,
            "2.8.0",
            "Persists the effective configuration to file.",
            rewrite,
        ),
        CommandSpec::new(
            "help",
            2,
            LOADING | STALE | ENDPOINT,
            NONE,
            Group::Server,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            help,
        ),
    ],
)];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let patterns: Vec<&[u8]> = args.skip(2).iter().collect();
    let found = ctx.core.config.matching(&patterns);
    ctx.reply.map(found.len());
    for (name, value) in found {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    }
    Ok(Effect::None)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    let pairs: Vec<(String, String)> =
        (2..args.len()).step_by(2).map(|at| (args.text(at), args.text(at + 1))).collect();
    if let Some(name) = protected(ctx, &pairs) {
        return Err(failed(name, "can't set protected config"));
    }
    if is_loading(ctx.core) && pairs.iter().any(|(name, _)| NOT_WHILE_LOADING.contains(&&*name.to_ascii_lowercase())) {
        return Err(IS_LOADING);
    }
    let set = match (3..args.len()).step_by(2).find(|at| std::str::from_utf8(args.at(*at)).is_err()) {
        // What is kept would be another value, and other plugins' and the overlay's texts can't hold it.
        Some(at) => {
            ctx.core.config.check_names(&pairs).and(Err(SetError::Invalid(args.text(at - 1), NOT_TEXT.to_owned())))
        }
        None => ctx.core.config.set(&pairs),
    };
    match set {
        Ok(()) => {
            apply(ctx.ks, ctx.core, ctx.session);
            ctx.reply.ok();
            Ok(Effect::None)
        }
        Err(SetError::Unknown(name)) => {
            let is_it = |at: &usize| args.text(*at) == name;
            let sent = (2..args.len()).step_by(2).find(is_it).map_or(name.as_bytes(), |at| args.at(at));
            let text = b"ERR Unknown option or number of arguments for CONFIG SET - '";
            Err(CommandError::quoting(&[text, c_text(sent), b"'"]))
        }
        Err(SetError::Immutable(name)) => Err(failed(&name, "can't set immutable config")),
        Err(SetError::Twice(name)) => Err(failed(&name, "duplicate parameter")),
        Err(SetError::Invalid(name, why)) => Err(failed(&name, &why)),
    }
}

const NOT_TEXT: &str = "argument must be valid UTF-8";

/// A load under way was begun with these.
const NOT_WHILE_LOADING: &[&str] = &["appendonly", "repl-diskless-load", "dir"];

fn is_loading(core: &Core) -> bool {
    [Gate::Loading, Gate::AsyncLoading, Gate::Starting].iter().any(|gate| core.gates.is(*gate))
}

/// Where files are written: whoever may choose that may write anywhere, so `enable-protected-configs` says who may.
const PROTECTED: &[&str] = &["dir", "dbfilename"];

/// The first protected parameter that this session may not set.
fn protected<'p>(ctx: &Ctx<'_>, pairs: &'p [(String, String)]) -> Option<&'p str> {
    let info = &ctx.session.info;
    let allowed = match ctx.core.config.live.protected_configs.as_str() {
        "yes" => true,
        "local" => info.loopback || info.unix,
        _ => false,
    };
    let names = pairs.iter().map(|(name, _)| name.as_str());
    names.filter(|_| !allowed).find(|name| PROTECTED.iter().any(|own| own.eq_ignore_ascii_case(name)))
}

fn failed(name: &str, why: &str) -> CommandError {
    CommandError::new(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.core.stats.reset(ctx.ks);
    ctx.reply.ok();
    Ok(Effect::None)
}

fn rewrite(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.is_in_exec() {
        return rewrite_behind_exec(ctx);
    }
    if !ctx.may_block() {
        ctx.core.act(Action::RewriteConfig { reply: None, in_exec: false });
        ctx.reply.ok();
        return Ok(Effect::None);
    }
    let ticket = crate::exec::next_ticket(ctx.core);
    ctx.session.parked = Some(Parked::Async { ticket, command: ctx.command, args: args.to_owned() });
    let session = ctx.session.id;
    ctx.core.act(Action::RewriteConfig { reply: Some((session, ticket)), in_exec: false });
    Ok(Effect::None)
}

/// A sentinel sends it inside MULTI: the file is written right after the transaction, once, and what came of that is answered
/// in this place.
fn rewrite_behind_exec(ctx: &mut Ctx<'_>) -> CommandResult {
    if ctx.session.late.is_none() {
        let ticket = crate::exec::next_ticket(ctx.core);
        ctx.core.act(Action::RewriteConfig { reply: Some((ctx.session.id, ticket)), in_exec: true });
        ctx.session.late = Some(Box::new(Late::new(ticket)));
    }
    let at = ctx.reply.out.len();
    if let Some(late) = &mut ctx.session.late {
        late.mark(at);
    }
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "CONFIG",
        &[
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
        ],
    )
}

/// What the engine itself does after a change.
pub(crate) fn apply(ks: &mut Keyspace, core: &mut Core, me: &mut State) {
    let number = |name: &str| core.config.int(name).max(0) as usize;
    if core.mode == crate::engine::EngineMode::Data {
        let mut limits = *ks.limits();
        limits.hash_entries = number("hash-max-listpack-entries");
        limits.hash_value = number("hash-max-listpack-value");
        limits.list_size = core.config.int("list-max-listpack-size") as _;
        limits.set_ints = number("set-max-intset-entries");
        limits.set_entries = number("set-max-listpack-entries");
        limits.set_value = number("set-max-listpack-value");
        limits.stream_bytes = number("stream-node-max-bytes");
        limits.stream_entries = number("stream-node-max-entries");
        limits.zset_entries = number("zset-max-listpack-entries");
        limits.zset_value = number("zset-max-listpack-value");
        ks.set_limits(limits);
    }
    core.config.live.memory.apply(ks);
    core.room.judge_anew();
    // `maxmemory-clients` may be lower now: who is too much goes within this turn, as in Redis.
    core.recount_all();
    core.look_at_outputs();
    core.notifying = core.config.live.notify.any();
    ks.observe_misses(core.config.live.notify.misses());
    crate::exec::settle_observation(ks, core);
    core.tracking.max_keys = core.config.int("tracking-table-max-keys").max(0) as usize;
    core.acl.pubsub_all = core.config.get("acl-pubsub-default").as_deref() == Some("allchannels");
    core.acl.log.set_max_len(core.config.int("acllog-max-len").max(0) as usize);
    if core.config.live.slower_than_us >= 0 {
        core.slowlog.shorten(core.config.live.slowlog_len);
    }
    let password = core.config.live.requirepass.clone();
    if core.acl.set_requirepass(&password) {
        core.renew_rights(me);
    }
    let replica = core.config.live.output_limits.replica;
    core.journal.set_limits(JournalLimits {
        replica_hard: replica.hard,
        replica_soft: replica.soft,
        replica_soft_ms: replica.soft_s * 1000,
        ..JournalLimits::default()
    });
}
