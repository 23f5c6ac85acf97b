//! The bytes of a derived history, kept for its replicas as the journal keeps those of the whole.
//!
//! Owns the segments, who reads them, and the marks: which place of the whole stream each of its places stands for. A
//! reader that syncs pins what it needs, and the feed waits when that is much; one that is online and falls behind too far
//! is dropped. Never looks at a command.

use crate::bell::Bell;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What syncing replicas may pin before the feed waits, and with it the journal, and with that the writers.
const MOST_PINNED: u64 = 64 << 20;

/// Why a reader is dropped that leaves too much unread.
pub(crate) const TOO_FAR: &str = "it is too far behind (client-output-buffer-limit replica)";

/// A place where units end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Bytes of the whole stream.
    pub(crate) whole: u64,
    /// Bytes of the derived one.
    pub(crate) derived: u64,
    /// The database that the derived one has selected.
    pub(crate) db: Option<u32>,
}

/// `client-output-buffer-limit replica`; zeros switch a limit off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Behind by more than this: dropped at once.
    pub(crate) hard: u64,
    /// Behind by more than this for so long: dropped.
    pub(crate) soft: u64,
    /// How long.
    pub(crate) soft_for: Duration,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
    bell: Bell,
}

#[derive(Debug, Default)]
struct Inner {
    segments: VecDeque<(u64, Bytes)>,
    first: u64,
    end: u64,
    /// Where the feed is.
    last: Mark,
    /// Those since the oldest of the readers came whose cut isn't found, while there are any. Of those at one place of the
    /// derived stream the first is enough.
    marks: VecDeque<Mark>,
    seats: BTreeMap<u64, Seat>,
    next_seat: u64,
    ended: Option<String>,
}

#[derive(Debug)]
struct Seat {
    at: u64,
    syncing: bool,
    cut: Cut,
    over_since: Option<Duration>,
    dropped: bool,
}

/// How far a reader is with the cut of its sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Not made yet.
    Awaited,
    /// The feed must come to it.
    Ahead,
    /// The reader is there, or needs none.
    Found,
}

impl Log {
    /// A log whose first byte stands for the place behind `whole` bytes of the stream.
    pub(crate) fn new(whole: u64) -> Log {
        let log = Log::default();
        log.inner.lock().last = Mark { whole, ..Mark::default() };
        log
    }

    /// More of it, with the places where units end, in order; keeps `keep` bytes for partial resyncs.
    pub(crate) fn append(&self, bytes: Bytes, marks: &[Mark], keep: u64, limits: Limits, now: Duration) {
        let mut inner = self.inner.lock();
        if !bytes.is_empty() {
            let at = inner.end;
            inner.end += bytes.len() as u64;
            inner.segments.push_back((at, bytes));
        }
        if let Some(last) = marks.last() {
            inner.last = *last;
        }
        inner.note(marks);
        inner.judge(limits, now);
        inner.trim(keep);
        drop(inner);
        self.bell.ring();
    }

    /// What is kept: the bytes before its first one, and how many there are.
    pub(crate) fn window(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.first, inner.end - inner.first)
    }

    /// Bytes ever appended.
    pub(crate) fn end(&self) -> u64 {
        self.inner.lock().end
    }

    /// How many read it.
    pub(crate) fn readers(&self) -> usize {
        self.inner.lock().seats.len()
    }

    /// Nobody will append any more.
    pub(crate) fn close(&self, why: &str) {
        self.inner.lock().ended.get_or_insert_with(|| why.to_owned());
        self.bell.ring();
    }

    /// Why nobody will, if so.
    pub(crate) fn ended(&self) -> Option<String> {
        self.inner.lock().ended.clone()
    }

    /// Waits until syncing readers pin less than is allowed.
    pub(crate) async fn room(&self) {
        self.bell.until(|| self.inner.lock().has_room().then_some(())).await;
    }

    /// A reader at the byte behind `at`, if that is kept.
    pub(crate) fn open(self: &Arc<Self>, at: u64) -> Option<Reader> {
        let mut inner = self.inner.lock();
        let kept = inner.ended.is_none() && (inner.first..=inner.end).contains(&at);
        kept.then(|| inner.seat(self, at, false))
    }

    /// A reader for a sync, whose cut is still to come: it pins all from here on.
    pub(crate) fn watch(self: &Arc<Self>) -> Reader {
        let mut inner = self.inner.lock();
        let last = inner.last;
        if !inner.seeks() {
            inner.marks = VecDeque::from([last]);
        }
        inner.seat(self, last.derived, true)
    }
}

