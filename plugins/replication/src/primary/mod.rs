//! The primary's side: one `Peer` per replica, from PSYNC to the last acknowledgement.
//!
//! `Peer` is a pure machine over the state of one replica (`step(now, event) → actions`); `registry` is what the
//! rest of the plugin may read about all of them at any time without a lock. Owns timeouts, when a replica counts
//! as online, and what REPLCONF means. Never touches a socket: the shell in `serve` does.

mod peer;
mod registry;
pub mod replconf;

pub use peer::{Action, Event, Limits, Peer};
pub use registry::{PeerState, Registry, Shared};
