//! Cuts of the keyspace, read while writes go on: a thread of its own steps the cut under the lock, in small steps, and
//! encodes outside it. A reader that is slow stops the thread, not the server.

use super::{cursor, drop_object, object, value};
use crate::host::plugin::Plugin;
use crate::net::service::Service;
use async_channel::{Receiver, Sender, bounded};
use futures::Stream;
use keystead_abi::glue::WakerRef;
use keystead_abi::{self as abi, Buf, History, Object, Out, SnapshotApi, Waker};
use keystead_engine::Engine;
use keystead_engine::journal::CursorClass;
use keystead_engine::keyspace::{CutBudget, CutId, Keyspace, RawRecord, TooManyCuts};
use keystead_engine::rdb::{EncodeOptions, Output};
use std::ffi::c_void;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The oldest version that is written.
pub(crate) const RDB_VERSION: u32 = 10;
/// The version that knows hash fields with deadlines.
const RDB_VERSION_TIMES: u32 = 12;
/// A batch is given when it has so many bytes.
const BATCH: usize = 256 << 10;
/// How many batches may wait for the reader.
const AHEAD: usize = 4;

/// Records of one database.
struct Batch {
    db: u32,
    count: u32,
    held: Counted,
}

impl Batch {
    fn new(db: u32, jobs_bytes: &Arc<AtomicU64>) -> Batch {
        Batch { db, count: 0, held: Counted::new(BATCH + BATCH / 4, jobs_bytes.clone()) }
    }

    /// Sends it, and begins another. False: nobody reads any more.
    fn send(&mut self, sender: &Sender<Batch>) -> bool {
        self.held.count();
        let next = Batch::new(self.db, &self.held.jobs_bytes);
        sender.send_blocking(std::mem::replace(self, next)).is_ok()
    }
}

/// Bytes on their way to whoever reads a snapshot. Counted as long as they live, for they aren't the data's: no key is
/// evicted for them.
struct Counted {
    bytes: Vec<u8>,
    counted: u64,
    jobs_bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Room for so many. They are counted first: a turn may fall between.
    fn new(room: usize, jobs_bytes: Arc<AtomicU64>) -> Counted {
        let mut new = Counted { bytes: Vec::new(), counted: 0, jobs_bytes };
        new.count_as(room);
        new.bytes.reserve_exact(room);
        new
    }

    /// Counts what has come to it.
    fn count(&mut self) {
        self.count_as(self.bytes.capacity());
    }

