//! What readers may pin of the journal: who is dropped, and for whom clients write more slowly. Decides only; the pace is
//! kept by whoever reads the clients.

use std::sync::Arc;

use super::Journal;
use super::cursor::{Cursor, CursorClass, Ended};

/// How much is kept, and when a reader is told it fell behind.
#[derive(Clone, Copy, Debug)]
pub struct JournalLimits {
    /// Hard limit of a replica's cursor, bytes (0: none). An online one is dropped there; for one in its full sync writers
    /// are paced from there on, and at twice as much it is dropped.
    pub replica_hard: u64,
    /// Soft limit of an online replica's cursor, bytes (0: none).
    pub replica_soft: u64,
    /// How long the soft limit may be exceeded, ms.
    pub replica_soft_ms: u64,
    /// What a file's cursor may pin before writers are paced. A replica can't slow its primary down: at twice as much the
    /// cursor ends there.
    pub file: u64,
    /// What a feed may pin before it is told it fell behind.
    pub feed: u64,
}

impl Default for JournalLimits {
    fn default() -> Self {
        const MB: u64 = 1 << 20;
        JournalLimits {
            replica_hard: 256 * MB,
            replica_soft: 64 * MB,
            replica_soft_ms: 60_000,
            file: 256 * MB,
            feed: 64 * MB,
        }
    }
}

impl JournalLimits {
    /// As in Redis: a limit below the backlog's size would be useless.
    fn above(self, backlog: u64) -> JournalLimits {
        let raised = |limit: u64| if limit == 0 { 0 } else { limit.max(backlog) };
        JournalLimits { replica_hard: raised(self.replica_hard), replica_soft: raised(self.replica_soft), ..self }
    }

    /// What a reader may pin before writers are paced for it (0: they never are).
    fn share(&self, class: CursorClass) -> u64 {
        match class {
            CursorClass::SyncingReplica => self.replica_hard,
            CursorClass::Persistence => self.file,
            CursorClass::Replica | CursorClass::Feed => 0,
        }
    }

    /// Beyond this a reader is dropped at once (0: never); `follows` on a replica.
    fn most(&self, class: CursorClass, follows: bool) -> u64 {
        match class {
            CursorClass::Replica => self.replica_hard,
            CursorClass::SyncingReplica => self.replica_hard.saturating_mul(2),
            CursorClass::Feed => self.feed,
            CursorClass::Persistence if follows => self.file.saturating_mul(2),
            CursorClass::Persistence => 0,
        }
    }
}

/// How often the pace is halved until it is the slowest.
const HALVINGS: f64 = 7.0;
/// While writers are paced, a reader is looked at whenever it lags this part of its share more.
const STEPS: u64 = 32;

/// A reader that pins much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What it is.
    pub class: CursorClass,
    /// What the log calls it.
    pub name: Arc<str>,
    /// Bytes it has yet to read.
    pub lag: u64,
    /// What it may pin before writers are paced for it.
    pub share: u64,
}

impl Pin {
    /// The bytes that all clients together may write a second: the share where the pace begins, and less the more is pinned.
    /// Of a replica the slowest pace comes where it would be dropped, so that one that takes as much stays.
    pub fn pace(&self) -> u64 {
        let over = self.lag.saturating_sub(self.share) as f64 / self.share.max(1) as f64;
        let halved = if self.class == CursorClass::Persistence { over } else { over * HALVINGS };
        ((self.share as f64 * (-halved.min(HALVINGS)).exp2()) as u64).max(1)
    }
}

/// What a look at all readers found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// For whom writers are paced most.
    pub slowest: Option<Pin>,
    /// Replicas that were dropped, and files of a replica.
    pub dropped: Vec<Pin>,
}

impl Cursor {
    /// Whether it has gone too far. Notes since when it is beyond its soft limit.
    fn is_over(&mut self, limits: &JournalLimits, lag: u64, now_ms: u64, follows: bool) -> bool {
        let beyond = |limit: u64| limit > 0 && lag > limit;
        let soft = self.class == CursorClass::Replica && beyond(limits.replica_soft);
        self.soft_since_ms = soft.then(|| self.soft_since_ms.unwrap_or(now_ms));
        let long = self.soft_since_ms.is_some_and(|since| now_ms.saturating_sub(since) > limits.replica_soft_ms);
        long || beyond(limits.most(self.class, follows))
    }

    /// One turn alone brings more than it may lack: whoever had what came before is given the time to take that.
    fn spare_a_turn(&mut self, limits: &JournalLimits, turn_from: u64, end: u64) {
        let most = limits.replica_hard;
        let large = most > 0 && end.saturating_sub(turn_from) > most;
        if large && self.pos >= self.spared && turn_from.saturating_sub(self.pos) <= most {
            self.spared = end;
        }
    }

    /// Whether writers are paced for it: from its share on, until it is down at half of that.
    fn is_paced(&mut self, share: u64, lag: u64) -> bool {
        self.paced = share > 0 && lag > if self.paced { share / 2 } else { share };
        self.paced
    }

    /// The lag at which it must be looked at again.
    fn next_look(&self, limits: &JournalLimits, lag: u64, follows: bool) -> u64 {
        let share = limits.share(self.class);
        let step = if self.paced { lag.max(share) + share / STEPS } else { share };
        let soft = if self.class == CursorClass::Replica { limits.replica_soft } else { 0 };
        let next = [limits.most(self.class, follows), step, soft].into_iter().filter(|at| *at > 0 && *at >= lag);
        next.min().unwrap_or(u64::MAX)
    }
}

impl Journal {
    /// Sets the limits of cursors.
    pub fn set_limits(&mut self, limits: JournalLimits) {
        self.limits = limits;
        self.look_at = 0;
    }

    /// True if so much was appended that a reader may have gone too far.
    #[inline]
    pub fn is_strained(&self) -> bool {
        self.log.end_pos() > self.look_at
    }

    /// Another turn begins.
    #[inline]
    pub fn turn_over(&mut self) {
        self.turn_from = self.log.end_pos();
    }

    /// Ends readers beyond their limits; `follows` on a replica.
    pub fn enforce_limits(&mut self, now_ms: u64, follows: bool) -> Verdict {
        let end = self.log.end_pos();
        let limits = self.limits.above(self.backlog.unwrap_or(0));
        let (mut verdict, mut ended) = (Verdict::default(), false);
        self.look_at = u64::MAX;
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.ended().is_none()) {
            let (class, share) = (cursor.class, limits.share(cursor.class));
            cursor.spare_a_turn(&limits, self.turn_from, end);
            let from = cursor.counted_from();
            let lag = end - from.min(end);
            let pin = |cursor: &Cursor| {
                let lag = end - cursor.pos.min(end);
                Pin { class, name: cursor.name.clone(), lag, share }
            };
            if cursor.is_over(&limits, lag, now_ms, follows) {
                cursor.end(Ended::Overrun);
                ended = true;
                if class != CursorClass::Feed {
                    verdict.dropped.push(pin(cursor));
                }
                continue;
            }
            if cursor.is_paced(share, lag) {
                let pin = pin(cursor);
                if verdict.slowest.as_ref().is_none_or(|slowest| pin.pace() < slowest.pace()) {
                    verdict.slowest = Some(pin);
                }
            }
            self.look_at = self.look_at.min(from.saturating_add(cursor.next_look(&limits, lag, follows)));
        }
        if ended {
            self.fresh = true;
            self.trim();
        }
        verdict
    }
}
