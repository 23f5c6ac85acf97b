//! What went through the links to replicas and to the primary, for INFO: bytes and how many reads or writes they took, since
//! CONFIG RESETSTAT and lately.
//!
//! Owns counters only. Who reads and writes the links adds; `cron` closes each second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    total: AtomicU64,
    times: AtomicU64,
    /// The total when the running second began.
    begun_at: AtomicU64,
    last_second: AtomicU64,
}

impl Meter {
    /// So many bytes went through at once.
    pub(crate) fn add(&self, bytes: usize) {
        self.total.fetch_add(bytes as u64, Relaxed);
        self.times.fetch_add(1, Relaxed);
    }

    /// How often some did.
    pub(crate) fn times(&self) -> u64 {
        self.times.load(Relaxed)
    }

    /// Bytes so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Kilobytes in the last whole second, as INFO writes rates.
    pub(crate) fn kbps(&self) -> String {
        format!("{:.2}", self.last_second.load(Relaxed) as f64 / 1024.0)
    }

    /// A second has passed.
    pub(crate) fn second(&self) {
        let total = self.total();
        let before = self.begun_at.swap(total, Relaxed);
        self.last_second.store(total.saturating_sub(before), Relaxed);
    }

    /// Begins anew.
    pub(crate) fn reset(&self) {
        for counter in [&self.total, &self.times, &self.begun_at, &self.last_second] {
            counter.store(0, Relaxed);
        }
    }
}

/// Both directions.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// From the primary.
    pub(crate) received: Meter,
    /// To replicas.
    pub(crate) sent: Meter,
}

impl Traffic {
    /// A second has passed.
    pub(crate) fn second(&self) {
        self.received.second();
        self.sent.second();
    }

    /// Begins anew.
    pub(crate) fn reset(&self) {
        self.received.reset();
        self.sent.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::Meter;

    #[test]
    fn the_last_second_is_told_until_the_next_ends() {
        let meter = Meter::default();
        meter.add(2048);
        assert_eq!((meter.total(), meter.kbps().as_str()), (2048, "0.00"));
        meter.second();
        meter.add(512);
        assert_eq!((meter.total(), meter.times(), meter.kbps().as_str()), (2560, 2, "2.00"));
        meter.second();
        assert_eq!(meter.kbps(), "0.50");
        meter.reset();
        assert_eq!((meter.total(), meter.times(), meter.kbps().as_str()), (0, 0, "0.00"));
        meter.second();
        assert_eq!(meter.kbps(), "0.00");
    }
}
