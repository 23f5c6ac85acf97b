//! Keyspaces being filled from records: decoded outside the lock, put in small steps under it.
//! A load in place closes the loading gate until it is committed or given up, and nothing is saved meanwhile; a shadow
//! changes nothing before its commit. Who flushed and then gives up leaves no keys: a part of a data set is none. The files
//! stay as they were then, until the next load is committed or this node is a primary.

use super::{drop_object, object, value};
use crate::host::Core;
use crate::host::frame::{in_turn, refused_in_turn};
use crate::net::service::Service;
use keystead_abi::glue::{OwnedBuf, export_future};
use keystead_abi::{self as abi, Buf, Future, LoadApi, Object, Out};
use keystead_engine::keyspace::load::{Loaded, Put};
use keystead_engine::keyspace::{ExpiryMode, Keyspace};
use keystead_engine::rdb::{self, RdbError};
use keystead_engine::{Engine, Gate, Gates};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Entries put under the lock at once: some tens of microseconds.
const STEP: usize = 256;

/// Empty keys that are named in the log.
const TOLD: u64 = 10;

/// Keys added, and keys left out because they have expired.
#[derive(Clone, Copy, Default)]
struct Added {
    stored: u64,
    expired: u64,
    /// How many came before the first whose key was there already.
    before_repeated: Option<u64>,
}

/// Where the records go.
enum Target {
    InPlace,
    Shadow(Box<Keyspace>),
}

struct Inner {
    open: Open,
    /// Records of plugins, by opcode, until the commit.
    sections: Mutex<Vec<(u32, Vec<u8>)>>,
    /// The journal's readers have the data already.
    known: bool,
    /// Committed.
    done: AtomicBool,
    expiry: ExpiryMode,
    limits: keystead_engine::keyspace::Limits,
    databases: usize,
    /// Collections without elements that were passed over.
    empty: AtomicU64,
    target: Mutex<Option<Target>>,
}

/// What holds as long as a load is open.
#[derive(Clone)]
struct Open {
    service: Arc<Service>,
    host: Arc<Core>,
    gates: Arc<Gates>,
    /// Closed meanwhile; none: whoever loads keeps it.
    gate: Option<Gate>,
    /// What was there is gone since the load began.
    flushed: bool,
}

impl Inner {
    /// A collection without elements, as faults of old servers left in their files: no key here, as in Redis.
    fn pass_over(&self, key: &[u8]) {
        if self.empty.fetch_add(1, Ordering::Relaxed) < TOLD {
            log::info!("Skipping empty key: {}", rdb::shown_key(key));
        }
    }
}

impl Open {
    /// In the turn that makes the keyspace whole again, so that nobody sees it before.
    fn reopen(&self) {
        if self.gate != Some(Gate::AsyncLoading) {
            self.host.filling.store(false, Ordering::Release);
        }
        if let Some(gate) = self.gate {
            self.gates.set(gate, false);
        }
    }

