//! What INFO and commands read inside a turn: numbers that the writer and the loader publish. Owns them; no lock is held longer
//! than it takes to copy one.

use crate::loading::Loading;
use keystead_plugin::InfoOut;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// What the writer says of itself.
#[derive(Debug)]
pub(crate) struct Shown {
    /// `appendonly` as it is wanted.
    pub(crate) enabled: AtomicBool,
    /// A restart loads the file that is written.
    pub(crate) listed: AtomicBool,
    /// Orders to begin a rewrite, or to give up whatever runs (`appendonly no`). Counted in the turn that gives one, so
    /// that whoever asks next sees it.
    given: AtomicU64,
    /// How many of them the writer has carried out.
    handled: AtomicU64,
    /// The count at the last one that gives up: what was ordered before it won't be.
    dropped: AtomicU64,
    /// A rewrite runs.
    pub(crate) rewriting: AtomicBool,
    /// One was asked for and has to wait.
    pub(crate) scheduled: AtomicBool,
    /// When it began, on the monotonic clock.
    pub(crate) rewrite_began: RwLock<Duration>,
    /// Bytes of it so far.
    pub(crate) rewrite_written: AtomicU64,
    /// Its keys so far, and all of them.
    pub(crate) rewrite_keys: [AtomicU64; 2],
    /// Seconds that the last one took; -1 if there was none.
    pub(crate) last_rewrite_s: AtomicI64,
    pub(crate) last_rewrite_ok: AtomicBool,
    pub(crate) rewrites: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) write_ok: AtomicBool,
    pub(crate) size: AtomicU64,
    pub(crate) base_size: AtomicU64,
    /// Bytes that wait to be written: of one batch, or all that a file lacks which can't be.
    pub(crate) buffered: AtomicU64,
    /// Nothing is written until there is a new base.
    pub(crate) given_up: AtomicBool,
    pub(crate) syncing: AtomicBool,
    pub(crate) delayed: AtomicU64,
    /// How many CONFIG RESETSTAT were seen.
    resets: AtomicU64,
    /// The load that runs.
    pub(crate) loading: Mutex<Option<Loading>>,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown {
            enabled: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            given: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            rewriting: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            rewrite_began: RwLock::default(),
            rewrite_written: AtomicU64::new(0),
            rewrite_keys: Default::default(),
            last_rewrite_s: AtomicI64::new(-1),
            last_rewrite_ok: AtomicBool::new(true),
            rewrites: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            write_ok: AtomicBool::new(true),
            size: AtomicU64::new(0),
            base_size: AtomicU64::new(0),
            buffered: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            delayed: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            loading: Mutex::default(),
        }
    }
}

impl Shown {
    /// Counts anew if there was another CONFIG RESETSTAT.
    pub(crate) fn settle(&self, resets: u64) {
        if self.resets.swap(resets, Ordering::AcqRel) != resets {
            for counter in [&self.rewrites, &self.failures, &self.delayed] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }

    /// A rewrite runs or is about to; not one that is about to be given up.
    pub(crate) fn rewrites_now(&self) -> bool {
        let (given, dropped) = (self.given.load(Ordering::Acquire), self.dropped.load(Ordering::Acquire));
        let handled = self.handled.load(Ordering::Acquire);
        given > handled.max(dropped) || (handled >= dropped && self.rewriting.load(Ordering::Acquire))
    }

    /// A rewrite runs.
    pub(crate) fn is_rewriting(&self) -> bool {
        self.rewriting.load(Ordering::Acquire)
    }

    /// A rewrite was ordered.
    pub(crate) fn asked(&self) {
        self.given.fetch_add(1, Ordering::AcqRel);
    }

    /// What runs or was ordered will be given up.
    pub(crate) fn drops(&self) {
        let given = self.given.fetch_add(1, Ordering::AcqRel) + 1;
        self.dropped.store(given, Ordering::Release);
    }

    /// The writer has carried out one of these orders, and published what follows from it.
    pub(crate) fn carried_out(&self) {
        self.handled.fetch_add(1, Ordering::AcqRel);
    }

    /// The load has read so many bytes more.
    pub(crate) fn read(&self, now: Duration, bytes: u64) {
        let line = self.loading.lock().as_mut().and_then(|loading| loading.read(now, bytes));
        if let Some(line) = line {
            log::info!("{line}");
        }
    }

    /// INFO persistence, the part of the append-only file, in Redis' order.
    pub(crate) fn info(&self, now: Duration, out: &mut InfoOut<'_>) {
        let flag = |flag: &AtomicBool| u8::from(flag.load(Ordering::Relaxed));
        let word = |flag: &AtomicBool| if flag.load(Ordering::Relaxed) { "ok" } else { "err" };
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let running = self.rewrites_now();
        let since = now.saturating_sub(*self.rewrite_began.read()).as_secs();
        out.field("aof_enabled", flag(&self.enabled))
            .field("aof_rewrite_in_progress", u8::from(running))
            .field("aof_rewrite_scheduled", flag(&self.scheduled))
            .field("aof_last_rewrite_time_sec", self.last_rewrite_s.load(Ordering::Relaxed))
            .field("aof_current_rewrite_time_sec", if running { since as i64 } else { -1 })
            .field("aof_last_bgrewrite_status", word(&self.last_rewrite_ok))
            .field("aof_rewrites", number(&self.rewrites))
            .field("aof_rewrites_consecutive_failures", number(&self.failures))
            .field("aof_last_write_status", word(&self.write_ok))
            .field("aof_last_cow_size", 0);
        if self.enabled.load(Ordering::Relaxed) {
            out.field("aof_current_size", number(&self.size))
                .field("aof_base_size", number(&self.base_size))
                .field("aof_pending_rewrite", flag(&self.scheduled))
                .field("aof_buffer_length", number(&self.buffered))
                .field("aof_pending_bio_fsync", flag(&self.syncing))
                .field("aof_delayed_fsync", number(&self.delayed))
                .field("keystead_aof_given_up", flag(&self.given_up));
        }
        let loading = self.loading.lock().clone();
        if let Some(loading) = loading {
            loading.info(now, out);
        }
        if running {
            let [done, all] = &self.rewrite_keys;
            out.field("current_save_keys_processed", number(done)).field("current_save_keys_total", number(all));
            out.field("keystead_aof_rewrite_bytes_written", number(&self.rewrite_written));
        }
    }
}
