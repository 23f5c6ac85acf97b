//! The journal as a plugin sees it: its history, its offset, and cursors that read it.
//!
//! **Going on without a gap.** A cursor ends as [`CursorEnd::Rebased`] with the history it reads. That is also when the
//! replication plugin begins one: at its start, when the first replica comes (what went before was kept by nobody), when the
//! backlog is freed, at a change of role. A new name alone loses nothing: on a primary that stays one,
//! [`Host::open_cursor`] from [`Cursor::offset`] of the ended cursor goes on behind the last byte it gave. Behind the full
//! sync of a replica the same number means other bytes; who can't exclude that, or is told [`CursorEnd::Behind`], begins anew
//! with [`Host::snapshot_and_follow`]. Who needs only what comes from now on uses [`Host::follow`] again.
//!
//! **Inside a turn** [`Cursor::read`] and [`Cursor::ended`] are refused ([`CursorEnd::Closed`], "not possible from inside a
//! turn"; the cursor itself stays as it is); everything else may be called there.

use crate::error::{Error, Result};
use crate::host::Host;
use bytes::Bytes;
use keystead_abi::glue::{Completion, import_future, with_waker};
use keystead_abi::{self as abi, Object, Str};
use std::future::{Future, pending, poll_fn};
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::Poll;
use std::{fmt, str};

/// A replication id: 40 hex characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplId([u8; 40]);

impl ReplId {
    /// No id: forty zeros, as Redis shows it.
    pub const NONE: ReplId = ReplId([b'0'; 40]);

    /// An id from text; `None` unless it is 40 characters of hex.
    pub fn parse(text: &[u8]) -> Option<ReplId> {
        let id: [u8; 40] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_hexdigit).then_some(ReplId(id))
    }

    /// A new random id.
    pub fn random(host: &Host) -> ReplId {
        let mut bytes = [0u8; 20];
        host.random(&mut bytes);
        let mut id = [0u8; 40];
        for (pair, byte) in id.chunks_exact_mut(2).zip(bytes) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        ReplId(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A history the journal shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The current id.
    pub replid: ReplId,
    /// The id before it.
    pub replid2: ReplId,
    /// Up to which offset the second id is valid; -1 if there is none.
    pub second_offset: i64,
    /// The offset to continue from, dropping what is kept; `None` keeps offset and bytes (a promotion). Every cursor
    /// ends either way, as Redis disconnects replicas when its id changes, but see [`CursorClass::Persistence`].
    pub offset: Option<u64>,
}

impl History {
    pub(crate) fn from_raw(raw: &abi::History) -> History {
        History {
            replid: ReplId(raw.replid),
            replid2: ReplId(raw.replid2),
            second_offset: raw.second_offset,
            offset: (raw.offset != abi::KEEP_OFFSET).then_some(raw.offset),
        }
    }

    pub(crate) fn to_raw(self) -> abi::History {
        abi::History {
            replid: self.replid.0,
            replid2: self.replid2.0,
            second_offset: self.second_offset,
            offset: self.offset.unwrap_or(abi::KEEP_OFFSET),
        }
    }
}

/// The journal at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The current replication id.
    pub replid: ReplId,
    /// The id before it.
    pub replid2: ReplId,
    /// Up to which offset the second id is valid; -1 if there is none.
    pub second_offset: i64,
    /// The replication offset: bytes ever appended.
    pub offset: u64,
    /// Whether a backlog exists.
    pub active: bool,
    /// The offset of the first byte that is kept (`repl_backlog_first_byte_offset` is one more).
    pub first: u64,
    /// How many bytes are kept.
    pub len: u64,
    /// `repl-backlog-size`.
    pub size: u64,
    /// The database the last record was for; `None` if the next record carries a SELECT.
    pub db: Option<u32>,
}

impl Journal {
    pub(crate) fn from_raw(raw: &abi::JournalState) -> Journal {
        Journal {
            replid: ReplId(raw.history.replid),
            replid2: ReplId(raw.history.replid2),
            second_offset: raw.history.second_offset,
            offset: raw.offset,
            active: raw.active != 0,
            first: raw.first,
            len: raw.len,
            size: raw.size,
            db: u32::try_from(raw.db).ok(),
        }
    }
}

/// A place in the journal where a unit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counts every byte of the journal, whoever it is for.
    pub position: u64,
    /// The replication offset.
    pub offset: u64,
    /// The replication id; [`ReplId::NONE`] while the data belongs to no known history.
    pub replid: ReplId,
    /// The database that the replication stream has selected.
    pub db: Option<u32>,
}

/// What a cursor is for: decides what it may pin and what happens when it is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorClass {
    /// A replica that is fed the stream; too slow means disconnected.
    Replica,
    /// A replica in its full sync; writers are paced for it before it is too slow.
    Syncing,
    /// Persistence; never dropped. It outlives another history if it loses no bytes by that: always when only the name
    /// changes, and when the stream begins elsewhere if it has read everything. What it has written is the data's then,
    /// whatever it is called: only its *place* is another, and no bytes come to say so. Who keeps places reads with
    /// [`Cursor::read_or_move`]; else a restart of an idle server finds the old place, and its replicas need everything.
    /// It ends as [`CursorEnd::Rebased`] when other data takes the place of the keys (a load).
    Persistence,
    /// A change feed; told when it fell behind.
    Feed,
}

