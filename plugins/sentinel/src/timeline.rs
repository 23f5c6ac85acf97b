//! When what happened in a failover, and why: the last failovers of one primary as steps, for the log line behind a switch
//! and for SENTINEL TIMELINE. Owns the ring and its two forms (text, JSON lines); decides nothing.

use crate::types::Mono;
use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Failovers kept for one primary.
const MAX_RECORDS: usize = 64;
/// Steps kept of one failover.
const MAX_STEPS: usize = 32;

/// One step.
#[derive(Clone, Debug)]
struct Step {
    at: Mono,
    what: &'static str,
    why: String,
}

/// One failover, or a fall that came to nothing.
#[derive(Clone, Debug, Default)]
struct Record {
    steps: Vec<Step>,
    /// Steps in the middle that made room for later ones: many tries until a replica was there.
    left_out: usize,
}

impl Record {
    fn push(&mut self, step: Step) {
        if self.steps.len() == MAX_STEPS {
            self.steps.remove(MAX_STEPS / 2);
            self.left_out += 1;
        }
        self.steps.push(step);
    }

    /// Nothing belongs to it any more.
    fn closed(&self) -> bool {
        self.steps.last().is_some_and(|step| step.what == "switched")
    }
}

/// The ring.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    records: VecDeque<Record>,
}

impl Timeline {
    /// The first step of a new failover. A fall that nobody followed up on makes room.
    pub fn begin(&mut self, now: Mono, what: &'static str, why: String) {
        if self.records.back().is_some_and(|last| last.steps.iter().all(|step| matches!(step.what, "sdown" | "back"))) {
            self.records.pop_back();
        }
        if self.records.len() == MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(Record { steps: vec![Step { at: now, what, why }], left_out: 0 });
    }

    /// A further step; the first one, if what is there has ended: this sentinel heard of a switch and saw no fall.
    pub fn mark(&mut self, now: Mono, what: &'static str, why: String) {
        match self.records.back_mut().filter(|record| !record.closed()) {
            Some(record) => record.push(Step { at: now, what, why }),
            None => self.begin(now, what, why),
        }
    }

    /// A further step of a failover that goes on; nothing where none does.
    pub fn mark_open(&mut self, now: Mono, what: &'static str, why: String) {
        if self.records.back().is_some_and(|record| !record.closed()) {
            self.mark(now, what, why);
        }
    }

    /// The newest `count` failovers, newest first: each as lines for a person.
    pub fn lines(&self, name: &str, now: Mono, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for record in self.newest(count) {
            let Some(first) = record.steps.first() else { continue };
            let took = record.steps.last().map_or(0, |last| last.at.since(first.at));
            lines.push(format!("{name}, {} s ago, {took} ms:", now.since(first.at) / 1000));
            for (n, step) in record.steps.iter().enumerate() {
                if n == MAX_STEPS / 2 && record.left_out > 0 {
                    lines.push(format!("{:>8}     {} steps like these are left out", "...", record.left_out));
                }
                lines.push(format!("{:>8} ms  {}: {}", step.at.since(first.at), step.what, step.why));
            }
        }
        lines
    }

    /// The same as JSON, one line a failover.
    pub fn json(&self, name: &str, now: Mono, count: usize) -> Vec<String> {
        let step = |record: &Record, step: &Step| {
            let ms = record.steps.first().map_or(0, |first| step.at.since(first.at));
            format!("{{\"ms\":{ms},\"what\":{},\"why\":{}}}", quoted(step.what), quoted(&step.why))
        };
        self.newest(count)
            .map(|record| {
                let steps: Vec<String> = record.steps.iter().map(|s| step(record, s)).collect();
                let ago = record.steps.first().map_or(0, |first| now.since(first.at));
                let left_out = record.left_out;
                let more = if left_out > 0 { format!("\"left_out\":{left_out},") } else { String::new() };
                format!("{{\"name\":{},\"ago_ms\":{ago},{more}\"steps\":[{}]}}", quoted(name), steps.join(","))
            })
            .collect()
    }

    fn newest(&self, count: usize) -> impl Iterator<Item = &Record> {
        self.records.iter().rev().take(count)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string doesn't fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// The steps of the last failover, with the time each one took.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(record) = self.records.back() else { return Ok(()) };
        let mut before = record.steps.first().map(|step| step.at);
        for (n, step) in record.steps.iter().enumerate() {
            let took = before.map_or(0, |earlier| step.at.since(earlier));
            write!(f, "{}{} +{took} ms", if n == 0 { "" } else { ", " }, step.what)?;
            before = Some(step.at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shown_as_differences() {
        let mut timeline = Timeline::default();
        timeline.begin(Mono(100), "sdown", "silent for 1000 ms".into());
        timeline.mark(Mono(180), "odown", "#quorum 2/2".into());
        assert_eq!(timeline.to_string(), "sdown +0 ms, odown +80 ms");
        timeline.begin(Mono(500), "sdown", "silent".into());
        assert_eq!(timeline.to_string(), "sdown +0 ms");
    }

    #[test]
    fn failovers_are_kept_and_falls_without_one_are_not() {
        let mut timeline = Timeline::default();
        timeline.begin(Mono(0), "sdown", "it said \"no\"".into());
        timeline.mark(Mono(80), "odown", "2 of 3".into());
        for at in 1..10 {
            timeline.begin(Mono(1000 * at), "sdown", "silent".into());
            timeline.mark(Mono(1000 * at + 1), "back", "it answers".into());
        }
        timeline.begin(Mono(20_000), "sdown", "silent".into());
        let json = timeline.json("m", Mono(21_000), 9);
        assert_eq!(json.len(), 2, "{json:?}");
        assert_eq!(json[0], r#"{"name":"m","ago_ms":1000,"steps":[{"ms":0,"what":"sdown","why":"silent"}]}"#);
        assert!(json[1].contains(r#""why":"it said \"no\"""#), "{json:?}");
        let lines = timeline.lines("m", Mono(21_000), 9);
        assert_eq!(
            lines[2..],
            ["m, 21 s ago, 80 ms:", "       0 ms  sdown: it said \"no\"", "      80 ms  odown: 2 of 3"]
        );
        for at in 0..100 {
            timeline.mark(Mono(30_000 + at), "given up", "no replica".into());
        }
        timeline.mark(Mono(40_000), "switched", "a to b".into());
        let lines = timeline.lines("m", Mono(41_000), 1);
        assert_eq!(lines.len(), MAX_STEPS + 2);
        assert_eq!(lines[MAX_STEPS / 2 + 1], "     ...     70 steps like these are left out");
        assert_eq!(lines[MAX_STEPS + 1], "   20000 ms  switched: a to b");
        assert!(timeline.json("m", Mono(41_000), 1)[0].contains(r#""left_out":70,"steps":["#));
        // What comes behind a switch is no part of it.
        timeline.mark_open(Mono(50_000), "voted", "for c".into());
        timeline.mark(Mono(60_000), "heard", "of epoch 2".into());
        assert_eq!(timeline.lines("m", Mono(61_000), 1), ["m, 1 s ago, 0 ms:", "       0 ms  heard: of epoch 2"]);
        for at in 0..1000 {
            timeline.begin(Mono(at), "failover asked for", String::new());
        }
        assert_eq!(timeline.json("m", Mono(0), usize::MAX).len(), MAX_RECORDS);
    }
}
