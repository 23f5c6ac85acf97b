//! The contracts that several plugins share: plain serde types that carry reasons, so that a decision can be explained
//! and rehearsed. Third parties ship theirs as a plain crate of types.

pub mod election;
pub mod filter;
pub mod format;
pub mod persistence;
pub mod selection;

pub use election::{ElectionService, ElectionStrategy};
pub use filter::{FilterService, ReplicaFilters};
pub use format::SnapshotFormat;
pub use persistence::Persistence;
pub use selection::{ReplicaSelection, SelectionService};

use crate::error::Result;
use crate::host::Host;
use crate::snapshot::{Load, Snapshot, load_into_object};
use keystead_abi as abi;
use serde::{Deserialize, Serialize};

/// A snapshot of the core that travels in a message: the receiver takes it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedSnapshot(u64);

impl SharedSnapshot {
    /// Puts a snapshot where the receiver can take it.
    pub fn put(host: &Host, snapshot: Snapshot) -> SharedSnapshot {
        SharedSnapshot(host.share(snapshot.into_object()))
    }

    /// Takes it.
    pub fn take(self, host: &Host) -> Result<Snapshot> {
        Snapshot::new(host.take(self.0, abi::KIND_SNAPSHOT)?)
    }
}

/// A load of the core that travels in a message: the receiver takes it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedLoad(u64);

impl SharedLoad {
    /// Puts a load where the receiver can take it.
    pub fn put(host: &Host, load: Load) -> SharedLoad {
        SharedLoad(host.share(load_into_object(load)))
    }

    /// Takes it.
    pub fn take(self, host: &Host) -> Result<Load> {
        Load::new(host.take(self.0, abi::KIND_LOAD)?)
    }
}
