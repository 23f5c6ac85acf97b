//! Snapshots out, loads in, and a primary's stream applied. All speak batches of RDB records.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::{History, Owned, poll_out};
use bytes::Bytes;
use keystead_abi::{
    self as abi, Buf, Object,
    glue::{OwnedBuf, import_future},
};
use std::mem::MaybeUninit;

/// Records of one database: each exactly the bytes of one key in an RDB file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The database.
    pub db: u32,
    /// How many records.
    pub count: u32,
    /// The records, one behind the other.
    pub bytes: Bytes,
}

/// A cut of the keyspace at one offset, read while writes go on.
pub struct Snapshot(Owned);

impl Snapshot {
    pub(crate) fn new(object: Object) -> Result<Snapshot> {
        Ok(Snapshot(Owned::of_kind(object, abi::KIND_SNAPSHOT)?))
    }

    fn api(&self) -> &abi::SnapshotApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// The next batch; `None` when that was all. Batches of one database follow each other.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        let done = {
            let this = &*self;
            // SAFETY: the object is alive; the waker and the result are borrowed for the call.
            poll_out(move |waker, out| unsafe { (this.api().poll_next)(this.0.0.data, waker, out) }).await
        };
        match done.status {
            abi::OK => Ok(Some(Batch { db: done.a as u32, count: done.b as u32, bytes: Bytes::from_owner(done.buf) })),
            abi::CLOSED => Ok(None),
            _ => Err(Error::new(done.buf.text())),
        }
    }

    /// The replication offset of the cut.
    pub fn offset(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().offset)(self.0.0.data) }
    }

    /// How many keys there were at the cut.
    pub fn keys(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().keys)(self.0.0.data) }
    }

    /// The database that the replication stream has selected at the cut; `None` if its next record is a SELECT. On a
    /// replica the stream is its primary's, where no SELECT can be put in.
    pub fn stream_db(&self) -> Option<u32> {
        // SAFETY: plain call.
        u32::try_from(unsafe { (self.api().stream_db)(self.0.0.data) }).ok()
    }

    /// The history at the cut, with the offset of the cut.
    pub fn history(&self) -> History {
        let mut out = MaybeUninit::uninit();
        // SAFETY: the function fills `out`.
        History::from_raw(&unsafe {
            (self.api().history)(self.0.0.data, out.as_mut_ptr());
            out.assume_init()
        })
    }

    /// How many changes were made to the keys up to the cut, as [`Ctx::changes`](crate::Ctx::changes) counts.
    pub fn changes(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().changes)(self.0.0.data) }
    }

    /// What plugins keep beside the keys (functions), as of the cut: records as they stand in an RDB file, each beginning
    /// with its opcode, which is 245 for all of them; empty if there are none. Who writes a file copies them, before the
    /// first database, and gives them to [`Load::put_section`] when it reads the file: they are a part of the data.
    pub fn sections(&self) -> Bytes {
        let mut out = Buf::EMPTY;
        // SAFETY: the function fills `out`, which is ours to own then.
        unsafe {
            (self.api().sections)(self.0.0.data, &mut out);
            Bytes::from_owner(OwnedBuf::new(out))
        }
    }

    pub(crate) fn into_object(self) -> Object {
        leak(self.0)
    }
}

fn leak(owned: Owned) -> Object {
    let object = owned.0;
    std::mem::forget(owned);
    object
}

/// How a load replaces what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadMode {
    /// Flush first, then fill in place.
    Flush,
    /// Only into an empty keyspace.
    OnEmpty,
    /// As `OnEmpty`, but keys that have expired are left out. For data that belongs to no stream: else their DEL must be
    /// part of it.
    Fresh,
    /// Fill a shadow and swap it in with the commit; a failure changes nothing.
    Shadow,
    /// As `Flush`, for data that the journal's readers have already: they are told nothing. The caller holds
    /// [`Gate::Loading`](crate::Gate::Loading) itself, over all loads and replays that belong together.
    Again,
}

impl LoadMode {
    pub(crate) fn to_raw(self) -> u32 {
        match self {
            LoadMode::Flush => abi::LOAD_FLUSH,
            LoadMode::OnEmpty => abi::LOAD_ON_EMPTY,
            LoadMode::Fresh => abi::LOAD_FRESH,
            LoadMode::Shadow => abi::LOAD_SHADOW,
            LoadMode::Again => abi::LOAD_AGAIN,
        }
    }
}

/// Versions of RDB, for those who choose the one of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdbVersions {
    /// What is to be written for readers that said nothing of themselves (`rdb-version`).
    pub configured: u16,
    /// What can carry the data as it is now; a snapshot in an older one is refused.
    pub needed: u16,
}

impl Host {
    /// The versions that matter now.
    pub fn rdb_versions(&self) -> RdbVersions {
        RdbVersions { configured: self.version("rdb-version"), needed: self.version("rdb_version_needed") }
    }

