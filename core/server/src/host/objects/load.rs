//! Keyspaces being filled from records: decoded outside the lock, put in small steps under it.
//! A load in place closes the loading gate until it is committed or given up; a shadow changes nothing before its commit.

use super::{drop_object, object, value};
use crate::net::service::Service;
use keystead_abi::glue::{OwnedBuf, export_future};
use keystead_abi::{self as abi, Buf, Future, LoadApi, Object, Out};
use keystead_engine::keyspace::load::{Loaded, Put};
use keystead_engine::keyspace::{ExpiryMode, Keyspace};
use keystead_engine::{Engine, Gate, Gates, rdb};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;

/// Entries put under the lock at once: some tens of microseconds.
const STEP: usize = 256;

/// Where the records go.
enum Target {
    InPlace,
    Shadow(Box<Keyspace>),
}

struct Inner {
    service: Arc<Service>,
    gates: Arc<Gates>,
    gate: Gate,
    limits: keystead_engine::keyspace::Limits,
    databases: usize,
    target: Mutex<Option<Target>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gates.set(self.gate, false);
    }
}

struct Load(Arc<Inner>);

static API: LoadApi =
    LoadApi { size: size_of::<LoadApi>() as u32, kind: abi::KIND_LOAD, drop: drop_object::<Load>, put, commit };

/// Begins a load.
pub(crate) fn begin(service: Arc<Service>, mode: u32) -> Result<Object, String> {
    let inner = service.turn(|engine| start(engine, service.clone(), mode))?;
    Ok(object(Load(Arc::new(inner)), &API))
}

fn start(engine: &mut Engine, service: Arc<Service>, mode: u32) -> Result<Inner, String> {
    let (target, gate) = match mode {
        abi::LOAD_FLUSH => {
            engine.ks.flush_all();
            (Target::InPlace, Gate::Loading)
        }
        abi::LOAD_ON_EMPTY if engine.ks.is_empty() => (Target::InPlace, Gate::Loading),
        abi::LOAD_ON_EMPTY => return Err("the keyspace is not empty".to_owned()),
        abi::LOAD_SHADOW => (Target::Shadow(Box::new(engine.ks.shadow())), Gate::AsyncLoading),
        other => return Err(format!("{other} is no way to load")),
    };
    let gates = engine.gates();
    gates.set(gate, true);
    let limits = *engine.ks.limits();
    let databases = engine.ks.databases();
    Ok(Inner { service, gates, gate, limits, databases, target: Mutex::new(Some(target)) })
}

/// Puts a batch.
fn fill(inner: &Inner, db: u32, count: u32, records: &[u8]) -> Result<u64, String> {
    let db = db as usize;
    if db >= inner.databases {
        return Err(format!("the data has a database {db}, this server has {}", inner.databases));
    }
    let mut decoded = Vec::with_capacity((count as usize).min(records.len()));
    for record in rdb::records(records) {
        let record = record.map_err(|error| error.to_string())?;
        decoded.push(Loaded::decode(inner.limits, &record).map_err(|error| error.to_string())?);
    }
    if decoded.len() != count as usize {
        return Err(format!("a batch of {count} records has {}", decoded.len()));
    }
    let mut target = inner.target.lock();
    match target.as_mut().ok_or("the load is over")? {
        Target::Shadow(shadow) => Ok(put_all(shadow, db, decoded.into_iter())),
        Target::InPlace => {
            let mut decoded = decoded.into_iter();
            let mut stored = 0;
            while decoded.len() > 0 {
                stored += inner.service.turn(|engine| put_all(&mut engine.ks, db, decoded.by_ref().take(STEP)));
            }
            Ok(stored)
        }
    }
}

/// Expired keys are kept, as on a replica: their deletion comes with the stream.
fn put_all(keys: &mut Keyspace, db: usize, entries: impl Iterator<Item = Loaded>) -> u64 {
    let mode = keys.expiry_mode();
    keys.set_expiry_mode(ExpiryMode::Ignore);
    let stored = entries.map(|entry| keys.put_loaded(db, entry)).filter(|put| *put != Put::Expired).count();
    keys.set_expiry_mode(mode);
    stored as u64
}

/// Makes it the keyspace; how many keys there are.
fn finish(inner: &Inner) -> Result<u64, String> {
    let target = inner.target.lock().take().ok_or("the load is over")?;
    let keys = inner.service.turn(|engine| {
        if let Target::Shadow(shadow) = target {
            engine.ks.swap_in(*shadow);
        }
        engine.core.journal.data_replaced();
        (0..engine.ks.databases()).map(|db| engine.ks.len(db) as u64).sum()
    });
    inner.gates.set(inner.gate, false);
    Ok(keys)
}

fn answer(result: Result<u64, String>) -> Out {
    match result {
        Ok(number) => Out { a: number, ..Out::DONE },
        Err(reason) => Out::failed(abi::ERR, reason),
    }
}

unsafe extern "C" fn put(data: *mut c_void, db: u32, count: u32, records: Buf) -> Future {
    // SAFETY: the contract of `ks_load_api`; the buffer is handed over.
    let (inner, records) = unsafe { (value::<Load>(data).0.clone(), OwnedBuf::new(records)) };
    export_future(async move { answer(fill(&inner, db, count, records.as_ref())) })
}

unsafe extern "C" fn commit(data: *mut c_void) -> Future {
    // SAFETY: as above.
    let inner = unsafe { value::<Load>(data) }.0.clone();
    export_future(async move { answer(finish(&inner)) })
}
