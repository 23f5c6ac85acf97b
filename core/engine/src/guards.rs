//! What must hold before a command runs: one ordered list, in Redis' order. Owns the decision only; it reads gates,
//! session and configuration and changes nothing.

use keystead_resp::{Args, Proto};

use crate::acl::{self, Denied};
use crate::core::Core;
use crate::error::CommandError;
use crate::foreign::ForeignBody;
use crate::gates::Gate;
use crate::pause::Pause;
use crate::registry::{Body, Command};
use crate::script::Conditions;
use crate::session::{Kind, State};
use crate::spec::{
    ALLOW_BUSY, DENYOOM, Flags, IN_SUBSCRIBER, LOADING, MAY_REPLICATE, NO_ASYNC_LOADING, NO_AUTH, NO_MULTI,
    NOW_IN_MULTI, READONLY, STALE, WRITE,
};

/// What is to be done with a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Run it now.
    Run,
    /// MULTI is open: queue it, with the flags it has now.
    Queue(Flags),
    /// CLIENT PAUSE: keep it until the pause ends.
    Wait,
    /// Answer an error.
    Refuse(CommandError),
    /// The user may not.
    Deny(Denied),
}

const MULTI_FORBIDS: CommandError = CommandError::fixed("ERR Command not allowed inside a transaction");
const READ_ONLY: CommandError = CommandError::fixed("READONLY You can't write against a read only replica.");
const LEASE_OVER: CommandError =
    CommandError::fixed("READONLY This primary's lease is over: it takes no writes until it holds it again.");
const NO_REPLICAS: CommandError = CommandError::fixed("NOREPLICAS Not enough good replicas to write.");
const STALE_LINK: CommandError =
    CommandError::fixed("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
pub(crate) const IS_LOADING: CommandError = CommandError::fixed("LOADING Redis is loading the dataset in memory");
const DISK_ERROR: CommandError = CommandError::fixed(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);
pub(crate) const OUT_OF_MEMORY: CommandError =
    CommandError::fixed("OOM command not allowed when used memory > 'maxmemory'.");
const NO_KEYSPACE: CommandError = CommandError::fixed("ERR Replica can't interact with the keyspace");

/// What a command would do, seen from outside; of EXEC, what its queue would.
struct Effective {
    /// Flags of the command alone, with these words.
    own: Flags,
    /// Flags of the command or of anything in the queue.
    any: Flags,
    /// Flags that the command and everything in the queue have.
    all: Flags,
    /// One of them may change keys, whether it says so or not.
    may_write: bool,
    /// One of them is a command that writes, and no script: what a script says of itself may be nothing at all.
    writes_itself: bool,
}

fn effective(state: &State, command: &Command, args: Args<'_>) -> Effective {
    let own = match &command.body {
        Body::Foreign(ForeignBody::Sync(body)) => body.flags_now(args, command.flags),
        _ => command.flags,
    };
    match &state.multi {
        Some(multi) if command.name == "exec" => Effective {
            own,
            any: Flags(multi.queue.iter().fold(own.0, |all, queued| all | queued.flags.0)),
            all: Flags(multi.queue.iter().fold(own.0, |all, queued| all & queued.flags.0)),
            may_write: multi.queue.iter().any(|queued| may_write(queued.command, queued.flags)),
            writes_itself: multi.queue.iter().any(|queued| queued.command.flags.has(WRITE)),
        },
        _ => Effective {
            own,
            any: own,
            all: own,
            may_write: may_write(command, own),
            writes_itself: command.flags.has(WRITE),
        },
    }
}

/// A plugin's command that may replicate may write as well: a script that doesn't say what it does. The core's own don't
/// (PUBLISH, PFCOUNT).
fn may_write(command: &Command, flags: Flags) -> bool {
    flags.has(WRITE) || flags.has(MAY_REPLICATE) && matches!(command.body, Body::Foreign(_))
}

/// Whether nothing can stand in a command's way but what is known to be open: no gate, no limit reached, nobody who
/// watches, and a client that may do everything. As [`check`] would find, which needn't be asked then.
#[inline]
pub(crate) fn all_open(core: &Core, state: &State, command: &Command) -> bool {
    state.quick && core.gates.bits() == 0 && !core.watchful && !core.room.out && !command.reserved
}

/// Decides about a command whose name and number of arguments are right.
pub(crate) fn check(core: &Core, state: &State, command: &Command, args: Args<'_>) -> Verdict {
    let flags = effective(state, command, args);
    if let Some(error) = not_at_all(core, state, command) {
        return Verdict::Refuse(error);
    }
    if let Some(user) = &state.rights
        && let Err(denied) = acl::check(user, command, args)
    {
        return Verdict::Deny(denied);
    }
    match refusal(core, state, command, &flags) {
        Some(error) => Verdict::Refuse(error),
        None if pauses(core, state, command, &flags) => Verdict::Wait,
        None if state.multi.is_some() && !command.flags.has(NOW_IN_MULTI) => Verdict::Queue(flags.own),
        None => Verdict::Run,
    }
}

/// What comes before the user's rights are looked at.
fn not_at_all(core: &Core, state: &State, command: &Command) -> Option<CommandError> {
    if let Some(error) = debug_forbidden(core, state, command) {
        return Some(error);
    }
    if !state.authenticated && !command.flags.has(NO_AUTH) {
        return Some(CommandError::NO_AUTH);
    }
    (state.multi.is_some() && command.flags.has(NO_MULTI)).then_some(MULTI_FORBIDS)
}

/// What comes behind them.
fn refusal(core: &Core, state: &State, command: &Command, flags: &Effective) -> Option<CommandError> {
    let gates = core.gates.bits();
    let closed = |gate: Gate| gates & gate as u32 != 0;
    let writes = flags.any.has(WRITE);
    // What is queued takes memory too; the commands that end a transaction must get through.
    let queued = state.multi.is_some() && !matches!(&*command.name, "exec" | "discard" | "quit" | "reset");
    if core.room.out && (queued || flags.any.has(DENYOOM)) {
        return Some(OUT_OF_MEMORY);
    }
    let primary = !closed(Gate::Replica);
    if closed(Gate::DiskError) && core.config.live.stop_writes && primary && (writes || command.name == "ping") {
        return Some(DISK_ERROR);
    }
    // What a read would show may be in memory alone: its reply would wait for the disk.
    let held = flags.any.has(READONLY) && core.barriers.hold();
    if closed(Gate::WriteError) && primary && (writes || held || command.name == "ping") {
        return Some(misconfigured(core));
    }
    if writes && primary && core.gates.few_replicas(core.now.mono_us) {
        return Some(NO_REPLICAS);
    }
    // While the role is handed over writes wait, until their clients are told where to go.
    let waits = flags.may_write && core.is_handing_over();
    if closed(Gate::ReadOnly) && writes && !waits {
        return Some(READ_ONLY);
    }
    if closed(Gate::Lease) && writes && !waits && core.gates.lease_over(core.now.mono_us) {
        return Some(LEASE_OVER);
    }
    if state.proto == Proto::Resp2 && state.subscribed() && !command.flags.has(IN_SUBSCRIBER) {
        let name = &command.full_name;
        return Some(CommandError::new(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        )));
    }
    if closed(Gate::Stale) && !flags.all.has(STALE) && !waits {
        return Some(STALE_LINK);
    }
    if (closed(Gate::Loading) || closed(Gate::Starting)) && !flags.all.has(LOADING) {
        return Some(IS_LOADING);
    }
    // What is written to the data that is about to be replaced would be lost. A script is refused where it writes.
    if closed(Gate::AsyncLoading) && (flags.writes_itself || flags.any.has(NO_ASYNC_LOADING)) {
        return Some(IS_LOADING);
    }
    if let Some(busy) = &core.busy
        && !command.flags.has(ALLOW_BUSY)
    {
        return Some(busy.clone());
    }
    // Redis takes who watches for a replica.
    if (state.kind == Kind::Replica || state.monitor) && flags.any.any(WRITE | READONLY | MAY_REPLICATE) {
        return Some(NO_KEYSPACE);
    }
    None
}

