//! Waiting for a condition with a deadline: the only way a test may let time pass. It never sleeps blindly.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon, on a slow and shared machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Polls `probe` until it gives a value; `None` after `limit`.
pub fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if start.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Polls `holds` until it is true and panics with `what` when the deadline passes first.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    if eventually(limit, || holds().then_some(())).is_none() {
        panic!("waited {limit:?} in vain: {what}");
    }
}
