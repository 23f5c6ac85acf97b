//! What the process' memory is used for: the one account from which INFO's memory section and MEMORY STATS are written.
//! Owns the sums and ratios; never writes a reply.

use keystead_keyspace::Keyspace;

use super::info::{replication_buffers, used_memory};
use crate::core::Core;
use crate::session::{Kind, State};

/// All in bytes.
pub(super) struct Footprint {
    /// In use: what was allocated and not freed.
    pub used: u64,
    /// The most that was in use at once.
    pub peak: u64,
    /// In use when the server started.
    pub startup: u64,
    /// Keys, values and tables.
    pub dataset: u64,
    /// Resident, with the program's own pages.
    pub rss: u64,
    /// Resident without a file behind it. The allocator doesn't tell pages in use from pages it holds: this stands for both.
    pub heap: u64,
    /// The machine's.
    pub system: u64,
    /// The journal, up to the backlog's size.
    pub backlog: u64,
    /// The journal beyond it, kept for replicas.
    pub replicas: u64,
    /// What clients hold, as `tot-mem` of CLIENT LIST has it.
    pub clients: u64,
}

/// How many times as much one number is, and how many bytes more.
pub(super) struct Excess {
    pub ratio: f64,
    pub bytes: i64,
}

impl Excess {
    fn of(whole: u64, part: u64) -> Self {
        Self { ratio: whole as f64 / part.max(1) as f64, bytes: whole as i64 - part as i64 }
    }
}

impl Footprint {
    /// `me` asks, and is in its command: it stands beside the sessions.
    pub(super) fn of(ks: &Keyspace, core: &Core, me: &State) -> Self {
        let used = used_memory(ks, core);
        let probe = core.probe.map(|probe| probe()).unwrap_or_default();
        let rss = if probe.rss > 0 { probe.rss } else { used };
        let (backlog, replicas) = replication_buffers(core);
        let clients = core.sessions.iter().map(|session| &session.state).filter(|other| other.id != me.id).chain([me]);
        Self {
            used,
            peak: core.stats.peak_memory.max(used),
            startup: core.startup_memory,
            dataset: ks.mem_bytes() as u64,
            rss,
            heap: if probe.anonymous > 0 { probe.anonymous } else { rss },
            system: probe.total_memory,
            backlog,
            replicas,
            clients: clients.filter(|state| counts(state)).map(|state| state.memory(0) as u64).sum(),
        }
    }

    /// In use, and not for the data.
    pub(super) fn overhead(&self) -> u64 {
        self.used.saturating_sub(self.dataset)
    }

    /// The data's part of what came since the start, in percent.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset, self.used.saturating_sub(self.startup).max(self.dataset))
    }

    /// What is in use of the peak, in percent.
    pub(super) fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    /// Held by the allocator, against what is in use.
    pub(super) fn fragmentation(&self) -> Excess {
        Excess::of(self.heap, self.used)
    }

    /// Resident of the allocator's, against what it holds: the same here.
    pub(super) fn allocator_rss(&self) -> Excess {
        Excess::of(self.heap, self.heap)
    }

    /// Resident of the process, against the allocator's.
    pub(super) fn rss_overhead(&self) -> Excess {
        Excess::of(self.rss, self.heap)
    }

    /// Resident of the process, against what is in use.
    pub(super) fn total_fragmentation(&self) -> Excess {
        Excess::of(self.rss, self.used)
    }
}

/// Replicas and the primary stand apart.
fn counts(state: &State) -> bool {
    matches!(state.class(), Kind::Normal | Kind::PubSub)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}