    fn count_as(&mut self, bytes: usize) {
        let now = bytes as u64;
        self.jobs_bytes.fetch_add(now.wrapping_sub(self.counted), Ordering::Relaxed);
        self.counted = now;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes = Vec::new();
        self.count();
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Snapshot {
    batches: Pin<Box<Receiver<Batch>>>,
    offset: u64,
    keys: u64,
    stream_db: i64,
    history: History,
    changes: u64,
    /// What plugins keep beside the keys, or why that or the cut can't be read. Then nothing is: waiting as for one cut too
    /// many wouldn't help.
    sections: Result<Vec<u8>, String>,
}

static API: SnapshotApi = SnapshotApi {
    size: size_of::<SnapshotApi>() as u32,
    kind: abi::KIND_SNAPSHOT,
    drop: drop_object::<Snapshot>,
    poll_next,
    offset,
    keys,
    stream_db,
    history,
    changes,
    sections,
};

/// The oldest version that can carry the data there is.
pub(crate) fn needed(ks: &Keyspace) -> u32 {
    if ks.has_times() { RDB_VERSION_TIMES } else { RDB_VERSION }
}

/// The version of files that this server writes for itself: the one that somebody chose, or else what carries the data. Whoever
/// can't read that couldn't do with the data either, and a server that can't save is worse.
pub(crate) fn of_own_files(engine: &Engine) -> u32 {
    let configured = u32::from(engine.core.config.live.rdb_version);
    if engine.core.config.rdb_version_is_chosen() { configured } else { configured.max(needed(&engine.ks)) }
}

/// While it lives and some time after, memory that is new to the process comes in small pages. Writers copy what an open cut
/// shares, and the stream piles up while a replica loads; a huge page that is zeroed under them takes 5 to 10 ms on a
/// virtual machine. Otherwise huge pages are worth much: without them a deep pipeline of GETs is a fifth slower. What was
/// small is made huge again by the kernel, in the background.
struct SmallPages {
    begun: Instant,
}

/// How many cuts ask for it.
static SMALL_PAGES: Mutex<usize> = Mutex::new(0);
/// A replica loads for longer than its snapshot was read: so many times as long, so long at least, and at most: a reader
/// may have held the cut open for hours.
const LOADS_FOR: u32 = 4;
const LOADS_AT_LEAST: Duration = Duration::from_secs(10);
const LOADS_AT_MOST: Duration = Duration::from_secs(120);

impl SmallPages {
    fn new() -> SmallPages {
        Self::count(|count| count + 1);
        SmallPages { begun: Instant::now() }
    }

    fn count(change: impl Fn(usize) -> usize) {
        let mut count = SMALL_PAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *count;
        *count = change(before);
        // A kernel without huge pages refuses, and needs nothing.
        if (before == 0) != (*count == 0)
            && let Err(error) = nix::sys::prctl::set_thp_disable(*count > 0)
        {
            log::debug!("huge pages stay as they are: {error}");
        }
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        let rest = self.begun.elapsed().saturating_mul(LOADS_FOR).clamp(LOADS_AT_LEAST, LOADS_AT_MOST);
        async_std::task::spawn(async move {
            async_std::task::sleep(rest).await;
            Self::count(|count| count - 1);
        });
    }
}

/// Opens a cut, and with a class a cursor right behind it.
pub(crate) fn open(
    service: &Arc<Service>,
    plugin: &'static Plugin,
    class: Option<CursorClass>,
    options: EncodeOptions,
    pieces: bool,
) -> Out {
    let (host, small_pages) = (plugin.host(), SmallPages::new());
    let begun = service.turn(|engine| {
        if let Some(why) = host.unsaveable() {
            return Err(why.to_owned());
        }
        if needed(&engine.ks) > u32::from(options.version) {
            let version = options.version;
            return Err(format!(
                "hash with field expiry can't be written in RDB version {version}, only in 12 (rdb-version)"
            ));
        }
        let sections = host.save_sections();
        let snapshot = engine.begin_snapshot(class).map_err(|error: TooManyCuts| error.to_string())?;
        let place = snapshot.cursor.map(|id| cursor::place_of(host, engine, id));
        let jobs_bytes = engine.core.jobs_bytes.clone();
        let history = host.placed_history(&engine.core);
        Ok((snapshot, place, history, engine.ks.dirty(), sections, jobs_bytes))
    });
    let (snapshot, place, history, changes, sections, jobs_bytes) = match begun {
        Ok(begun) => begun,
        Err(error) => return Out::failed(abi::ERR, error),
    };
    let (sender, batches) = bounded(AHEAD);
    let producer = Producer {
        service: service.clone(),
        cut: snapshot.cut,
        sender,
        jobs_bytes,
        options,
        pieces,
        done: false,
        _small_pages: small_pages,
    };
    let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || producer.run());
    let follow = match (class, snapshot.cursor.zip(place)) {
        (None, _) => Object::NONE,
        (Some(_), Some((id, place))) => cursor::new(plugin, service.clone(), id, place),
        (Some(_), None) => return Out::failed(abi::ERR, "the journal gave no cursor"),
    };
    let keys = snapshot.sizes.iter().map(|(keys, _)| keys).sum();
    let stream_db = snapshot.stream_db.map_or(-1, i64::from);
    let batches = Box::pin(batches);
    // Told by the first read: who waits for a free cut would take it for one too many.
    let sections = thread.map_err(|error| format!("no thread for the snapshot: {error}")).and(sections);
    let view = object(Snapshot { batches, offset: snapshot.offset, keys, stream_db, history, changes, sections }, &API);
    Out { a: snapshot.offset, object: view, object2: follow, ..Out::DONE }
}

/// Reads the cut to its end, or until nobody wants it.
struct Producer {
    service: Arc<Service>,
    cut: CutId,
    sender: Sender<Batch>,
    jobs_bytes: Arc<AtomicU64>,
    options: EncodeOptions,
    /// Large records may go out in pieces.
    pieces: bool,
    /// The cut closes itself with its last step.
    done: bool,
    _small_pages: SmallPages,
}

impl Producer {
    fn run(mut self) {
        let mut batch = Batch::new(0, &self.jobs_bytes);
        while !self.done {
            let cut = self.cut;
            let step = self.service.turn_of_job(|engine| engine.snapshot_step(cut, CutBudget::default()));
            self.done = step.done;
            for record in &step.records {
                if !self.add(&mut batch, record) {
                    return;
                }
            }
        }
        if !batch.held.bytes.is_empty() {
            batch.held.count();
            let _ = self.sender.send_blocking(batch);
        }
    }