impl Inner {
    fn seat(&mut self, log: &Arc<Log>, at: u64, syncing: bool) -> Reader {
        self.next_seat += 1;
        let cut = if syncing { Cut::Awaited } else { Cut::Found };
        self.seats.insert(self.next_seat, Seat { at, syncing, cut, over_since: None, dropped: false });
        Reader { log: log.clone(), number: self.next_seat }
    }

    /// Marks are needed.
    fn seeks(&self) -> bool {
        self.seats.values().any(|seat| seat.cut != Cut::Found)
    }

    fn note(&mut self, marks: &[Mark]) {
        if !self.seeks() {
            self.marks = VecDeque::new();
            return;
        }
        for mark in marks {
            let place = |mark: &Mark| (mark.derived, mark.db);
            if self.marks.back().map(place) != Some(place(mark)) {
                self.marks.push_back(*mark);
            }
        }
    }

    /// Syncing readers pin less than is allowed, marks included. Not held back for one whose cut is ahead: it would wait for
    /// ever.
    fn has_room(&self) -> bool {
        let syncing = || self.seats.values().filter(|seat| seat.syncing);
        let slowest = syncing().map(|seat| seat.at).min();
        let marks = (self.marks.len() * size_of::<Mark>()) as u64;
        syncing().any(|seat| seat.cut == Cut::Ahead) || slowest.is_none_or(|at| self.end - at + marks < MOST_PINNED)
    }

    /// Readers that are too far behind go.
    fn judge(&mut self, limits: Limits, now: Duration) {
        for seat in self.seats.values_mut().filter(|seat| !seat.syncing) {
            let behind = self.end - seat.at;
            let over = limits.soft > 0 && behind > limits.soft;
            let since = over.then(|| seat.over_since.unwrap_or(now));
            seat.over_since = since;
            let long = since.is_some_and(|since| now.saturating_sub(since) > limits.soft_for);
            seat.dropped |= long || limits.hard > 0 && behind > limits.hard;
        }
    }

    fn trim(&mut self, keep: u64) {
        let read = self.seats.values().filter(|seat| !seat.dropped).map(|seat| seat.at).min();
        let low = read.unwrap_or(self.end).min(self.end.saturating_sub(keep));
        while let Some((at, bytes)) = self.segments.front()
            && at + bytes.len() as u64 <= low
        {
            self.first = at + bytes.len() as u64;
            self.segments.pop_front();
        }
    }

    /// The place of a cut behind `whole` bytes, once the feed has come there.
    fn place(&self, whole: u64) -> Option<Mark> {
        let come = self.last.whole >= whole;
        come.then(|| self.marks.iter().rev().find(|mark| mark.whole <= whole).copied().unwrap_or_default())
    }

    fn take(&mut self, number: u64, max: usize) -> Option<Result<Bytes, String>> {
        let seat = self.seats.get_mut(&number)?;
        if seat.dropped {
            return Some(Err(TOO_FAR.into()));
        }
        if seat.at == self.end {
            return self.ended.clone().map(Err);
        }
        let nth = self.segments.partition_point(|(at, _)| *at <= seat.at).checked_sub(1)?;
        let (at, bytes) = self.segments.get(nth)?;
        let skip = usize::try_from(seat.at - at).ok()?;
        let piece = bytes.slice(skip..bytes.len().min(skip + max));
        seat.at += piece.len() as u64;
        Some(Ok(piece))
    }
}

