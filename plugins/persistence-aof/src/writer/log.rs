//! One file that is written: from a cursor of the journal, in batches of whole units, each with the note of its place. Owns
//! the cursor, the file and the batch that isn't in it yet; what must be synced and what an error means is `machine`'s.

use super::direct::Through;
use crate::failpoint;
use crate::files;
use crate::machine::{Action, Machine, RETRY};
use crate::note::{self, Note};
use crate::plugin::Aof;
use bytes::Bytes;
use keystead_plugin::{Cursor, CursorEnd, Place, ReplId};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A place that moved without records (PINGs to replicas) is noted this often.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// What a wait for the journal brought.
pub(super) enum News {
    /// A whole batch waits to be written, up to this place.
    Batch(Place),
    /// The stream went on without records for files.
    Moved(Place),
    /// The cursor gives no more.
    End(CursorEnd),
}

/// An append that failed, until it is cut off again or gone on with.
struct Begun {
    /// So many of its bytes are in the file.
    bytes: u64,
    rest: Vec<Bytes>,
}

/// A file that is written.
pub(super) struct Log {
    plugin: Arc<Aof>,
    pub(super) cursor: Cursor,
    /// Shared with whoever puts it on the disk.
    file: Arc<File>,
    pub(super) machine: Machine,
    /// What was there before its first byte.
    pub(super) began: Option<Place>,
    /// Read from the journal, not in the file.
    batch: Vec<Bytes>,
    /// What is to be written is whole and ends here: the batch, or a note alone.
    batch_end: Option<Place>,
    /// It was begun.
    begun: Option<Begun>,
    seen: Option<Place>,
    noted: Option<Note>,
    noted_at: Duration,
    last_time: u64,
    /// Nothing is written before.
    ready_at: Duration,
    /// The disk is being told to begin with a part of the file.
    beginning: Arc<AtomicBool>,
    /// What an error in a lent file asks for.
    put_off: Vec<Action>,
}

impl Log {
    /// A file of this size, written from here on.
    pub(super) fn new(plugin: &Arc<Aof>, cursor: Cursor, file: File, size: u64) -> Log {
        let now = plugin.host.now();
        let machine = Machine::new(now, plugin.config().fsync, size);
        let seen = cursor.place();
        Log {
            plugin: plugin.clone(),
            cursor,
            file: Arc::new(file),
            machine,
            began: seen,
            batch: Vec::new(),
            batch_end: None,
            begun: None,
            seen,
            noted: None,
            noted_at: now,
            last_time: 0,
            ready_at: now,
            beginning: Arc::default(),
            put_off: Vec::new(),
        }
    }

    /// Waits for what the journal has next, not before its time. May be dropped and called again.
    pub(super) async fn news(&mut self) -> News {
        let host = self.plugin.host;
        let wait = self.ready_at.saturating_sub(host.now());
        if !wait.is_zero() {
            host.sleep(wait).await;
        }
        poll_fn(|cx| self.poll_news(cx)).await
    }

