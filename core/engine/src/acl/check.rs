//! The decision: may this user run this command with these arguments. Pure; keys come from the extractor that execution
//! and COMMAND GETKEYS use.

use super::user::{Selector, User};
use crate::args::Args;
use crate::error::CommandError;
use crate::glob;
use crate::keys;
use crate::registry::Command;
use crate::spec::{KeySpec, NO_AUTH, PUBSUB, Use};

/// What is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command itself.
    Command,
    /// The key at this position.
    Key(usize),
    /// The channel at this position.
    Channel(usize),
}

impl Denied {
    /// `command`, `key`, `channel`: the reason in ACL LOG.
    pub fn reason(self) -> &'static str {
        match self {
            Denied::Command => "command",
            Denied::Key(_) => "key",
            Denied::Channel(_) => "channel",
        }
    }

    /// What is answered. Names of keys and channels stay out of it.
    pub fn error(self, user: &str, command: &Command) -> CommandError {
        match self {
            Denied::Command => {
                let name = &command.full_name;
                CommandError::new(format!("NOPERM User {user} has no permissions to run the '{name}' command"))
            }
            Denied::Key(_) => CommandError::fixed("NOPERM No permissions to access a key"),
            Denied::Channel(_) => CommandError::fixed("NOPERM No permissions to access a channel"),
        }
    }

    /// What ACL DRYRUN answers: the same, with the name.
    pub fn explained(self, user: &str, command: &Command, args: Args<'_>) -> Vec<u8> {
        let (what, at) = match self {
            Denied::Command => {
                let name = &command.full_name;
                return format!("User {user} has no permissions to run the '{name}' command").into_bytes();
            }
            Denied::Key(at) => ("key", at),
            Denied::Channel(at) => ("channel", at),
        };
        let name = args.get(at).unwrap_or_default();
        [format!("User {user} has no permissions to access the '").as_bytes(), name, format!("' {what}").as_bytes()]
            .concat()
    }

    /// Why a queued command may no longer run.
    pub fn in_exec(self) -> &'static str {
        match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments to the command",
        }
    }
}

/// Decides. The first selector that allows everything will do; of the refusals the one that came furthest is told.
pub fn check(user: &User, command: &Command, args: Args<'_>) -> Result<(), Denied> {
    let mut keys = None;
    let mut worst = Denied::Command;
    for selector in &user.selectors {
        match selector.check(command, args, &mut keys) {
            Ok(()) => return Ok(()),
            Err(denied) => worst = worst.max(denied),
        }
    }
    Err(worst)
}

/// May the user read any key with this command: SORT's BY and GET look at keys that no argument names.
pub fn reads_every_key(user: &User, command: &Command, args: Args<'_>) -> bool {
    let mut keys = None;
    let all = |one: &Selector| one.all_keys || one.keys.iter().any(|known| known.read && known.pattern == b"*");
    user.selectors.iter().any(|one| one.check(command, args, &mut keys).is_ok() && all(one))
}

/// May the user listen to a channel (or to a pattern, literally).
pub fn may_listen(user: &User, name: &[u8], pattern: bool) -> bool {
    user.selectors.iter().any(|one| one.channel(name, pattern))
}

impl Selector {
    /// `found` keeps the keys for the next selector.
    fn check(&self, command: &Command, args: Args<'_>, found: &mut Option<Vec<(usize, Use)>>) -> Result<(), Denied> {
        if !command.flags.has(NO_AUTH) && !self.allows(command, first_argument(command, args)) {
            return Err(Denied::Command);
        }
        if !self.all_keys && !matches!(command.keys, KeySpec::None) {
            let found = found.get_or_insert_with(|| keys::found(command, args));
            let bad = found.iter().find(|(at, how)| !self.key(args.get(*at).unwrap_or_default(), *how));
            if let Some((at, _)) = bad {
                return Err(Denied::Key(*at));
            }
        }
        if !self.all_channels && command.flags.has(PUBSUB) {
            let (positions, pattern) = channels(command, args);
            for at in positions {
                if !self.channel(args.get(at).unwrap_or_default(), pattern) {
                    return Err(Denied::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn key(&self, key: &[u8], how: Use) -> bool {
        let enough = |read: bool, write: bool| (read || !how.reads()) && (write || !how.writes());
        self.keys.iter().any(|known| enough(known.read, known.write) && glob::matches(&known.pattern, key, false))
    }

    /// A pattern must be among those of the user, letter by letter; a channel must match one.
    fn channel(&self, name: &[u8], pattern: bool) -> bool {
        let fits = |known: &Vec<u8>| if pattern { known == name } else { glob::matches(known, name, false) };
        self.all_channels || self.channels.iter().any(fits)
    }
}

/// The argument that `+command|argument` is about.
fn first_argument<'a>(command: &Command, args: Args<'a>) -> Option<&'a [u8]> {
    args.get(if command.full_name.contains('|') { 2 } else { 1 })
}

/// The positions of channels that a command needs rights for, and whether they are patterns. Nobody needs any to leave.
fn channels(command: &Command, args: Args<'_>) -> (std::ops::Range<usize>, bool) {
    match command.full_name.as_str() {
        "subscribe" | "ssubscribe" => (1..args.len(), false),
        "psubscribe" => (1..args.len(), true),
        "publish" | "spublish" => (1..args.len().min(2), false),
        _ => (0..0, false),
    }
}
