//! Counters that INFO shows. Owns numbers only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cycles::Cycles;
use crate::histogram::Histogram;
use crate::limits::Peaks;
use keystead_keyspace::Keyspace;
use keystead_keyspace::garbage::Freed;

/// Counters of one command.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    /// How often it ran.
    pub calls: u64,
    /// Time in it, µs. Constant-time commands are sampled, one of 16.
    pub usec: u64,
    /// Refused before it ran.
    pub rejected: u64,
    /// Answered an error.
    pub failed: u64,
}

/// Samples for instantaneous figures, ten a second as in Redis.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// What values are divided by: milliseconds, or a count.
    last_base: u64,
    last_value: u64,
    samples: [u64; 16],
    at: usize,
}

impl Rate {
    /// Takes a sample if 100 ms have passed; true if so.
    pub fn sample(&mut self, now_ms: u64, value: u64) -> bool {
        let due = now_ms.saturating_sub(self.last_base) >= 100;
        if due {
            self.take(now_ms, value, 1000);
        }
        due
    }

    /// Takes a sample of a value for each of what is counted, not for each second.
    pub fn sample_each(&mut self, count: u64, value: u64) {
        self.take(count, value, 1);
    }

    fn take(&mut self, base: u64, value: u64, factor: u64) {
        let (first, past) = (self.last_base == 0, base.saturating_sub(self.last_base));
        let diff = value.saturating_sub(self.last_value);
        (self.last_base, self.last_value) = (base, value);
        if !first {
            self.samples[self.at] = (diff * factor).checked_div(past).unwrap_or(0);
            self.at = (self.at + 1) % self.samples.len();
        }
    }

    /// The mean of the samples, per second.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }

    /// Begins anew, from a value of 0.
    pub(crate) fn reset(&mut self) {
        self.samples = [0; 16];
        self.last_value = 0;
    }
}

/// How long something has lasted, and did before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch {
    since_us: Option<u64>,
    before_us: u64,
}

impl Stopwatch {
    /// It lasts, or doesn't, at this time.
    pub fn note(&mut self, lasts: bool, now_us: u64) {
        match (lasts, self.since_us) {
            (true, None) => self.since_us = Some(now_us),
            (false, Some(_)) => {
                self.before_us = self.total_us(now_us);
                self.since_us = None;
            }
            _ => {}
        }
    }

    /// How long it has lasted now, µs.
    pub fn current_us(&self, now_us: u64) -> u64 {
        self.since_us.map_or(0, |since| now_us.saturating_sub(since))
    }

    /// How long it has lasted in all, µs.
    pub fn total_us(&self, now_us: u64) -> u64 {
        self.before_us + self.current_us(now_us)
    }
}

/// All counters of an engine.
#[derive(Debug, Default)]
pub struct Stats {
    /// By `Command::index`.
    pub commands: Vec<CommandStats>,
    /// Times by `Command::index`, of those that ran.
    pub histograms: Vec<Option<Box<Histogram>>>,
    /// Clients closed to make room (`maxmemory-clients`).
    pub evicted_clients: u64,
    /// Keys too big to be freed in their turn.
    pub lazyfree: Arc<Freed>,
    /// Connections that MIGRATE keeps for the next one.
    pub kept_links: Arc<AtomicU64>,
    /// CONFIG RESETSTAT so far: who keeps counters elsewhere begins anew with it.
    pub resets: u64,
    /// Commands run.
    pub total_commands: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused.
    pub rejected_connections: u64,
    /// Bytes received, reported by the server.
    pub net_in: u64,
    /// Bytes sent, reported by the server.
    pub net_out: u64,
    /// Times that clients' sockets were read.
    pub reads: u64,
    /// Times that clients' sockets were written.
    pub writes: u64,
    /// The largest buffers of clients lately.
    pub buffers: Peaks,
    /// Payloads of RESTORE that were looked through.
    pub payloads_checked: u64,
    /// Time in cycles of active expiry, µs.
    pub expire_us: u64,
    /// Cycles of active expiry that ended before their work did.
    pub expire_unfinished: u64,
    /// Of the keys with a deadline, the share that the last unfinished cycle found expired; 0 behind a finished one.
    pub stale_percent: f64,
    /// Used memory is above `maxmemory`.
    pub over_memory: Stopwatch,
    /// Sessions closed over their output limit.
    pub output_limit_disconnections: u64,
    /// Sessions closed over their query limit.
    pub query_limit_disconnections: u64,
    /// Errors answered, by code.
    pub errors: BTreeMap<String, u64>,
    /// Errors answered.
    pub total_errors: u64,
    /// Subtracted from the keyspace's counts since CONFIG RESETSTAT.
    pub hits_base: u64,
    /// See `hits_base`.
    pub misses_base: u64,
    /// See `hits_base`.
    pub expired_base: u64,
    /// Fields of hashes that had expired before.
    pub expired_fields_base: u64,
    /// See `hits_base`.
    pub evicted_base: u64,
    /// Rounds of the server's loops.
    pub cycles: Cycles,
    /// Commands a second.
    pub ops: Rate,
    /// Bytes in a second.
    pub rate_in: Rate,
    /// Bytes out a second.
    pub rate_out: Rate,
    /// Highest memory seen.
    pub peak_memory: u64,
    /// AUTH and HELLO that failed.
    pub acl_denied_auth: u64,
    /// Commands refused by ACL.
    pub acl_denied_cmd: u64,
    /// Commands refused for a key.
    pub acl_denied_key: u64,
    /// Commands refused for a channel.
    pub acl_denied_channel: u64,
    /// Unexpected errors in the primary's stream.
    pub unexpected_errors: u64,
}