/// One who reads the log.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<Log>,
    number: u64,
}

impl Reader {
    /// The next bytes; waits while there are none. The reason to end otherwise.
    pub(crate) async fn read(&mut self, max: usize) -> Result<Bytes, String> {
        let bytes = self.log.bell.until(|| self.log.inner.lock().take(self.number, max)).await?;
        // The feed may have waited for this.
        self.log.bell.ring();
        Ok(bytes)
    }

    /// Moves to where the whole stream's `whole` bytes end; waits until the feed is there.
    pub(crate) async fn settle(&mut self, whole: u64) -> Result<Mark, String> {
        let come = || {
            let mut inner = self.log.inner.lock();
            if let Some(why) = &inner.ended {
                return Some(Err(why.clone()));
            }
            let mark = inner.place(whole)?;
            if let Some(seat) = inner.seats.get_mut(&self.number) {
                (seat.at, seat.cut) = (mark.derived, Cut::Found);
            }
            inner.note(&[]);
            Some(Ok(mark))
        };
        if let Some(seat) = self.log.inner.lock().seats.get_mut(&self.number) {
            seat.cut = Cut::Ahead;
        }
        self.log.bell.ring();
        let mark = self.log.bell.until(come).await;
        // The feed may have waited for what it pinned.
        self.log.bell.ring();
        mark
    }