    /// What files that stay here are to be written in: `rdb-version` if somebody chose one, or else what carries the data.
    pub fn rdb_version_of_own_files(&self) -> u16 {
        self.version("rdb_version_of_own_files")
    }

    fn version(&self, name: &str) -> u16 {
        const OLDEST: u16 = 10;
        self.setting(name).and_then(|text| text.parse().ok()).unwrap_or(OLDEST)
    }
}

/// Uncompressed strings in a snapshot: to be added to its RDB version (`rdbcompression no`).
pub const RDB_PLAIN: u32 = abi::RDB_PLAIN;

/// A large record may be split over several batches: for readers that only copy bytes. A batch counts the records that end
/// in it. To be added to a snapshot's RDB version.
pub const RDB_PIECES: u32 = abi::RDB_PIECES;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Keys that are there now.
    pub stored: u64,
    /// Keys that had expired and were left out.
    pub expired: u64,
}

/// A keyspace being filled. Dropped without a commit it is aborted.
pub struct Load(Owned);

impl Load {
    pub(crate) fn new(object: Object) -> Result<Load> {
        Ok(Load(Owned::of_kind(object, abi::KIND_LOAD)?))
    }

    fn api(&self) -> &abi::LoadApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// Adds a batch of records.
    pub async fn put(&mut self, batch: Batch) -> Result<Added> {
        let Batch { db, count, bytes } = batch;
        // SAFETY: the object is alive; the buffer is handed over.
        let put = unsafe { import_future((self.api().put)(self.0.0.data, db, count, Buf::new(bytes))) };
        let done = put.await.ok()?;
        Ok(Added { stored: done.a, expired: done.b })
    }

    /// Adds records of one opcode that aren't keys, as they stand in the file; they take effect with the commit. Whether a
    /// plugin takes them: if not they stay as they are, for snapshots.
    pub async fn put_section(&mut self, opcode: u8, records: Bytes) -> Result<bool> {
        // SAFETY: as in `put`.
        let put =
            unsafe { import_future((self.api().put_section)(self.0.0.data, u32::from(opcode), Buf::new(records))) };
        Ok(put.await.ok()?.a == 1)
    }

    /// Makes it the keyspace; how many keys there are.
    pub async fn commit(self) -> Result<u64> {
        // SAFETY: the object is alive until `self` is dropped, after the await.
        let commit = unsafe { import_future((self.api().commit)(self.0.0.data)) };
        Ok(commit.await.ok()?.a)
    }

    /// Gives up. A shadow load changes nothing, a flushed keyspace is empty behind it; the other modes leave what was put so
    /// far.
    pub fn abort(self) {}
}

/// What came of a piece of a primary's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The offset at the last unit end.
    pub offset: u64,
    /// For each REPLCONF GETACK in it: the offset before it, which is what the answer says.
    pub getacks: Vec<u64>,
}

/// A primary's raw stream being executed. The identical bytes go to the own journal, so offsets are shared.
pub struct Apply(Owned);

impl Apply {
    pub(crate) fn new(object: Object) -> Result<Apply> {
        Ok(Apply(Owned::of_kind(object, abi::KIND_APPLY)?))
    }

    fn api(&self) -> &abi::ApplyApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// The same of an append-only file, see [`Host::replay`](crate::Host::replay): how many of its commands answered an
    /// error, and the first of them.
    pub async fn feed_file(&mut self, bytes: Bytes) -> Result<(u64, String)> {
        // SAFETY: as in `feed`.
        let feed = unsafe { import_future((self.api().feed)(self.0.0.data, Buf::new(bytes))) };
        let done = feed.await.ok()?;
        Ok((done.b, String::from_utf8_lossy(done.buf.as_ref()).into_owned()))
    }

    /// Executes what is complete of these bytes; an error means that the stream makes no sense.
    pub async fn feed(&mut self, bytes: Bytes) -> Result<Applied> {
        // SAFETY: the object is alive; the buffer is handed over.
        let feed = unsafe { import_future((self.api().feed)(self.0.0.data, Buf::new(bytes))) };
        let done = feed.await.ok()?;
        let numbers = done.buf.as_ref().chunks_exact(8);
        let getacks = numbers.map(|n| u64::from_le_bytes(n.try_into().unwrap_or_default())).collect();
        Ok(Applied { offset: done.a, getacks })
    }

    /// Drops a partial unit: the link was lost and resumes from the last end.
    pub fn reset(&mut self) {
        // SAFETY: plain call.
        unsafe { (self.api().reset)(self.0.0.data) }
    }

    /// The offset at the last unit end.
    pub fn offset(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().offset)(self.0.0.data) }
    }
}

/// Objects that a message of a service may carry by number.
pub(crate) fn load_into_object(load: Load) -> Object {
    leak(load.0)
}