impl CursorClass {
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            CursorClass::Replica => abi::CURSOR_REPLICA,
            CursorClass::Syncing => abi::CURSOR_SYNCING,
            CursorClass::Persistence => abi::CURSOR_PERSISTENCE,
            CursorClass::Feed => abi::CURSOR_FEED,
        }
    }
}

/// Why a cursor gives no more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorEnd {
    /// It fell behind what is kept for it.
    Behind(String),
    /// The journal got another history.
    Rebased(String),
    /// The server stops, or something else ended it.
    Closed(String),
}

impl CursorEnd {
    fn of(done: &Completion) -> CursorEnd {
        let why = done.buf.text();
        match done.status {
            abi::BEHIND => CursorEnd::Behind(why),
            abi::REBASED => CursorEnd::Rebased(why),
            _ => CursorEnd::Closed(why),
        }
    }
}

impl fmt::Display for CursorEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CursorEnd::Behind(why) | CursorEnd::Rebased(why) | CursorEnd::Closed(why)) = self;
        f.write_str(why)
    }
}

/// An object of the host: dropped with its own function.
pub(crate) struct Owned(pub(crate) Object);

// SAFETY: objects may be used from any thread, one at a time; that is their tables' contract.
unsafe impl Send for Owned {}
// SAFETY: functions that take `&self` here are plain reads by the tables' contract.
unsafe impl Sync for Owned {}

impl Owned {
    /// Wraps an object of this kind; an error if the host gave none.
    pub(crate) fn of_kind(object: Object, kind: u32) -> Result<Owned> {
        if object.is_none() {
            return Err(Error::new("the host gave no object"));
        }
        let owned = Owned(object);
        // SAFETY: every object's table starts with the head.
        match unsafe { (*object.api).kind } {
            found if found == kind => Ok(owned),
            found => Err(Error::new(format!("the host gave an object of kind {found}, {kind} was expected"))),
        }
    }

    /// The table as its full type.
    ///
    /// # Safety
    /// `T` is the table of this object's kind.
    pub(crate) unsafe fn api<T>(&self) -> &T {
        // SAFETY: the caller's; the table lives as long as the object.
        unsafe { &*self.0.api.cast::<T>() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: dropped once.
        unsafe { ((*self.0.api).drop)(self.0.data) }
    }
}

/// Polls one of the `poll_…(data, waker, out)` functions of an object.
pub(crate) async fn poll_out(mut poll: impl FnMut(*const abi::Waker, *mut abi::Out) -> u32) -> Completion {
    poll_fn(|cx| {
        let mut out = MaybeUninit::uninit();
        match with_waker(cx.waker(), |waker| poll(waker, out.as_mut_ptr())) {
            // SAFETY: READY says that the result is written.
            abi::READY => Poll::Ready(unsafe { Completion::new(out.assume_init()) }),
            _ => Poll::Pending,
        }
    })
    .await
}

/// A reader of the replication stream.
pub struct Cursor(Owned);

impl Cursor {
    pub(crate) fn new(object: Object) -> Result<Cursor> {
        Ok(Cursor(Owned::of_kind(object, abi::KIND_CURSOR)?))
    }

    fn api(&self) -> &abi::CursorApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// The next bytes, at most `max`; waits while there are none. May be dropped and called again: nothing is lost.
    pub async fn read(&mut self, max: usize) -> Result<Bytes, CursorEnd> {
        let done = {
            let this = &*self;
            // SAFETY: the object is alive; the waker and the result are borrowed for the call.
            poll_out(move |waker, out| unsafe { (this.api().poll_read)(this.0.0.data, waker, max, out) }).await
        };
        if done.status == abi::OK { Ok(Bytes::from_owner(done.buf)) } else { Err(CursorEnd::of(&done)) }
    }

