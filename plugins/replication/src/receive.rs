//! The payload of a full resync, from the primary's socket into the keyspace.
//!
//! Owns the way it takes (through a file, straight in, or into a shadow) and the rule that nothing of ours is touched
//! before the payload proved to have keys, or to be whole. A load in place that breaks off leaves no keys, and the files as
//! they are. The machine in `link` decides what a failure means.

use crate::config::DisklessLoad;
use crate::offer::Payload;
use crate::plugin::Replication;
use crate::temporary::{self, Temporary};
use bytes::Bytes;
use keystead_plugin::prelude::*;
use keystead_plugin::{Batch, Gate, Load, LoadMode, Progress};
use keystead_rdb::{FileHead, FileParser, ParserLimits};
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes gathered before they go to the file, and read back at once.
const CHUNK: usize = 1024 * 1024;

/// Why a payload wasn't taken.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It has no keys, we have some, and the load was guarded: nothing was changed.
    CameBackEmpty,
    /// It can't be used.
    Broken(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Broken(error.text().to_string())
    }
}

/// A payload on its way.
pub(crate) struct Receiver {
    plugin: Arc<Replication>,
    filler: Filler,
    spool: Option<Spool>,
    /// A straight load couldn't use it.
    broken: bool,
}

/// A payload that is the keyspace now.
pub(crate) struct Taken {
    /// The database that the stream continues in.
    pub(crate) db: u32,
    /// Its file, if it went by way of the disk.
    pub(crate) payload: Option<Payload>,
}

/// Bytes that go to a file first.
struct Spool {
    temporary: Temporary,
    file: Option<File>,
    buf: Vec<u8>,
    len: u64,
    proof: Proof,
}

/// Whether a payload is one that can be loaded, found out as it comes: one that isn't costs no data. What is inside of the
/// values, and whether each key is there once, only a load tells.
struct Proof {
    parser: FileParser,
    databases: u32,
    ended: bool,
}

