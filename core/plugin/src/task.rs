//! Tasks and timers of the core.

use crate::host::Host;
use std::time::Duration;

/// A task of the plugin's group. Dropping the handle leaves it running.
#[derive(Clone)]
pub struct Task {
    host: Host,
    id: u64,
}

impl Task {
    pub(crate) fn new(host: Host, id: u64) -> Task {
        Task { host, id }
    }

    /// Drops the task's future; no effect if it is done.
    pub fn cancel(self) {
        self.host.cancel(self.id);
    }
}

/// Ticks at a fixed pace; a late tick doesn't make the next ones early.
pub struct Interval {
    host: Host,
    period: Duration,
    next: Duration,
}

impl Interval {
    pub(crate) fn new(host: Host, period: Duration) -> Interval {
        Interval { host, period, next: host.now() + period }
    }

    /// Waits for the next tick.
    pub async fn tick(&mut self) {
        let now = self.host.now();
        if self.next > now {
            self.host.sleep(self.next - now).await;
        }
        self.next = (self.next + self.period).max(self.host.now());
    }
}
