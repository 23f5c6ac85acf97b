//! LATENCY: events that took longer than `latency-monitor-threshold`. Owns the last samples of each event; times come from
//! outside.

use std::collections::{BTreeMap, VecDeque};

/// Redis keeps so many samples of an event.
const SAMPLES: usize = 160;

/// What is known of an event.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Second since the epoch and milliseconds, oldest first; at most one sample per second.
    pub samples: VecDeque<(u64, u64)>,
    /// The longest ever seen.
    pub max_ms: u64,
}

/// The latency monitor.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: BTreeMap<&'static str, Event>,
}

impl LatencyMonitor {
    /// Adds a sample. Within one second only the longest is kept, as in Redis.
    pub fn add(&mut self, event: &'static str, time_s: u64, ms: u64) {
        let event = self.events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        match event.samples.back_mut() {
            Some(last) if last.0 == time_s => last.1 = last.1.max(ms),
            _ => event.samples.push_back((time_s, ms)),
        }
        if event.samples.len() > SAMPLES {
            event.samples.pop_front();
        }
    }

    /// All events by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Event)> {
        self.events.iter().map(|(name, event)| (*name, event))
    }

    /// One event.
    pub fn event(&self, name: &str) -> Option<&Event> {
        self.events.get(name)
    }

    /// Forgets some events, or all; gives how many.
    pub fn reset(&mut self, names: &[String]) -> usize {
        let before = self.events.len();
        self.events
            .retain(|name, _| !names.is_empty() && !names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
        before - self.events.len()
    }
}