    /// As `read`, for a reader that keeps the place behind what it has: also ready, with `None`, when there are no bytes and
    /// [`Cursor::place`] is another one than `seen`. So it is with a new history (see [`CursorClass::Persistence`]), and when
    /// there was something for others only.
    pub async fn read_or_move(&mut self, max: usize, seen: Option<Place>) -> Result<Option<Bytes>, CursorEnd> {
        poll_fn(|cx| {
            let polled = pin!(self.read(max)).poll(cx);
            match polled {
                Poll::Ready(read) => Poll::Ready(read.map(Some)),
                // The place is that of the poll.
                Poll::Pending if self.place().is_some_and(|place| Some(place) != seen) => Poll::Ready(Ok(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for its end, also while nobody reads it; lives on its own.
    pub fn ended(&self) -> impl Future<Output = CursorEnd> + Send + use<> {
        let covered = abi::covers!(self.api().size, abi::CursorApi, ended);
        // SAFETY: plain call of a function that the table has.
        let raw = covered.then(|| unsafe { import_future((self.api().ended)(self.0.0.data)) });
        async move {
            match raw {
                Some(raw) => CursorEnd::of(&raw.await),
                None => pending().await,
            }
        }
    }

    /// What the log calls its reader.
    pub fn set_name(&mut self, name: &str) {
        if abi::covers!(self.api().size, abi::CursorApi, set_name) {
            // SAFETY: plain call of a function that the table has; the name lives for it.
            unsafe { (self.api().set_name)(self.0.0.data, Str::new(name.as_bytes())) }
        }
    }

    /// Where the bytes given so far end; `None` if that is in the middle of a unit, or more of what was read is to come.
    pub fn place(&self) -> Option<Place> {
        let mut out = MaybeUninit::uninit();
        // SAFETY: the function fills `out`.
        let raw = unsafe {
            (self.api().place)(self.0.0.data, out.as_mut_ptr());
            out.assume_init()
        };
        (raw.unit_end != 0).then(|| Place {
            position: raw.position,
            offset: raw.offset,
            replid: ReplId(raw.replid),
            db: u32::try_from(raw.db).ok(),
        })
    }

    /// Lets it end, as closed, where another cursor goes on: a position that [`Cursor::place`] gave.
    pub fn stop_at(&mut self, position: u64) {
        // SAFETY: plain call.
        unsafe { (self.api().stop_at)(self.0.0.data, position) }
    }

    /// The offset of the next byte to be read.
    pub fn offset(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().offset)(self.0.0.data) }
    }

    /// Moves the cursor to another class; its limits are those of the class.
    pub fn set_class(&mut self, class: CursorClass) {
        // SAFETY: plain call.
        unsafe { (self.api().set_class)(self.0.0.data, class.to_raw()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_abi::{Buf, CursorApi, CursorPlace, Future as RawFuture, Out, Waker};
    use std::ffi::c_void;
    use std::task::Context;

    /// A cursor with these bytes to give, at the place of this number.
    #[derive(Default)]
    struct Fake {
        bytes: Vec<u8>,
        place: u64,
    }

    unsafe extern "C" fn poll_read(data: *mut c_void, _: *const Waker, _: usize, out: *mut Out) -> u32 {
        // SAFETY: of a `Fake`; the caller gives room for one result.
        unsafe {
            let fake = &mut *data.cast::<Fake>();
            if fake.bytes.is_empty() {
                return abi::PENDING;
            }
            out.write(Out { buf: Buf::new(std::mem::take(&mut fake.bytes)), ..Out::DONE });
        }
        abi::READY
    }

    unsafe extern "C" fn place(data: *mut c_void, out: *mut CursorPlace) {
        // SAFETY: as above.
        unsafe {
            let position = (*data.cast::<Fake>()).place;
            out.write(CursorPlace { position, offset: 0, replid: [b'a'; 40], db: -1, unit_end: 1 });
        }
    }

    unsafe extern "C" fn nothing(_: *mut c_void) {}
    unsafe extern "C" fn zero(_: *mut c_void) -> u64 {
        0
    }
    unsafe extern "C" fn no_class(_: *mut c_void, _: u32) {}
    unsafe extern "C" fn no_stop(_: *mut c_void, _: u64) {}
    unsafe extern "C" fn no_end(_: *mut c_void) -> RawFuture {
        RawFuture { data: std::ptr::null_mut(), poll: None, drop: None }
    }
    unsafe extern "C" fn no_name(_: *mut c_void, _: Str) {}

    static API: CursorApi = CursorApi {
        size: size_of::<CursorApi>() as u32,
        kind: abi::KIND_CURSOR,
        drop: nothing,
        poll_read,
        offset: zero,
        set_class: no_class,
        place,
        stop_at: no_stop,
        ended: no_end,
        set_name: no_name,
    };

    #[test]
    fn a_reader_hears_of_another_place_without_bytes() {
        let mut fake = Fake { bytes: b"abc".to_vec(), place: 1 };
        let data: *mut Fake = &mut fake;
        let mut cursor = Cursor::new(Object { data: data.cast(), api: (&raw const API).cast() }).expect("a cursor");
        let mut poll = |seen| {
            let read = pin!(cursor.read_or_move(10, seen)).poll(&mut Context::from_waker(std::task::Waker::noop()));
            (read, cursor.place())
        };
        let (read, seen) = poll(None);
        assert_eq!(read, Poll::Ready(Ok(Some(Bytes::from_static(b"abc")))), "bytes first");
        assert_eq!(poll(seen).0, Poll::Pending);
        // SAFETY: nobody uses it meanwhile.
        unsafe { (*data).place = 2 };
        let (read, now) = poll(seen);
        assert_eq!((read, now.map(|place| place.position)), (Poll::Ready(Ok(None)), Some(2)));
        assert_eq!(poll(now).0, Poll::Pending);
    }
}
