//! What a command did to the data, as its return value. The journal is fed from it and from nothing else, so a handler
//! that forgets to say does not compile. Owns only the types.

use crate::args::OwnedArgs;
use crate::error::CommandError;

/// What must be propagated after a command.
#[must_use = "an effect that is dropped never reaches replicas"]
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changed.
    None,
    /// Propagate the command as the client sent it.
    AsSent,
    /// Propagate this command instead of the one that was sent.
    Instead(OwnedArgs),
    /// Propagate these commands, in order, as one unit.
    Many(Vec<OwnedArgs>),
    /// The effect was recorded already, through `Ctx::instead` or `Ctx::also`.
    Recorded(Recorded),
}

/// Proof that a handler recorded its effect through its context. Only the context can make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded(pub(crate) ());

/// How every handler ends.
pub type CommandResult = Result<Effect, CommandError>;

/// Who gets a record. Only records for replication move the replication offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets(pub u8);

impl Targets {
    /// Replicas.
    pub const REPLICATION: Targets = Targets(1);
    /// Append-only files and the like.
    pub const PERSISTENCE: Targets = Targets(2);
    /// Change feeds.
    pub const FEEDS: Targets = Targets(4);
    /// Everyone: the usual case.
    pub const ALL: Targets = Targets(7);
    /// What a writable replica's own writes go to: nobody downstream may see them.
    pub const LOCAL: Targets = Targets(6);

    /// True if all of `other` are among these targets.
    pub fn includes(self, other: Targets) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if nobody is left.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOr for Targets {
    type Output = Targets;
    fn bitor(self, other: Targets) -> Targets {
        Targets(self.0 | other.0)
    }
}

/// Who caused a command to run. Replication and loading bypass the guards that are meant for clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client's own command.
    #[default]
    Client,
    /// The stream of the primary this node follows.
    Replication,
    /// A file that is being loaded.
    Loading,
    /// The server itself or a plugin: expiry, eviction, `Host::exec`.
    Internal,
}