    /// Adds a record; gives the batch away when it is full or the next database begins. False: nobody reads any more.
    fn add(&self, batch: &mut Batch, record: &RawRecord) -> bool {
        let db = record.db() as u32;
        if batch.count > 0 && (db != batch.db || batch.held.bytes.len() >= BATCH) && !batch.send(&self.sender) {
            return false;
        }
        batch.db = db;
        let fits = !self.pieces || record.collection_bytes() < BATCH;
        let read = if fits {
            record.encode(&mut batch.held.bytes, self.options);
            true
        } else {
            let mut pieces = Pieces { sender: &self.sender, batch, read: true };
            record.encode(&mut pieces, self.options);
            pieces.read
        };
        batch.count += 1;
        read
    }
}

/// A record that goes out in pieces: what is there is sent whenever it is enough for a batch.
struct Pieces<'p> {
    sender: &'p Sender<Batch>,
    batch: &'p mut Batch,
    /// Somebody reads.
    read: bool,
}

impl Output for Pieces<'_> {
    const PIECEWISE: bool = true;

    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.batch.held.bytes
    }

    fn begins(&mut self, _: u8) {}

    fn element_ends(&mut self) {
        if self.batch.held.bytes.len() < BATCH {
            return;
        }
        if !self.read {
            self.batch.held.bytes.clear();
            return;
        }
        self.read = self.batch.send(self.sender);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.done {
            self.service.turn(|engine| engine.end_snapshot(self.cut));
        }
    }
}

unsafe extern "C" fn poll_next(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32 {
    // SAFETY: the contract of `ks_snapshot_api`; the caller gives room for one result.
    unsafe {
        let (snapshot, waker) = (value::<Snapshot>(data), WakerRef::new(waker));
        if let Err(why) = &snapshot.sections {
            out.write(Out::failed(abi::ERR, why.clone()));
            return abi::READY;
        }
        let result = match snapshot.batches.as_mut().poll_next(&mut Context::from_waker(waker.waker())) {
            Poll::Pending => return abi::PENDING,
            Poll::Ready(Some(batch)) => {
                let Batch { db, count, held } = batch;
                Out { a: u64::from(db), b: u64::from(count), buf: Buf::new(held), ..Out::DONE }
            }
            Poll::Ready(None) => Out { status: abi::CLOSED, ..Out::DONE },
        };
        out.write(result);
        abi::READY
    }
}

unsafe extern "C" fn offset(data: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { value::<Snapshot>(data) }.offset
}

unsafe extern "C" fn keys(data: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { value::<Snapshot>(data) }.keys
}

unsafe extern "C" fn stream_db(data: *mut c_void) -> i64 {
    // SAFETY: as above.
    unsafe { value::<Snapshot>(data) }.stream_db
}

unsafe extern "C" fn history(data: *mut c_void, out: *mut History) {
    // SAFETY: as above; the caller gives room for one value.
    unsafe { out.write(value::<Snapshot>(data).history) }
}

unsafe extern "C" fn changes(data: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { value::<Snapshot>(data) }.changes
}

unsafe extern "C" fn sections(data: *mut c_void, out: *mut Buf) {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe { out.write(Buf::new(value::<Snapshot>(data).sections.clone().unwrap_or_default())) }
}
