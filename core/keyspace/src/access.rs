//! When and how often keys are used, in the 24 bits an entry has for it. Owns both meanings of those bits: seconds of the
//! last access (LRU), or minutes and a logarithmic counter (LFU), as Redis keeps them. Which of them counts is set; when
//! it changes, old bits are read in the new meaning until the key is used again, as in Redis.

use std::cell::Cell;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use crate::entry::Entry;

/// What a fresh key's counter is, so that it isn't evicted before it could be used.
const FRESH: u32 = 5;
const MASK: u32 = 0xff_ffff;

/// How frequency is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lfu {
    /// `lfu-log-factor`: how much harder each step is.
    pub log_factor: u64,
    /// `lfu-decay-time`: minutes after which a counter loses one; 0: never.
    pub decay_minutes: u64,
}

/// The clock of accesses, and how they are noted.
pub(crate) struct Access {
    /// Seconds, 24 bits.
    seconds: u32,
    /// Minutes, 16 bits.
    minutes: u32,
    lfu: Option<Lfu>,
    /// Whether uses are noted at all.
    notes: bool,
    dice: Cell<u64>,
    /// The keys, hashed, that this command used last: a command uses a key once, however often it looks it up.
    used: Cell<[u64; 2]>,
}

impl Access {
    pub(crate) fn new(dice: u64) -> Self {
        Access { seconds: 0, minutes: 0, lfu: None, notes: true, dice: Cell::new(dice), used: Cell::default() }
    }

    /// As this one, with a generator of its own.
    pub(crate) fn again(&self) -> Self {
        Access { dice: Cell::new(self.random_u64()), used: Cell::default(), ..*self }
    }

    /// The time of a clock that nobody sets back: behind that every key would pass for unused in half a year.
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.seconds = (now_ms / 1000) as u32 & MASK;
        self.minutes = (now_ms / 60_000) as u32 & 0xffff;
    }

    pub(crate) fn set_lfu(&mut self, lfu: Option<Lfu>) {
        self.lfu = lfu;
    }

    pub(crate) fn set_notes(&mut self, on: bool) {
        self.notes = on;
    }

    pub(crate) fn lfu(&self) -> Option<Lfu> {
        self.lfu
    }

    /// The bits of a fresh key.
    pub(crate) fn fresh(&self) -> u32 {
        if self.lfu.is_some() { self.with_frequency(FRESH as u8) } else { self.seconds }
    }

    /// The bits of a key that is used this often.
    pub(crate) fn with_frequency(&self, frequency: u8) -> u32 {
        (self.minutes << 8) | u32::from(frequency)
    }

    /// The bits of a key that was used so long ago.
    pub(crate) fn with_idle(&self, seconds: u64) -> u32 {
        self.seconds.wrapping_sub(seconds as u32) & MASK
    }

    /// Another command begins: what it uses counts again.
    #[inline]
    pub(crate) fn begin_command(&self) {
        if self.lfu.is_some() {
            self.used.take();
        }
    }

    /// Notes that a key was used, unless uses don't count now.
    #[inline]
    pub(crate) fn renew(&self, entry: &Entry) {
        if !self.notes {
            return;
        }
        match self.lfu {
            None => entry.set_access(self.seconds),
            Some(lfu) if self.is_first_use(entry) => {
                entry.set_access(self.with_frequency(self.bump(self.frequency(entry), lfu)));
            }
            Some(_) => {}
        }
    }

    /// Commands of two keys look them up in turn, thus two are remembered; of those with more none looks twice.
    fn is_first_use(&self, entry: &Entry) -> bool {
        let hash = FixedState::default().hash_one(entry.key());
        let [last, before] = self.used.get();
        let first = hash != last && hash != before;
        if first {
            self.used.set([hash, last]);
        }
        first
    }

    /// Seconds since the key was used.
    pub(crate) fn idle_secs(&self, entry: &Entry) -> u64 {
        u64::from(self.seconds.wrapping_sub(entry.access()) & MASK)
    }

    /// The counter, less what it lost since the last use.
    pub(crate) fn frequency(&self, entry: &Entry) -> u8 {
        let bits = entry.access();
        let since = u64::from(self.minutes.wrapping_sub(bits >> 8) & 0xffff);
        let lost = self.lfu.map_or(0, |lfu| since.checked_div(lfu.decay_minutes).unwrap_or(0));
        (bits as u8).saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX))
    }

    /// One use more: the higher the counter, the less likely it rises.
    fn bump(&self, counter: u8, lfu: Lfu) -> u8 {
        let above = u64::from(counter).saturating_sub(u64::from(FRESH));
        let rises = match above.saturating_mul(lfu.log_factor).saturating_add(1) {
            1 => true,
            odds => self.random_u64().is_multiple_of(odds),
        };
        counter.saturating_add(u8::from(rises))
    }

    pub(crate) fn random_u64(&self) -> u64 {
        // splitmix64
        let dice = self.dice.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.dice.set(dice);
        let mut z = dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Value;

    fn counting() -> (Access, Entry) {
        let mut access = Access::new(7);
        access.set_lfu(Some(Lfu { log_factor: 10, decay_minutes: 1 }));
        access.set_now(1_700_000_000_000);
        let entry = Entry::new(b"k", Value::Int(1), None, access.fresh());
        (access, entry)
    }

    #[test]
    fn a_counter_rises_as_redis_documents_it() {
        // redis.conf: with a factor of 10, a thousand hits give about 18, a million saturate.
        let (access, entry) = counting();
        assert_eq!(access.frequency(&entry), 5);
        let uses = |times| {
            (0..times).for_each(|_| {
                access.begin_command();
                access.renew(&entry);
            })
        };
        uses(1000);
        assert!((14..=22).contains(&access.frequency(&entry)), "{}", access.frequency(&entry));
        uses(1_000_000);
        assert_eq!(access.frequency(&entry), 255);
    }

    #[test]
    fn a_counter_falls_with_the_minutes_and_never_below_nothing() {
        let (mut access, entry) = counting();
        access.set_now(1_700_000_000_000 + 3 * 60_000);
        assert_eq!(access.frequency(&entry), 2);
        access.set_now(1_700_000_000_000 + 3_000 * 60_000);
        assert_eq!(access.frequency(&entry), 0);
        access.set_lfu(Some(Lfu { log_factor: 10, decay_minutes: 0 }));
        assert_eq!(access.frequency(&entry), 5);
    }

    #[test]
    fn seconds_wrap_with_their_24_bits() {
        let mut access = Access::new(1);
        access.set_now(u64::from(MASK) * 1000);
        let entry = Entry::new(b"k", Value::Int(1), None, access.fresh());
        access.set_now((u64::from(MASK) + 10) * 1000);
        assert_eq!(access.idle_secs(&entry), 10);
        access.renew(&entry);
        assert_eq!(access.idle_secs(&entry), 0);
    }
}
