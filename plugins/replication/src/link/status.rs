//! What a link looks like from outside: for INFO, ROLE and the stale gate.
//!
//! Owns the words; reads the machine's state and changes nothing.

use super::{Link, State};
use std::time::Duration;

/// ROLE's word for the state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// No primary.
    #[default]
    None,
    /// Between two attempts.
    Connect,
    /// Waiting for the connection.
    Connecting,
    /// Asking and answering.
    Handshake,
    /// The payload is on its way, or being loaded.
    Sync,
    /// Streaming.
    Connected,
}

impl Phase {
    /// As ROLE prints it.
    pub fn word(self) -> &'static str {
        match self {
            Phase::None => "none",
            Phase::Connect => "connect",
            Phase::Connecting => "connecting",
            Phase::Handshake => "handshake",
            Phase::Sync => "sync",
            Phase::Connected => "connected",
        }
    }
}

/// How far a full resync is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// Announced size, if any.
    pub total: Option<u64>,
    /// Bytes received.
    pub read: u64,
    /// Last time some came.
    pub last_io: Duration,
}

/// A link, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// Last time the primary said something, while connected.
    pub last_io: Option<Duration>,
    /// A full resync under way.
    pub sync: Option<SyncProgress>,
    /// When a link that was up went down.
    pub down_since: Option<Duration>,
    /// The primary came back without what we have, and our data was kept.
    pub kept_data: bool,
    /// The primary follows us, over any number of hops.
    pub looped: bool,
}

impl Link {
    /// The link as INFO and ROLE show it.
    pub fn status(&self) -> Status {
        let kept_data = self.refused.is_some();
        let mut s = Status { down_since: self.down_since, kept_data, looped: self.looped, ..Status::default() };
        match &self.state {
            State::Off => {}
            State::Waiting { .. } => s.phase = Phase::Connect,
            State::Connecting { .. } => s.phase = Phase::Connecting,
            State::Handshake { .. } | State::Psync { .. } => s.phase = Phase::Handshake,
            State::Announced { last_io, .. } => {
                s.phase = Phase::Sync;
                s.sync = Some(SyncProgress { total: None, read: 0, last_io: *last_io });
            }
            State::Receiving { last_io, transfer, .. } => {
                s.phase = Phase::Sync;
                s.sync = Some(SyncProgress { total: transfer.total(), read: transfer.got(), last_io: *last_io });
            }
            State::Loading { last_sign, .. } => {
                s.phase = Phase::Sync;
                s.sync = Some(SyncProgress { total: None, read: 0, last_io: *last_sign });
            }
            State::Streaming { last_io, .. } => {
                s.phase = Phase::Connected;
                s.last_io = Some(*last_io);
            }
        }
        s
    }

    /// Is the stream ours?
    pub fn up(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }
}