impl Proof {
    fn new(databases: u32) -> Proof {
        Proof { parser: parser(), databases, ended: false }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        use keystead_rdb::Event;
        if self.ended {
            return Ok(());
        }
        self.parser.feed(bytes);
        while let Some(event) = self.parser.next_event().map_err(unreadable)? {
            match event {
                Event::Batch { db, .. } if db >= self.databases => {
                    let databases = self.databases;
                    return Err(Failure::Broken(format!("the data has a database {db}, this server has {databases}")));
                }
                Event::Eof { .. } => {
                    self.ended = true;
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn parser() -> FileParser {
    FileParser::new(ParserLimits { batch_bytes: 256 * 1024, ..ParserLimits::default() })
}

impl Receiver {
    /// Chooses the way by `repl-diskless-load`. Old data is served during a load beside it only if it is of the same
    /// history as the new.
    /// `role_epoch` is that of the link: under another role nothing is loaded.
    pub(crate) async fn new(plugin: Arc<Replication>, same_history: bool, role_epoch: u64) -> Result<Receiver> {
        let own_keys = own_keys(&plugin).await?;
        let mode = plugin.config().diskless_load;
        let (load_mode, straight) = match mode {
            DisklessLoad::Swapdb => (LoadMode::Shadow, true),
            DisklessLoad::OnEmptyDb => (LoadMode::Flush, own_keys == 0),
            DisklessLoad::Disabled => (LoadMode::Flush, false),
        };
        let spool = if straight { None } else { Some(Spool::open(&plugin).await?) };
        let serves = load_mode == LoadMode::Shadow && same_history;
        let filler = Filler::new(plugin.clone(), load_mode, serves, role_epoch);
        Ok(Receiver { plugin, filler, spool, broken: false })
    }

    /// The rest won't come. Said only where a load had begun.
    pub(crate) fn give_up(self) {
        if self.filler.load.is_some() {
            log::warn!("Internal error in RDB: the payload broke off while it was loaded");
        }
    }

    /// The next bytes. Behind an error the rest is of no use.
    pub(crate) async fn piece(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.spool {
            Some(spool) => {
                spool.proof.feed(bytes)?;
                spool.push(&self.plugin, bytes).await.map_err(Failure::from)
            }
            None if self.broken => Ok(()),
            None => {
                let fed = self.filler.feed(bytes).await;
                self.broken = fed.is_err();
                fed
            }
        }
    }

    /// That was all but for `trailer` bytes at the end. The data is the keyspace when this is fine.
    pub(crate) async fn finish(mut self, trailer: usize, guarded: bool) -> Result<Taken, Failure> {
        self.filler.refuse_empty = guarded && own_keys(&self.plugin).await? > 0;
        if self.broken {
            return Err(Failure::Broken("the payload can't be used".into()));
        }
        let mut spool = self.spool.take();
        if let Some(spool) = &mut spool {
            if !spool.proof.ended {
                return Err(cut_short());
            }
            spool.flush(&self.plugin).await?;
            let mut left = spool.len.saturating_sub(trailer as u64);
            let path = spool.temporary.path().to_owned();
            let mut file = self.plugin.host.blocking(move || File::open(path)).await?.map_err(broken)?;
            while left > 0 {
                let want = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
                let read = move || -> std::io::Result<(File, Vec<u8>)> {
                    let mut piece = vec![0; want];
                    file.read_exact(&mut piece)?;
                    Ok((file, piece))
                };
                let piece;
                (file, piece) = self.plugin.host.blocking(read).await?.map_err(broken)?;
                left -= piece.len() as u64;
                self.filler.feed(&piece).await?;
            }
        }
        let head = self.filler.finish().await?;
        let db = head.stream.as_ref().map_or(0, |at| at.stream_db);
        Ok(Taken { db, payload: spool.and_then(|spool| spool.payload(trailer, &head)) })
    }
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(format!("Internal error in RDB: {error}"))
}

fn cut_short() -> Failure {
    Failure::Broken("the payload ends before the RDB does".into())
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

pub(crate) async fn own_keys(plugin: &Replication) -> Result<u64> {
    plugin.host.with_keyspace(|ctx| (0..ctx.databases()).map(|db| ctx.keys(db)).sum()).await
}

impl Spool {
    async fn open(plugin: &Replication) -> Result<Spool> {
        let dir = plugin.host.setting("dir").unwrap_or_else(|| ".".into());
        let path = PathBuf::from(dir).join(temporary::coming(plugin.host.unix_ms()));
        let shown = path.display().to_string();
        let made = plugin.host.blocking(move || Temporary::create(path, File::options().write(true))).await?;
        let (temporary, file) = made.map_err(|error| {
            Error::new(format!(
                "Opening the temp file needed for MASTER <-> REPLICA synchronization: {error} ({shown})"
            ))
        })?;
        let databases = plugin.host.with_keyspace(|ctx| ctx.databases()).await?;
        let proof = Proof::new(databases);
        Ok(Spool { temporary, file: Some(file), buf: Vec::with_capacity(CHUNK), len: 0, proof })
    }

    /// What is in memory is in the file too.
    fn payload(self, trailer: usize, head: &FileHead) -> Option<Payload> {
        let (len, named) = (self.len.saturating_sub(trailer as u64), head.complete().cloned());
        self.file.map(|file| Payload { temporary: self.temporary, file, len, named })
    }

    async fn push(&mut self, plugin: &Replication, bytes: &[u8]) -> Result<()> {
        self.buf.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.buf.len() >= CHUNK { self.flush(plugin).await } else { Ok(()) }
    }

    async fn flush(&mut self, plugin: &Replication) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Err("the temporary file is gone".into()) };
        let mut buf = std::mem::take(&mut self.buf);
        let written = plugin
            .host
            .blocking(move || -> std::io::Result<(File, Vec<u8>)> {
                file.write_all(&buf)?;
                buf.clear();
                Ok((file, buf))
            })
            .await?;
        let (file, buf) = written.map_err(|error| {
            Error::new(format!(
                "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA synchronization: \
                 {error} ({})",
                self.temporary.path().display()
            ))
        })?;
        (self.file, self.buf) = (Some(file), buf);
        Ok(())
    }
}

/// From RDB bytes to a load. The load is begun by the first batch, or by the end: an empty payload that is refused
/// touches nothing.
struct Filler {
    plugin: Arc<Replication>,
    parser: FileParser,
    mode: LoadMode,
    /// Clients are served from the old data meanwhile.
    serves: bool,
    role_epoch: u64,
    /// We closed the gate, and open it again.
    closed: bool,
    refuse_empty: bool,
    /// `key-load-delay`: tests make a load last with it.
    delay_us: u64,
    load: Option<Load>,
    /// Libraries of functions, as records.
    functions: Vec<u8>,
    head: FileHead,
    /// Of keys loaded, and how many they are. How many there will be is known of no streamed payload.
    progress: (Progress, u64),
    ended: bool,
}

/// What the parser found, owned.
enum Found {
    Batch(Batch),
    Functions(Vec<u8>),
    End,
    Other,
}

impl Filler {
    fn new(plugin: Arc<Replication>, mode: LoadMode, serves: bool, role_epoch: u64) -> Filler {
        let delay_us = crate::payload::delay(&plugin, "key-load-delay");
        let progress = (Progress::new(plugin.host.now(), "MASTER <-> REPLICA sync: loading", 0, "keys"), 0);
        Filler {
            plugin,
            parser: parser(),
            mode,
            serves,
            role_epoch,
            closed: false,
            refuse_empty: false,
            delay_us,
            load: None,
            functions: Vec::new(),
            head: FileHead::default(),
            progress,
            ended: false,
        }
    }

    async fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.ended {
            return Ok(());
        }
        self.parser.feed(bytes);
        while let Some(found) = self.next()? {
            match found {
                Found::Batch(batch) => {
                    let mut load = match self.load.take() {
                        Some(load) => load,
                        None => self.begin().await?,
                    };
                    let keys = u64::from(batch.count);
                    load.put(batch).await?;
                    self.load = Some(load);
                    self.progress.1 += keys;
                    self.progress.0.tell(self.plugin.host.now(), self.progress.1);
                    if self.delay_us > 0 {
                        self.plugin.host.sleep(Duration::from_micros(keys.saturating_mul(self.delay_us))).await;
                    }
                }
                Found::End => {
                    self.ended = true;
                    return Ok(());
                }
                Found::Functions(code) => keystead_rdb::function_record(&code, &mut self.functions),
                Found::Other => {}
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Found>, Failure> {
        use keystead_rdb::Event;
        Ok(match self.parser.next_event().map_err(unreadable)? {
            None => None,
            Some(Event::Batch { db, count, bytes }) => {
                let count = u32::try_from(count).map_err(broken)?;
                Some(Found::Batch(Batch { db, count, bytes: Bytes::copy_from_slice(bytes) }))
            }
            Some(Event::Aux(name, value)) => {
                self.head.note(&name, &value);
                Some(Found::Other)
            }
            Some(Event::Function(code)) => Some(Found::Functions(code)),
            Some(Event::Eof { .. }) => Some(Found::End),
            Some(_) => Some(Found::Other),
        })
    }

    async fn begin(&mut self) -> Result<Load, Failure> {
        let flushes = self.mode != LoadMode::Shadow;
        self.close(flushes).await?;
        if flushes {
            self.plugin.drop_replicas();
            self.plugin.host.set_backlog(0).await?;
            log::info!("MASTER <-> REPLICA sync: Flushing old data");
        }
        let load = self.plugin.host.begin_load(self.mode).await?;
        // In place, the gate is the load's now: it opens when the keyspace is whole again, or empty.
        self.closed &= !flushes;
        log::info!("MASTER <-> REPLICA sync: Loading DB in memory");
        Ok(load)
    }

    /// In one turn, so that no change of role comes between: behind it the gate refuses them. Where the old data goes, what
    /// there is belongs to no history from here on until a load is complete.
    async fn close(&mut self, flushes: bool) -> Result<(), Failure> {
        let (plugin, epoch, serves) = (self.plugin.clone(), self.role_epoch, self.serves);
        let closing = self.plugin.host.with_keyspace(move |_| {
            if plugin.role_epoch() != epoch {
                return Err(Error::new("the role changed meanwhile"));
            }
            if flushes {
                plugin.positioned.store(false, Ordering::Release);
            }
            if !serves {
                plugin.host.set_gate(Gate::Loading, true);
            }
            Ok(())
        });
        closing.await??;
        self.closed = !serves;
        Ok(())
    }

    async fn finish(mut self) -> Result<FileHead, Failure> {
        if !self.ended {
            return Err(cut_short());
        }
        let mut load = match self.load.take() {
            Some(load) => load,
            None if self.refuse_empty => return Err(Failure::CameBackEmpty),
            None => self.begin().await?,
        };
        let functions = std::mem::take(&mut self.functions);
        if !functions.is_empty() && !load.put_section(keystead_rdb::OP_FUNCTION2, Bytes::from(functions)).await? {
            log::warn!("MASTER <-> REPLICA sync: the primary has functions and no plugin here takes them");
        }
        self.plugin.drop_replicas();
        // The new data's place is known when the history is adopted, behind this.
        let positioned = self.plugin.positioned.swap(false, Ordering::AcqRel);
        let committed = load.commit().await;
        if committed.is_err() && positioned {
            self.plugin.positioned.store(true, Ordering::Release);
        }
        let keys = committed?;
        log::info!("Done loading RDB, keys loaded: {keys}");
        Ok(std::mem::take(&mut self.head))
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.closed {
            self.plugin.host.set_gate(Gate::Loading, false);
        }
    }
}
