//! Gates: facts that plugins and the server set at any time and that the guards read before each command. Owns one
//! atomic word; decides nothing (the guards do).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One condition that closes some commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Gate {
    /// Writes from clients are refused: this is a read-only replica.
    ReadOnly = 1,
    /// The link to the primary is down and stale data must not be served.
    Stale = 2,
    /// A data set is being loaded.
    Loading = 4,
    /// Fewer good replicas than `min-replicas-to-write`.
    FewReplicas = 8,
    /// The last save failed. Writes stop if `stop-writes-on-bgsave-error` is on.
    DiskError = 16,
    /// Loading, but the old data set is served meanwhile.
    AsyncLoading = 32,
    /// This node follows a primary, writable or not: expired keys are hidden, not deleted, and nothing is evicted.
    Replica = 64,
    /// The server is starting: its plugins load data and aren't ready. Clients see the same as while loading.
    Starting = 128,
    /// A plugin can't write what it must: writes are refused with its own words.
    WriteError = 256,
    /// Writes from clients are taken up to a moment only: this primary holds a lease. See [`Gates::write_until`].
    Lease = 512,
    /// Enough good replicas are known up to a moment only. See [`Gates::enough_replicas_until`].
    Replicas = 1024,
}

/// All gates of one engine, shared between the turn and everybody else. Everything is open at first.
#[derive(Debug, Default)]
pub struct Gates {
    bits: AtomicU32,
    lease_end_us: AtomicU64,
    replicas_end_us: AtomicU64,
    write_error: Mutex<String>,
}

impl Gates {
    /// Closes (true) or opens (false) one gate.
    pub fn set(&self, gate: Gate, closed: bool) {
        if closed {
            self.bits.fetch_or(gate as u32, Ordering::Release);
        } else {
            self.bits.fetch_and(!(gate as u32), Ordering::Release);
        }
    }

    /// True if the gate is closed.
    pub fn is(&self, gate: Gate) -> bool {
        self.bits() & gate as u32 != 0
    }

    /// All gates at once, for the fast check: zero when nothing is closed.
    pub fn bits(&self) -> u32 {
        self.bits.load(Ordering::Acquire)
    }

    /// Clients' writes are taken before this moment of the monotonic clock, in microseconds; `None`: always. The guards
    /// compare it with the turn's clock, so that nobody has to be awake for the lease to end.
    pub fn write_until(&self, mono_us: Option<u64>) {
        self.lease_end_us.store(mono_us.unwrap_or(u64::MAX), Ordering::Release);
        self.set(Gate::Lease, mono_us.is_some());
    }

    /// When the lease ends that writes rest on, if they do.
    pub fn lease_end(&self) -> Option<u64> {
        self.is(Gate::Lease).then(|| self.lease_end_us.load(Ordering::Acquire))
    }

    /// The lease that writes rest on has ended by then.
    pub fn lease_over(&self, mono_us: u64) -> bool {
        self.lease_end().is_some_and(|end| mono_us >= end)
    }

    /// There are `min-replicas-to-write` good replicas up to this moment of the monotonic clock, in microseconds, if none is
    /// heard again; `None`: nobody asks for any. A process that stood still refuses writes with its first turn.
    pub fn enough_replicas_until(&self, mono_us: Option<u64>) {
        self.replicas_end_us.store(mono_us.unwrap_or(u64::MAX), Ordering::Release);
        self.set(Gate::Replicas, mono_us.is_some());
    }

    /// There are too few good replicas for a write.
    pub fn few_replicas(&self, mono_us: u64) -> bool {
        let late = || mono_us >= self.replicas_end_us.load(Ordering::Acquire);
        self.is(Gate::FewReplicas) || (self.is(Gate::Replicas) && late())
    }

    /// Closes the gate for writes with these words; empty ones open it.
    pub fn refuse_writes(&self, why: &str) {
        why.clone_into(&mut self.write_error.lock().unwrap_or_else(PoisonError::into_inner));
        self.set(Gate::WriteError, !why.is_empty());
    }

    /// Why writes are refused.
    pub fn write_error(&self) -> String {
        self.write_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
