//! The words of the host's calls: origins, targets, roles, gates, pauses, filters. Types and their numbers only.

use keystead_abi::{self as abi, Str};

/// Where a command pretends to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a hook: a client, or the server itself. In `exec`: the plugin's own command; guards for clients don't hold.
    Client,
    /// The primary's stream: bypasses read-only, memory limits, pause and logical expiry.
    Replication,
    /// Data being loaded: nothing is propagated.
    Loading,
}

impl Origin {
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            Origin::Client => abi::ORIGIN_CLIENT,
            Origin::Replication => abi::ORIGIN_REPLICATION,
            Origin::Loading => abi::ORIGIN_LOADING,
        }
    }

    pub(crate) fn from_raw(raw: u32) -> Origin {
        match raw {
            abi::ORIGIN_REPLICATION => Origin::Replication,
            abi::ORIGIN_LOADING => Origin::Loading,
            _ => Origin::Client,
        }
    }
}

/// Who reads a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets(pub u32);

impl Targets {
    /// Replicas only.
    pub const REPLICAS: Targets = Targets(abi::TARGET_REPLICAS);
    /// Persistence only.
    pub const PERSISTENCE: Targets = Targets(abi::TARGET_PERSISTENCE);
    /// Nobody.
    pub const NONE: Targets = Targets(0);
    /// Everyone.
    pub const ALL: Targets = Targets(abi::TARGET_REPLICAS | abi::TARGET_PERSISTENCE | abi::TARGET_FEEDS);
}

/// What this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A primary.
    Primary,
    /// A replica of this primary. Expired keys are hidden, not deleted.
    Replica {
        /// The primary's host.
        host: String,
        /// The primary's port.
        port: u16,
    },
}

impl Role {
    pub(crate) fn with_raw<R>(&self, f: impl FnOnce(&abi::Role) -> R) -> R {
        match self {
            Role::Primary => f(&abi::Role { role: abi::ROLE_PRIMARY, port: 0, host: Str::new(b"") }),
            Role::Replica { host, port } => {
                f(&abi::Role { role: abi::ROLE_REPLICA, port: u32::from(*port), host: Str::new(host.as_bytes()) })
            }
        }
    }
}

/// A gate that the guards look at before each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Writes of clients are refused with -READONLY.
    ReadOnly,
    /// Data is stale: most commands are refused with -MASTERDOWN.
    Stale,
    /// Data is being loaded: most commands are refused with -LOADING.
    Loading,
    /// Too few good replicas: writes are refused with -NOREPLICAS.
    FewReplicas,
    /// The disk failed: writes are refused with -MISCONF.
    DiskError,
    /// Data is being loaded while the old data is served.
    AsyncLoading,
}

impl Gate {
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            Gate::ReadOnly => abi::GATE_READ_ONLY,
            Gate::Stale => abi::GATE_STALE,
            Gate::Loading => abi::GATE_LOADING,
            Gate::FewReplicas => abi::GATE_FEW_REPLICAS,
            Gate::DiskError => abi::GATE_DISK_ERROR,
            Gate::AsyncLoading => abi::GATE_ASYNC_LOADING,
        }
    }
}

/// What a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseKind {
    /// Writes and commands that may replicate.
    Write,
    /// Every command.
    All,
}

impl PauseKind {
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            PauseKind::Write => abi::PAUSE_WRITE,
            PauseKind::All => abi::PAUSE_ALL,
        }
    }
}

/// Which sessions to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFilter {
    /// Normal and pub/sub clients.
    Clients,
    /// Normal clients.
    Normal,
    /// Pub/sub clients.
    PubSub,
    /// Replicas.
    Replicas,
    /// Those whose replies wait for what isn't confirmed.
    Held,
    /// The session with this id.
    Id(u64),
}

impl ClientFilter {
    pub(crate) fn to_raw(self) -> abi::KillFilter {
        let (kinds, id) = match self {
            ClientFilter::Clients => (abi::KILL_NORMAL | abi::KILL_PUBSUB, 0),
            ClientFilter::Normal => (abi::KILL_NORMAL, 0),
            ClientFilter::PubSub => (abi::KILL_PUBSUB, 0),
            ClientFilter::Replicas => (abi::KILL_REPLICA, 0),
            ClientFilter::Held => (abi::KILL_HELD, 0),
            ClientFilter::Id(id) => (0, id),
        };
        abi::KillFilter { kinds, reserved: 0, id, except: 0 }
    }
}

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownKind {
    /// As SIGTERM does it.
    Clean,
    /// At once, with a failure as exit code.
    Failed,
}
