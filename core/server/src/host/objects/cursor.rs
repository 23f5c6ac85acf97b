//! Readers of the journal. Bytes are shared with the journal's blocks, not copied, unless they are small pieces.

use super::{drop_object, object, value};
use crate::host::Core;
use crate::host::api::class_of;
use crate::host::frame::{in_turn, inside, refused_in_turn};
use crate::host::plugin::Plugin;
use crate::net::service::Service;
use keystead_abi::glue::{WakerRef, export_future};
use keystead_abi::{self as abi, Buf, CursorApi, CursorPlace, Future, Object, Out, Str, Waker};
use keystead_engine::Engine;
use keystead_engine::journal::{CursorId, Ended, Journal, Read};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Pieces are put together up to this size: one write instead of many.
const JOIN: usize = 64 << 10;

struct Cursor {
    plugin: &'static Plugin,
    service: Arc<Service>,
    id: CursorId,
    /// The offset of the next byte to be given.
    next: u64,
    /// Read from the journal and not given yet.
    ahead: VecDeque<bytes::Bytes>,
    /// Where that ends, as of the turn in which it was read.
    place: CursorPlace,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let (service, id) = (self.service.clone(), self.id);
        self.plugin.cursors.lock().remove(&id);
        // Not here: this may be inside a turn, where the lock is taken.
        async_std::task::spawn(async move { service.turn(|engine| engine.core.journal.close_cursor(id)) });
    }
}

static API: CursorApi = CursorApi {
    size: size_of::<CursorApi>() as u32,
    kind: abi::KIND_CURSOR,
    drop: drop_object::<Cursor>,
    poll_read,
    offset,
    set_class,
    place,
    stop_at,
    ended,
    set_name,
};

/// A plugin's cursor that was opened at a place.
pub(crate) fn new(plugin: &'static Plugin, service: Arc<Service>, id: CursorId, place: CursorPlace) -> Object {
    plugin.cursors.lock().insert(id);
    object(Cursor { plugin, service, id, next: place.offset, ahead: VecDeque::new(), place }, &API)
}

/// Where a cursor stands in this turn.
pub(crate) fn place_of(host: &Core, engine: &Engine, id: CursorId) -> CursorPlace {
    let journal = &engine.core.journal;
    let status = journal.cursor_status(id);
    CursorPlace {
        position: status.map_or(0, |status| status.position),
        offset: status.map_or(0, |status| status.offset),
        replid: host.placed_history(&engine.core).replid,
        db: status.and_then(|status| status.db).map_or(-1, |db| db as i32),
        unit_end: u32::from(status.is_some_and(|status| status.unit_end)),
    }
}

/// The next bytes or the end; `None` when there is nothing yet and the waker is registered.
fn read(cursor: &mut Cursor, waker: &std::task::Waker, max: usize) -> Option<Out> {
    if cursor.ahead.is_empty() {
        if let Some(refused) = refused_in_turn() {
            return Some(refused);
        }
        let (id, host) = (cursor.id, cursor.plugin.host());
        let (found, place) = cursor.service.turn(|engine| {
            let journal = &mut engine.core.journal;
            let found = journal.read(id, max.max(1));
            match &found {
                Read::Data(pieces) => journal.reader_copies(id, largest_join(pieces, max)),
                Read::CaughtUp => inside(|| journal.register_waker(id, waker)),
                Read::Ended(_) => {}
            }
            (found, place_of(host, engine, id))
        });
        cursor.place = place;
        match found {
            Read::Data(pieces) => cursor.ahead.extend(pieces),
            Read::CaughtUp => return None,
            Read::Ended(why) => return Some(end(why)),
        }
    }
    let bytes = join(&mut cursor.ahead, max);
    let first = cursor.next;
    cursor.next += bytes.len() as u64;
    Some(Out { a: first, buf: Buf::new(bytes), ..Out::DONE })
}

/// The first piece, or several small ones together.
fn join(ahead: &mut VecDeque<bytes::Bytes>, max: usize) -> bytes::Bytes {
    let limit = JOIN.min(max);
    let Some(mut first) = ahead.pop_front() else { return bytes::Bytes::new() };
    if first.len() > max {
        let rest = first.split_off(max.max(1));
        ahead.push_front(rest);
        return first;
    }
    let (mut count, mut len) = (0, first.len());
    for next in ahead.iter() {
        if len + next.len() > limit {
            break;
        }
        (count, len) = (count + 1, len + next.len());
    }
    if count == 0 {
        return first;
    }
    let mut all = Vec::with_capacity(len);
    all.extend_from_slice(&first);
    ahead.drain(..count).for_each(|next| all.extend_from_slice(&next));
    all.into()
}

/// The most bytes that `join` will copy at once.
fn largest_join(pieces: &[bytes::Bytes], max: usize) -> usize {
    let (limit, mut most, mut at) = (JOIN.min(max), 0, 0);
    while let Some(first) = pieces.get(at) {
        let (begun, mut len) = (at, first.len());
        at += 1;
        while let Some(next) = pieces.get(at).filter(|next| len + next.len() <= limit) {
            (at, len) = (at + 1, len + next.len());
        }
        if at > begun + 1 {
            most = most.max(len);
        }
    }
    most
}

fn end(why: Ended) -> Out {
    match why {
        Ended::Overrun => Out::failed(abi::BEHIND, "the reader fell too far behind the journal"),
        Ended::Rebased => Out::failed(abi::REBASED, "the journal has another history now"),
        Ended::Closed => Out::failed(abi::CLOSED, "the cursor was closed"),
        Ended::Reached => Out::failed(abi::CLOSED, "the cursor is where it was told to stop"),
    }
}