/// A plugin's own words for why it can't take a write.
fn misconfigured(core: &Core) -> CommandError {
    CommandError::new(format!("MISCONF {}", core.gates.write_error()))
}

/// What refuses a script's first write. From the second on nothing does: it would be torn.
pub(crate) fn write_refusal(core: &Core, now: &Conditions) -> Result<(), CommandError> {
    match now {
        Conditions { read_only: true, .. } => Err(READ_ONLY),
        Conditions { disk_error: true, .. } => Err(DISK_ERROR),
        Conditions { write_error: true, .. } => Err(misconfigured(core)),
        Conditions { few_replicas: true, .. } => Err(NO_REPLICAS),
        _ if core.gates.is(Gate::AsyncLoading) => Err(IS_LOADING),
        _ => Ok(()),
    }
}

/// DEBUG is for those whom `enable-debug-command` lets in.
fn debug_forbidden(core: &Core, state: &State, command: &Command) -> Option<CommandError> {
    if !command.reserved {
        return None;
    }
    match core.config.live.debug_command.as_str() {
        "yes" => None,
        "local" if state.info.loopback || state.info.unix => None,
        _ => Some(CommandError::fixed(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
             a local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
        )),
    }
}

fn pauses(core: &Core, state: &State, command: &Command, flags: &Effective) -> bool {
    // Redis takes who watches for a replica here too.
    if !core.is_paused() || state.kind == Kind::Replica || state.monitor {
        return false;
    }
    match core.pause_kind() {
        Pause::Off => false,
        // What a replica publishes isn't replicated: a plugin that pauses so that nothing moves the stream lets it pass, or
        // the sentinels' hellos would park their own links.
        Pause::Write if core.gates.is(Gate::Replica) && core.is_paused_by_plugins_alone() => flags.may_write,
        Pause::Write => flags.any.any(WRITE | MAY_REPLICATE),
        Pause::All => command.full_name != "client|unpause",
    }
}

#[cfg(test)]
mod tests;