    /// What a load leaves that wasn't committed.
    fn give_up(&self) {
        if !self.flushed {
            return self.reopen();
        }
        self.service.turn(|engine| {
            engine.ks.flush_all();
            engine.core.journal.data_lost();
            self.host.lost.store(true, Ordering::Release);
            self.reopen();
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // At the end the gate stays closed: what is on the disk is from before the load.
        if self.done.load(Ordering::Acquire) || self.open.host.stopping.load(Ordering::Acquire) {
            return;
        }
        if in_turn() {
            // Right behind it.
            let open = self.open.clone();
            async_std::task::spawn(async move { open.give_up() });
        } else {
            self.open.give_up();
        }
    }
}

struct Load(Arc<Inner>);

static API: LoadApi = LoadApi {
    size: size_of::<LoadApi>() as u32,
    kind: abi::KIND_LOAD,
    drop: drop_object::<Load>,
    put,
    commit,
    put_section,
};

/// Begins a load.
pub(crate) fn begin(service: Arc<Service>, host: Arc<Core>, mode: u32) -> Result<Object, String> {
    let inner = service.turn(|engine| start(engine, service.clone(), host, mode))?;
    Ok(object(Load(Arc::new(inner)), &API))
}

fn start(engine: &mut Engine, service: Arc<Service>, host: Arc<Core>, mode: u32) -> Result<Inner, String> {
    let (target, gate) = match mode {
        abi::LOAD_FLUSH => {
            engine.ks.flush_all();
            (Target::InPlace, Some(Gate::Loading))
        }
        abi::LOAD_AGAIN => {
            engine.ks.flush_all();
            (Target::InPlace, None)
        }
        abi::LOAD_ON_EMPTY | abi::LOAD_FRESH if engine.ks.is_empty() => (Target::InPlace, Some(Gate::Loading)),
        abi::LOAD_ON_EMPTY | abi::LOAD_FRESH => return Err("the keyspace is not empty".to_owned()),
        abi::LOAD_SHADOW => (Target::Shadow(Box::new(engine.ks.shadow())), Some(Gate::AsyncLoading)),
        other => return Err(format!("{other} is no way to load")),
    };
    let gates = engine.gates();
    if let Some(gate) = gate {
        gates.set(gate, true);
    }
    if gate != Some(Gate::AsyncLoading) {
        host.filling.store(true, Ordering::Release);
    }
    let limits = *engine.ks.limits();
    let databases = engine.ks.databases();
    // Elsewhere expired keys are kept, as on a replica: their deletion comes with the stream, or goes into it.
    let expiry = if mode == abi::LOAD_FRESH { ExpiryMode::Delete } else { ExpiryMode::Ignore };
    let (target, sections) = (Mutex::new(Some(target)), Mutex::default());
    let known = mode == abi::LOAD_AGAIN;
    let flushed = matches!(mode, abi::LOAD_FLUSH | abi::LOAD_AGAIN);
    Ok(Inner {
        open: Open { service, host, gates, gate, flushed },
        sections,
        known,
        done: AtomicBool::new(false),
        expiry,
        limits,
        databases,
        empty: AtomicU64::new(0),
        target,
    })
}

/// Puts a batch.
fn fill(inner: &Inner, db: u32, count: u32, records: &[u8]) -> Result<Added, String> {
    let db = db as usize;
    if db >= inner.databases {
        return Err(format!("the data has a database {db}, this server has {}", inner.databases));
    }
    let mut decoded = Vec::with_capacity((count as usize).min(records.len()));
    let mut read = 0;
    for record in rdb::records(records) {
        let record = record.map_err(|error| error.to_string())?;
        match Loaded::decode(inner.limits, &record) {
            Ok(entry) => decoded.push(entry),
            Err(RdbError::Empty) => inner.pass_over(&record.key),
            Err(error) => return Err(format!("key '{}' in DB {db}: {error}", rdb::shown_key(&record.key))),
        }
        read += 1;
    }
    if read != count {
        return Err(format!("a batch of {count} records has {read}"));
    }
    let mut target = inner.target.lock();
    let mut added = Added::default();
    let payload = match target.as_mut().ok_or("the load is over")? {
        Target::Shadow(shadow) => {
            put_all(shadow, db, inner.expiry, decoded.into_iter(), &mut added);
            true
        }
        Target::InPlace => {
            let mut decoded = decoded.into_iter();
            while decoded.len() > 0 {
                let some = decoded.by_ref().take(STEP);
                inner.open.service.turn_of_job(|engine| put_all(&mut engine.ks, db, inner.expiry, some, &mut added));
            }
            inner.open.flushed && !inner.known
        }
    };
    match added.before_repeated {
        // Files can be read once more by who loads them, who then tells the place.
        Some(before) if payload => Err(repeated(inner, db, records, before)),
        _ => Ok(added),
    }
}

/// No server sends a key twice: the payload isn't what its primary has.
fn repeated(inner: &Inner, db: usize, records: &[u8], before: u64) -> String {
    let mut taken = rdb::records(records).flatten().filter(|record| Loaded::decode(inner.limits, record).is_ok());
    let key = taken.nth(before as usize).map(|record| rdb::shown_key(&record.key));
    format!("RDB has duplicated key '{}' in DB {db}", key.unwrap_or_default())
}

fn put_all(
    keys: &mut Keyspace,
    db: usize,
    expiry: ExpiryMode,
    entries: impl Iterator<Item = Loaded>,
    added: &mut Added,
) {
    let mode = keys.expiry_mode();
    keys.set_expiry_mode(expiry);
    for entry in entries {
        match keys.put_loaded(db, entry) {
            Put::Expired => added.expired += 1,
            Put::Stored => added.stored += 1,
            Put::Replaced => {
                added.before_repeated.get_or_insert(added.stored + added.expired);
                added.stored += 1;
            }
        }
    }
    keys.set_expiry_mode(mode);
}

/// Makes it the keyspace; how many keys there are.
fn finish(inner: &Inner) -> Result<u64, String> {
    let target = inner.target.lock().take().ok_or("the load is over")?;
    let sections = std::mem::take(&mut *inner.sections.lock());
    let keys: Result<u64, String> = inner.open.service.turn(|engine| {
        inner.open.host.load_sections(&sections)?;
        match target {
            Target::Shadow(shadow) => engine.ks.swap_in(*shadow),
            Target::InPlace => engine.ks.filled(),
        }
        engine.core.forget_own_deadlines();
        if !inner.known {
            engine.core.journal.data_replaced();
        }
        inner.done.store(true, Ordering::Release);
        inner.open.host.lost.store(false, Ordering::Release);
        inner.open.reopen();
        if engine.ks.has_times() {
            engine.core.forewarn_of_field_deadlines();
        }
        Ok((0..engine.ks.databases()).map(|db| engine.ks.len(db) as u64).sum())
    });
    match inner.empty.load(Ordering::Relaxed) {
        0 => {}
        empty => log::info!("Empty keys skipped: {empty}"),
    }
    keys
}

unsafe extern "C" fn put(data: *mut c_void, db: u32, count: u32, records: Buf) -> Future {
    // SAFETY: the contract of `ks_load_api`; the buffer is handed over.
    let (inner, records) = unsafe { (value::<Load>(data).0.clone(), OwnedBuf::new(records)) };
    export_future(async move {
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        let filled = fill(&inner, db, count, records.as_ref());
        // Whoever never waits is asked for all that is left at once: an end that is wanted, and the port, would wait for the load.
        async_std::task::yield_now().await;
        match filled {
            Ok(added) => Out { a: added.stored, b: added.expired, ..Out::DONE },
            Err(reason) => Out::failed(abi::ERR, reason),
        }
    })
}

unsafe extern "C" fn commit(data: *mut c_void) -> Future {
    // SAFETY: as above.
    let inner = unsafe { value::<Load>(data) }.0.clone();
    export_future(async move {
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        match finish(&inner) {
            Ok(keys) => Out { a: keys, ..Out::DONE },
            Err(reason) => Out::failed(abi::ERR, reason),
        }
    })
}

unsafe extern "C" fn put_section(data: *mut c_void, opcode: u32, records: Buf) -> Future {
    // SAFETY: as above; the buffer is handed over.
    let (inner, records) = unsafe { (value::<Load>(data).0.clone(), OwnedBuf::new(records)) };
    export_future(async move {
        let taken = inner.open.host.has_section(opcode);
        inner.sections.lock().push((opcode, records.as_ref().to_vec()));
        Out { a: u64::from(taken), ..Out::DONE }
    })
}