    /// Waits until it is dropped for being too far behind, also while nobody reads it; says why. Lives on its own.
    pub(crate) fn dropped(&self) -> impl Future<Output = String> + Send + 'static {
        let (log, number) = (self.log.clone(), self.number);
        async move {
            let gone = || log.inner.lock().seats.get(&number).is_none_or(|seat| seat.dropped).then_some(());
            log.bell.until(gone).await;
            TOO_FAR.to_owned()
        }
    }

    /// Bytes that are there and not read yet.
    pub(crate) fn behind(&self) -> u64 {
        let inner = self.log.inner.lock();
        inner.seats.get(&self.number).map_or(0, |seat| inner.end - seat.at)
    }

    /// It has caught up behind its sync: from here on the limits hold.
    pub(crate) fn online(&self) {
        if let Some(seat) = self.log.inner.lock().seats.get_mut(&self.number) {
            seat.syncing = false;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.inner.lock().seats.remove(&self.number);
        self.log.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const NONE: Limits = Limits { hard: 0, soft: 0, soft_for: Duration::ZERO };

    fn push(log: &Log, bytes: &'static [u8], whole: u64, limits: Limits, now_s: u64) {
        let derived = log.end() + bytes.len() as u64;
        let mark = Mark { whole, derived, db: Some(0) };
        log.append(Bytes::from_static(bytes), &[mark], 4, limits, Duration::from_secs(now_s));
    }

    fn read(reader: &mut Reader) -> Option<Result<Vec<u8>, String>> {
        reader.read(100).now_or_never().map(|read| read.map(|bytes| bytes.to_vec()))
    }

    #[test]
    fn a_cut_is_found_by_its_mark() {
        let log = Arc::new(Log::new(100));
        push(&log, b"aaaa", 110, NONE, 0);
        let mut sync = log.watch();
        assert!(sync.settle(130).now_or_never().is_none(), "the feed isn't there");
        push(&log, b"bb", 120, NONE, 0);
        push(&log, b"", 130, NONE, 0);
        push(&log, b"cccc", 140, NONE, 0);
        let mark = sync.settle(130).now_or_never().expect("there").expect("fine");
        assert_eq!((mark.derived, mark.db), (6, Some(0)));
        assert_eq!(read(&mut sync), Some(Ok(b"cccc".to_vec())));
        assert_eq!(read(&mut sync), None);
        assert_eq!(log.window().0, 4, "what the watch needed was pinned");
    }

    fn marks(log: &Log) -> usize {
        log.inner.lock().marks.len()
    }

    #[test]
    fn what_does_not_pass_costs_nothing_while_somebody_syncs() {
        let log = Arc::new(Log::new(100));
        let mut sync = log.watch();
        push(&log, b"aaaa", 110, NONE, 0);
        (111..1000).for_each(|whole| push(&log, b"", whole, NONE, 0));
        push(&log, b"bb", 1000, NONE, 0);
        assert_eq!(marks(&log), 3, "where it came, behind the first, behind the second");
        let mark = sync.settle(555).now_or_never().expect("there").expect("fine");
        assert_eq!((mark.derived, mark.db), (4, Some(0)), "the first of those that stand at one place");
        assert_eq!(marks(&log), 0, "nobody seeks any more");
        push(&log, b"cc", 1001, NONE, 0);
        assert_eq!((marks(&log), read(&mut sync)), (0, Some(Ok(b"bb".to_vec()))), "its payload is on its way");
    }

    #[test]
    fn the_feed_waits_for_marks_too_and_not_for_who_waits_for_it() {
        let log = Arc::new(Log::new(0));
        let mut sync = log.watch();
        let room = || log.room().now_or_never().is_some();
        let most = MOST_PINNED / (1 + size_of::<Mark>() as u64);
        let many: Vec<Mark> = (1..=most + 1).map(|at| Mark { whole: at, derived: at, db: None }).collect();
        let bytes = Bytes::from(vec![0; many.len()]);
        assert!(room());
        log.append(bytes, &many, 0, NONE, Duration::ZERO);
        assert!(!room());
        {
            let mut settled = Box::pin(sync.settle(most + 2));
            assert!(settled.as_mut().now_or_never().is_none() && room(), "its cut is ahead");
            push(&log, b"", most + 2, NONE, 0);
            assert!(settled.now_or_never().expect("there").is_ok());
        }
        assert!(room() && marks(&log) == 0);
        log.append(Bytes::from(vec![0; MOST_PINNED as usize]), &[], 0, NONE, Duration::ZERO);
        assert!(!room(), "what it has yet to take");
    }

    #[test]
    fn a_returning_reader_goes_on_where_it_was_if_that_is_kept() {
        let log = Arc::new(Log::new(0));
        for _ in 0..4 {
            push(&log, b"1234", 1, NONE, 0);
        }
        assert_eq!(log.window(), (12, 4));
        assert!(log.open(11).is_none() && log.open(17).is_none());
        let mut reader = log.open(14).expect("kept");
        assert_eq!(read(&mut reader), Some(Ok(b"34".to_vec())));
        log.close("over");
        assert_eq!(read(&mut reader), Some(Err("over".into())));
        assert!(log.open(16).is_none());
    }

    #[test]
    fn who_is_too_far_behind_goes_but_not_in_its_sync() {
        let limits = Limits { hard: 10, soft: 3, soft_for: Duration::from_secs(5) };
        let log = Arc::new(Log::new(0));
        let (mut slow, mut sync) = (log.open(0).expect("kept"), log.watch());
        push(&log, b"1234", 1, limits, 0);
        push(&log, b"", 1, limits, 5);
        assert_eq!(read(&mut slow), Some(Ok(b"1234".to_vec())), "not longer than five seconds");
        push(&log, b"12345678901", 1, limits, 6);
        assert!(matches!(read(&mut slow), Some(Err(why)) if why.contains("too far behind")));
        assert_eq!(read(&mut sync), Some(Ok(b"1234".to_vec())));
        assert_eq!(sync.behind(), 11);
        let mut dropped = Box::pin(sync.dropped());
        assert!(dropped.as_mut().now_or_never().is_none());
        sync.online();
        push(&log, b"", 1, limits, 7);
        assert_eq!(dropped.now_or_never().as_deref(), Some(TOO_FAR), "known without reading");
        assert!(matches!(read(&mut sync), Some(Err(_))));
    }
}