    /// What the journal has now, if anything.
    pub(super) async fn news_now(&mut self) -> Option<News> {
        poll_fn(|cx| match self.poll_news(cx) {
            Poll::Ready(news) => Poll::Ready(Some(news)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        if let Some(place) = self.batch_end {
            return Poll::Ready(News::Batch(place));
        }
        loop {
            let read = pin!(self.cursor.read(usize::MAX)).poll(cx);
            match read {
                Poll::Ready(Ok(bytes)) => {
                    self.batch.push(bytes);
                    if let Some(place) = self.cursor.place() {
                        self.batch_end = Some(place);
                        return Poll::Ready(News::Batch(place));
                    }
                }
                Poll::Ready(Err(end)) => return Poll::Ready(News::End(end)),
                Poll::Pending => {
                    let moved = self.cursor.place().filter(|place| Some(*place) != self.seen);
                    let Some(place) = moved else { return Poll::Pending };
                    self.seen = Some(place);
                    return Poll::Ready(News::Moved(place));
                }
            }
        }
    }

    /// Writes the batch; false if it must be tried again.
    pub(super) fn append(&mut self, place: Place) -> (bool, Vec<Action>) {
        let host = self.plugin.host;
        let Begun { bytes: begun, mut rest } = match self.begun.take() {
            Some(begun) => begun,
            None => Begun { bytes: 0, rest: self.pieces(place) },
        };
        let left = length(&rest);
        let bytes = begun + left;
        self.plugin.shown.buffered.store(left, Ordering::Relaxed);
        let beside_sync = self.plugin.shown.syncing.load(Ordering::Relaxed);
        let result = if beside_sync { failpoint::pass(failpoint::BESIDE_SYNC) } else { Ok(()) };
        let result = result.and_then(|()| files::append(&self.file, &mut rest));
        let now = host.now();
        self.noted_at = now;
        match result {
            Ok(()) => {
                self.plugin.shown.buffered.store(0, Ordering::Relaxed);
                self.batch.clear();
                self.batch_end = None;
                self.seen = Some(place);
                self.noted = note_of(place).or(self.noted.take());
                // At once: while the file is lent the writer has nothing to publish.
                self.plugin.shown.size.fetch_add(bytes, Ordering::Relaxed);
                let actions = self.machine.appended(now, bytes, place);
                self.write_ahead();
                (true, actions)
            }
            Err(error) => {
                self.ready_at = now + RETRY;
                self.batch_end = Some(place);
                self.begun = Some(Begun { bytes: bytes - length(&rest), rest });
                self.plugin.shown.buffered.store(self.lag(), Ordering::Relaxed);
                (false, self.machine.append_failed(&error.to_string()))
            }
        }
    }

    /// Lets the disk begin with what the next sync would find: one part at a time, a slow disk gets no second order.
    fn write_ahead(&mut self) {
        if self.beginning.load(Ordering::Acquire) {
            return;
        }
        let Some(part) = self.machine.ahead() else { return };
        let (file, beginning) = (self.file.clone(), self.beginning.clone());
        beginning.store(true, Ordering::Release);
        drop(self.plugin.host.blocking(move || {
            files::write_ahead(&file, part);
            beginning.store(false, Ordering::Release);
        }));
    }

    /// Leaves what comes next for later.
    pub(super) fn rest(&mut self, pause: Duration) {
        self.ready_at = self.ready_at.max(self.plugin.host.now() + pause);
    }

    /// Bytes of the stream that the file lacks.
    pub(super) fn lag(&self) -> u64 {
        let has = self.machine.written_place().or(self.began);
        self.plugin.host.journal_offset().saturating_sub(has.map_or(0, |place| place.offset))
    }

    /// Writes what the journal has now, all of it: one look gives everything before it.
    pub(super) fn write_through(&mut self) -> Through {
        if self.batch_end.is_some() {
            return Through::Trouble(Vec::new());
        }
        match self.poll_news(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Through::Nothing,
            Poll::Ready(News::Moved(place)) => Through::Written(self.machine.moved(place)),
            Poll::Ready(News::End(_)) => Through::Trouble(Vec::new()),
            Poll::Ready(News::Batch(place)) => match self.append(place) {
                (true, actions) => Through::Written(actions),
                (false, actions) => Through::Trouble(actions),
            },
        }
    }

    /// Closes the gate, if that is to be done: at once, before a turn that would be acknowledged like the one that failed.
    pub(super) fn refuse_writes(&self, actions: &[Action]) {
        for action in actions {
            if let Action::Refuse(why) = action {
                self.plugin.refuse_writes(why);
            }
        }
    }

    /// Keeps what is to be done when the writer has the file again.
    pub(super) fn put_off(&mut self, actions: Vec<Action>) {
        self.put_off.extend(actions);
    }

    /// What was put off.
    pub(super) fn take_put_off(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.put_off)
    }

    /// True if somebody else may write it: each reply waits for the write alone, and nothing is in its way.
    pub(super) fn may_be_lent(&self) -> bool {
        self.batch.is_empty() && self.machine.is_written_through()
    }

    /// The batch with what is noted around it.
    fn pieces(&mut self, place: Place) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(self.batch.len() + 2);
        let seconds = self.plugin.host.unix_ms() / 1000;
        if self.plugin.config().timestamps && seconds > self.last_time && !self.batch.is_empty() {
            self.last_time = seconds;
            let mut time = Vec::new();
            note::write_time(seconds, &mut time);
            pieces.push(Bytes::from(time));
        }
        pieces.extend(self.batch.iter().cloned());
        if let Some(note) = note_of(place) {
            let mut line = Vec::new();
            note.write(self.noted.as_ref(), &mut line);
            pieces.push(Bytes::from(line));
        }
        pieces
    }

    /// The stream went on without records. True if that is worth a note now.
    pub(super) fn moved(&mut self, place: Place) -> Vec<Action> {
        self.machine.moved(place)
    }

    /// A note of where the stream is, if it isn't the last one and that one is old (or `now_or_never`).
    pub(super) fn due_note(&self, now_or_never: bool) -> Option<Place> {
        let place = self.seen?;
        let new = note_of(place).is_some_and(|note| Some(&note) != self.noted.as_ref());
        let due = now_or_never || self.plugin.host.now() >= self.noted_at + NOTE_EVERY;
        (new && due && self.batch.is_empty() && self.batch_end.is_none()).then_some(place)
    }

    /// When [`Log::due_note`] may have something.
    pub(super) fn note_at(&self) -> Option<Duration> {
        let new = note_of(self.seen?).is_some_and(|note| Some(&note) != self.noted.as_ref());
        (new && self.batch_end.is_none()).then(|| self.noted_at + NOTE_EVERY)
    }

    /// Puts the file on the disk.
    pub(super) fn sync(&mut self) -> Vec<Action> {
        self.plugin.shown.syncing.store(true, Ordering::Relaxed);
        let done = files::sync(&self.file);
        self.plugin.shown.syncing.store(false, Ordering::Relaxed);
        self.synced(&done)
    }

    /// The sync that was asked for has ended.
    pub(super) fn synced(&mut self, done: &std::io::Result<()>) -> Vec<Action> {
        let now = self.plugin.host.now();
        match done {
            Ok(()) => self.machine.synced(now),
            Err(error) => self.machine.sync_failed(now, &error.to_string()),
        }
    }

    /// The file, to be put on the disk by somebody else.
    pub(super) fn same_file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Cuts the file to a size. If that fails too, what was begun stays, and is gone on with.
    pub(super) fn truncate(&mut self, size: u64) {
        let stands = self.begun.as_ref().is_some_and(|begun| begun.bytes > 0);
        if let Err(error) = self.file.set_len(size)
            && stands
        {
            return log::warn!("Could not remove short write from the append-only file: {error}");
        }
        self.begun = None;
        // It may have been part of what is cut off.
        self.last_time = 0;
        if self.batch.is_empty() {
            // A note alone: there will be a newer one.
            self.batch_end = None;
        }
    }

    /// Reads from another cursor from now on; what isn't written yet was read before.
    pub(super) fn follow(&mut self, cursor: Cursor) {
        self.seen = cursor.place();
        self.cursor = cursor;
    }
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// What is noted of a place; nothing while the data belongs to no known history.
fn note_of(place: Place) -> Option<Note> {
    let known = place.replid != ReplId::NONE;
    known.then(|| Note { replid: place.replid.to_string(), offset: place.offset, db: place.db.unwrap_or(0) })
}