unsafe extern "C" fn poll_read(data: *mut c_void, waker: *const Waker, max: usize, out: *mut Out) -> u32 {
    // SAFETY: the contract of `ks_cursor_api`; the caller gives room for one result.
    unsafe {
        let (cursor, waker) = (value::<Cursor>(data), WakerRef::new(waker));
        let done = crate::host::guarded(|| read(cursor, waker.waker(), max));
        match done.unwrap_or_else(|reason| Some(Out::failed(abi::ERR, reason))) {
            None => abi::PENDING,
            Some(result) => {
                out.write(result);
                abi::READY
            }
        }
    }
}

unsafe extern "C" fn offset(data: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { value::<Cursor>(data) }.next
}

unsafe extern "C" fn place(data: *mut c_void, out: *mut CursorPlace) {
    // SAFETY: as above; the caller gives room for one place.
    unsafe {
        let cursor = value::<Cursor>(data);
        let unit_end = if cursor.ahead.is_empty() { cursor.place.unit_end } else { 0 };
        out.write(CursorPlace { unit_end, ..cursor.place });
    }
}

unsafe extern "C" fn stop_at(data: *mut c_void, position: u64) {
    // SAFETY: as above.
    let cursor = unsafe { value::<Cursor>(data) };
    change(&cursor.service, cursor.id, move |journal, id| journal.stop_cursor_at(id, position));
}

unsafe extern "C" fn ended(data: *mut c_void) -> Future {
    // SAFETY: as above.
    let cursor = unsafe { value::<Cursor>(data) };
    let (service, id) = (cursor.service.clone(), cursor.id);
    export_future(poll_fn(move |cx| {
        if let Some(refused) = refused_in_turn() {
            return Poll::Ready(refused);
        }
        match service.turn(|engine| engine.core.journal.end_of(id, cx.waker())) {
            Some(why) => Poll::Ready(end(why)),
            None => Poll::Pending,
        }
    }))
}

unsafe extern "C" fn set_name(data: *mut c_void, name: Str) {
    // SAFETY: as above; the name lives for the call.
    let (cursor, name) = unsafe { (value::<Cursor>(data), name.text()) };
    change(&cursor.service, cursor.id, move |journal, id| journal.name_cursor(id, &name));
}

unsafe extern "C" fn set_class(data: *mut c_void, class: u32) {
    // SAFETY: as above.
    let cursor = unsafe { value::<Cursor>(data) };
    change(&cursor.service, cursor.id, move |journal, id| journal.set_cursor_class(id, class_of(class)));
}

/// Changes a cursor in the journal: now, or right behind the turn that this is called in, in the order of the calls.
fn change(service: &Arc<Service>, id: CursorId, body: impl FnOnce(&mut Journal, CursorId) + Send + 'static) {
    service.behind_turn(move |engine| body(&mut engine.core.journal, id));
    // The queue is worked off at the end of any turn of that engine; whose turn this is can't be told.
    let turn = {
        let service = service.clone();
        move || service.turn(|_| ())
    };
    if in_turn() {
        async_std::task::spawn(async move { turn() });
    } else {
        let _ = crate::host::guarded(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::frame::inside;
    use bytes::Bytes;
    use keystead_engine::EngineOptions;
    use keystead_engine::journal::CursorClass;
    use parking_lot::Mutex;

    #[test]
    fn small_pieces_are_joined_and_large_ones_are_split() {
        let pieces = |sizes: &[usize]| sizes.iter().map(|n| Bytes::from(vec![0u8; *n])).collect::<VecDeque<_>>();
        let mut ahead = pieces(&[10, 20, 30]);
        assert_eq!(join(&mut ahead, 1000).len(), 60);
        let mut ahead = pieces(&[10, JOIN, 30]);
        assert_eq!(join(&mut ahead, 1 << 20).len(), 10);
        assert_eq!(join(&mut ahead, 1 << 20).len(), JOIN);
        let mut ahead = pieces(&[100]);
        assert_eq!((join(&mut ahead, 30).len(), join(&mut ahead, 1000).len()), (30, 70));
        assert!(ahead.is_empty());
        let most = |sizes: &[usize]| largest_join(pieces(sizes).make_contiguous(), 1 << 20);
        assert_eq!([most(&[10, JOIN, 30]), most(&[10, 20, JOIN, 5, 6]), most(&[])], [0, 30, 0]);
    }

    /// What a plugin changes inside of a turn holds when the next turn begins, whoever's that is, the last change last.
    #[test]
    fn changes_hold_right_behind_the_turn_in_their_order() {
        let engine = Engine::new(EngineOptions::default());
        let service = Service::new("", engine, async_channel::unbounded().0, Arc::default());
        let changes = Arc::new(Mutex::new(Vec::new()));
        let id = service.turn(|engine| engine.core.journal.open_cursor(CursorClass::Feed, None));
        let id = id.expect("a cursor");
        let change_to = |number: u32| {
            let changes = changes.clone();
            change(&service, id, move |journal, id| {
                assert!(journal.cursor_status(id).is_some());
                changes.lock().push(number);
            });
        };
        for round in 0..50 {
            service.turn(|_| inside(|| (0..4).for_each(&change_to)));
            let seen = service.turn(|_| std::mem::take(&mut *changes.lock()));
            assert_eq!(seen, [0, 1, 2, 3], "round {round}");
        }
        change_to(9);
        assert_eq!(*changes.lock(), [9], "outside of a turn at once");
    }
}
