//! The journal, cursors, snapshots, loads, and a primary's stream.

use super::super::frame::{current, current_mut, in_turn, owned_words, refused_in_turn};
use super::engine::in_engine;
use super::{asynchronous, caller, failed};
use crate::host::plugin::Plugin;
use crate::host::{DATA, guarded, objects};
use keystead_abi::{self as abi, Future, History, JournalState, Object, Out, Str};
use keystead_engine::core::Core;
use keystead_engine::journal::{CursorClass, OpenError};
use keystead_engine::rdb::{EncodeOptions, MAX_RDB_VERSION};
use keystead_engine::{Gate, Targets};
use std::ffi::c_void;

pub(super) unsafe extern "C" fn journal(host: *mut c_void, out: *mut JournalState) {
    // SAFETY: the contract of `ks_host_api`.
    let plugin = unsafe { caller(host) };
    let host = plugin.host();
    let inside = current(|frame| (frame.endpoint == DATA).then(|| host.journal_state(frame.core()))).flatten();
    let state = match inside {
        Some(state) => Some(state),
        None if in_turn() => None,
        None => plugin.engine(DATA).map(|service| service.turn(|engine| host.journal_state(&engine.core))),
    };
    let none =
        || JournalState { history: *host.history.lock(), offset: 0, first: 0, len: 0, size: 0, active: 0, db: -1 };
    // SAFETY: the caller gives room for one value.
    unsafe { out.write(state.unwrap_or_else(none)) };
}

pub(super) unsafe extern "C" fn journal_offset(host: *mut c_void) -> u64 {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let inside = current(|frame| (frame.endpoint == DATA).then(|| frame.core().journal.offset())).flatten();
    match inside {
        Some(offset) => offset,
        None if in_turn() => 0,
        None => plugin.engine(DATA).map_or(0, |service| service.turn(|engine| engine.core.journal.offset())),
    }
}

pub(super) unsafe extern "C" fn control_record(
    host: *mut c_void,
    argv: *const Str,
    argc: usize,
    targets: u32,
) -> Future {
    // SAFETY: as above; the words live for the call.
    let (plugin, args) = unsafe { (caller(host), owned_words(argv, argc)) };
    in_engine(plugin, DATA, move |engine| {
        let words: Vec<&[u8]> = args.view().iter().collect();
        engine.core.control_record(Targets(targets as u8), &words);
        Out { a: engine.core.journal.offset(), ..Out::DONE }
    })
}

pub(super) unsafe extern "C" fn rebase(host: *mut c_void, history: *const History) -> Future {
    // SAFETY: as above; the history lives for the call.
    let (plugin, history) = unsafe { (caller(host), *history) };
    in_engine(plugin, DATA, move |engine| match plugin.host().rebase(&mut engine.core, &history) {
        Ok(()) => Out::DONE,
        Err(why) => failed(why),
    })
}

pub(super) unsafe extern "C" fn set_backlog(host: *mut c_void, bytes: u64) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    in_engine(plugin, DATA, move |engine| {
        engine.core.journal.set_backlog((bytes > 0).then_some(bytes));
        Out::DONE
    })
}

/// A class as the journal knows it.
pub(crate) fn class_of(raw: u32) -> CursorClass {
    match raw {
        abi::CURSOR_SYNCING => CursorClass::SyncingReplica,
        abi::CURSOR_PERSISTENCE => CursorClass::Persistence,
        abi::CURSOR_FEED => CursorClass::Feed,
        _ => CursorClass::Replica,
    }
}

pub(super) unsafe extern "C" fn open_cursor(host: *mut c_void, from: u64, class: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    asynchronous(move || async move {
        let Some(service) = plugin.engine(DATA) else { return failed("there is no data engine") };
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        let opened = service.turn(|engine| {
            let from = (from != abi::KEEP_OFFSET).then_some(from);
            let id = engine.core.journal.open_cursor(class_of(class), from)?;
            Ok((id, objects::cursor::place_of(plugin.host(), engine, id)))
        });
        match opened {
            Ok((id, place)) => Out { object: objects::cursor::new(plugin, service, id, place), ..Out::DONE },
            Err(OpenError::TooOld) => Out::failed(abi::BEHIND, format!("offset {from} is no longer kept")),
            Err(OpenError::Ahead) => failed(format!("offset {from} lies ahead of the journal")),
        }
    })
}

pub(super) unsafe extern "C" fn snapshot_and_follow(host: *mut c_void, rdb_version: u32, class: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    cut(plugin, rdb_version, Some(class_of(class)))
}

pub(super) unsafe extern "C" fn snapshot(host: *mut c_void, rdb_version: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    cut(plugin, rdb_version, None)
}

fn cut(plugin: &'static Plugin, rdb_version: u32, class: Option<CursorClass>) -> Future {
    asynchronous(move || async move {
        let Some(service) = plugin.engine(DATA) else { return failed("there is no data engine") };
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        let version = rdb_version & !(abi::RDB_PLAIN | abi::RDB_PIECES);
        if !(objects::snapshot::RDB_VERSION..=u32::from(MAX_RDB_VERSION)).contains(&version) {
            return failed(format!("records of RDB version {version} can't be written"));
        }
        let compress = rdb_version & abi::RDB_PLAIN == 0;
        let options = EncodeOptions { compress, version: u16::try_from(version).unwrap_or(u16::MAX) };
        let pieces = rdb_version & abi::RDB_PIECES != 0;
        objects::snapshot::open(&service, plugin, class, options, pieces)
    })
}

pub(super) unsafe extern "C" fn begin_load(host: *mut c_void, mode: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    asynchronous(move || async move {
        let Some(service) = plugin.engine(DATA) else { return failed("there is no data engine") };
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        match objects::load::begin(service, plugin.host().clone(), mode) {
            Ok(object) => Out { object, ..Out::DONE },
            Err(reason) => failed(reason),
        }
    })
}

pub(super) unsafe extern "C" fn open_apply(host: *mut c_void, db: u32, out: *mut Object) -> u32 {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let Some(service) = plugin.engine(DATA) else { return abi::ERR };
    let begin = |core: &mut Core| {
        if core.gates.is(Gate::Replica) {
            core.journal.set_stream_db(Some(db));
        }
        (core.journal.history(), core.journal.offset())
    };
    let inside = current_mut(|frame| if frame.endpoint == DATA { frame.core_mut().map(begin) } else { None });
    let state = match inside.flatten() {
        Some(state) => Some(state),
        None if in_turn() => None,
        None => guarded(|| service.turn(|engine| begin(&mut engine.core))).ok(),
    };
    let Some((history, offset)) = state else { return abi::ERR };
    // SAFETY: the caller gives room for one object.
    unsafe { out.write(objects::apply::new(service, db as usize, history, offset)) };
    abi::OK
}

pub(super) unsafe extern "C" fn open_replay(host: *mut c_void, out: *mut Object) -> u32 {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let Some(service) = plugin.engine(DATA) else { return abi::ERR };
    // SAFETY: the caller gives room for one object.
    unsafe { out.write(objects::apply::replay(service)) };
    abi::OK
}
