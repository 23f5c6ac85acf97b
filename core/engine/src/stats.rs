//! Counters that INFO shows. Owns numbers only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::Histogram;
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
    last_ms: u64,
    last_value: u64,
    samples: [u64; 16],
    at: usize,
}

impl Rate {
    /// Takes a sample if 100 ms have passed.
    pub fn sample(&mut self, now_ms: u64, value: u64) {
        let past = now_ms.saturating_sub(self.last_ms);
        if past < 100 {
            return;
        }
        let first = self.last_ms == 0;
        let diff = value.saturating_sub(self.last_value);
        (self.last_ms, self.last_value) = (now_ms, value);
        if !first {
            self.samples[self.at] = diff * 1000 / past;
            self.at = (self.at + 1) % self.samples.len();
        }
    }

    /// The mean of the samples, per second.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }

    fn reset(&mut self) {
        self.samples = [0; 16];
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

impl Stats {
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
        } else if self.errors.len() < 128 {
            // A plugin could invent codes without end.
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self, ks: &Keyspace) {
        let (hits, misses) = ks.hits_and_misses();
        let commands = vec![CommandStats::default(); self.commands.len()];
        let histograms = vec![None; commands.len()];
        let (mut ops, mut rate_in, mut rate_out) = (self.ops.clone(), self.rate_in.clone(), self.rate_out.clone());
        ops.last_value = 0;
        rate_in.last_value = 0;
        rate_out.last_value = 0;
        for rate in [&mut ops, &mut rate_in, &mut rate_out] {
            rate.reset();
        }
        self.lazyfree.done.store(0, Ordering::Relaxed);
        *self = Stats {
            lazyfree: self.lazyfree.clone(),
            kept_links: self.kept_links.clone(),
            resets: self.resets + 1,
            commands,
            histograms,
            hits_base: hits,
            misses_base: misses,
            expired_base: ks.expired_total(),
            expired_fields_base: ks.expired_fields_total(),
            evicted_base: ks.evicted_total(),
            ops,
            rate_in,
            rate_out,
            peak_memory: self.peak_memory,
            ..Stats::default()
        };
    }
}