/// Codes that errorstats shows: scripts and plugins can invent them without end.
const MOST_CODES: usize = 128;
/// Under which the others are counted, as Redis 8 names it.
const OTHER_CODES: &str = "ERRORSTATS_OVERFLOW";
/// What the server itself and its plugins answer, which monitoring asks for: counted by name whatever scripts invented.
#[rustfmt::skip]
const OWN_CODES: &[&str] = &[
    "ERR", "BUSY", "BUSYGROUP", "BUSYKEY", "DENIED", "EXECABORT", "INPROG", "INVALIDOBJ", "IOERR", "LOADING", "MASTERDOWN",
    "MISCONF", "NOAUTH", "NOGOODSLAVE", "NOGROUP", "NOMASTERLINK", "NOPERM", "NOPROTO", "NOQUORUM", "NOREPLICAS", "NOSCRIPT",
    "NOTBUSY", "OOM", "READONLY", "UNBLOCKED", "UNKILLABLE", "WRONGPASS", "WRONGTYPE",
];

impl Stats {
    /// Counts a command that ran to its end.
    #[inline]
    pub(crate) fn ran(&mut self, index: usize) {
        self.total_commands += 1;
        self.commands[index].calls += 1;
    }

    /// The histogram of a command that just ran.
    #[inline]
    pub fn histogram(&mut self, index: usize) -> &mut Histogram {
        self.histograms[index].get_or_insert_default()
    }

    /// Counts an error reply by its code.
    pub fn error(&mut self, code: &str) {
        self.total_errors += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
            return;
        }
        let code = if self.errors.len() < MOST_CODES || OWN_CODES.contains(&code) { code } else { OTHER_CODES };
        *self.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self, ks: &Keyspace) {
        let (hits, misses) = ks.hits_and_misses();
        let commands = vec![CommandStats::default(); self.commands.len()];
        let histograms = vec![None; commands.len()];
        let (mut ops, mut rate_in, mut rate_out) = (self.ops.clone(), self.rate_in.clone(), self.rate_out.clone());
        for rate in [&mut ops, &mut rate_in, &mut rate_out] {
            rate.reset();
        }
        let mut cycles = self.cycles.clone();
        cycles.reset();
        self.lazyfree.done.store(0, Ordering::Relaxed);
        *self = Stats {
            lazyfree: self.lazyfree.clone(),
            kept_links: self.kept_links.clone(),
            resets: self.resets + 1,
            buffers: self.buffers,
            commands,
            histograms,
            hits_base: hits,
            misses_base: misses,
            expired_base: ks.expired_total(),
            expired_fields_base: ks.expired_fields_total(),
            evicted_base: ks.evicted_total(),
            cycles,
            ops,
            rate_in,
            rate_out,
            peak_memory: self.peak_memory,
            ..Stats::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_CODES, OTHER_CODES, Stats, Stopwatch};

    #[test]
    fn a_stopwatch_adds_up() {
        let mut watch = Stopwatch::default();
        let steps = [(5, false, 0, 0), (10, true, 0, 0), (30, true, 20, 20), (40, false, 0, 30), (90, true, 0, 30)];
        for (now, lasts, current, total) in steps {
            watch.note(lasts, now);
            assert_eq!((watch.current_us(now), watch.total_us(now)), (current, total), "at {now}");
        }
        assert_eq!((watch.current_us(100), watch.total_us(100)), (10, 40));
    }

    /// Nobody hides OOM from monitoring by making up errors.
    #[test]
    fn invented_codes_push_out_no_known_one() {
        let mut stats = Stats::default();
        for at in 0..1000 {
            stats.error(&format!("MADEUP{at}"));
        }
        stats.error("WRONGTYPE");
        stats.error("MADEUP7");
        assert_eq!(stats.errors.len(), MOST_CODES + 2);
        assert_eq!(stats.errors.get("WRONGTYPE"), Some(&1));
        assert_eq!(stats.errors.get("MADEUP7"), Some(&2));
        assert_eq!(stats.errors.get(OTHER_CODES), Some(&(1000 - MOST_CODES as u64)));
        assert_eq!(stats.total_errors, 1002);
    }
}
