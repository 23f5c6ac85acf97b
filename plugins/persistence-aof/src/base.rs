//! A base: the keys at one cut, written aside while writes go on. Owns the temporary file until it is whole and on the disk.

use crate::commands_of;
use crate::failpoint;
use crate::note;
use crate::plugin::Aof;
use keystead_plugin::{Batch, Error, Host, Progress, ReplId, Reply, Result, Snapshot};
use keystead_rdb::{FileHead, FileWriter, RdbError, StreamPoint, parse_functions, records};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What each name begins with while it is written.
pub(crate) const TEMPORARY: &str = "temp-rewriteaof-bg-";

/// The name while it is written. One for each rewrite of this process: what was given up may still reach the disk.
pub(crate) fn temporary_name(rewrite: u64) -> String {
    format!("{TEMPORARY}{}-{rewrite}.aof", std::process::id())
}

/// Bytes gathered before they are written.
const CHUNK: usize = 1 << 20;
/// With `aof-rewrite-incremental-fsync`, the disk gets its share every so many bytes.
const SYNC_EVERY: u64 = 4 << 20;

/// How a base is written.
enum Format {
    Rdb(Box<FileWriter>),
    Commands,
}

/// Writes all keys of a snapshot as an RDB file of this version, or as commands, to this path; gives the file's size.
pub(crate) async fn write(plugin: &Arc<Aof>, path: PathBuf, mut snapshot: Snapshot, rdb: Option<u16>) -> Result<u64> {
    let config = plugin.config();
    let host = plugin.host;
    let mut out = Vec::with_capacity(CHUNK + CHUNK / 4);
    let mut format = Format::begin(rdb, &host, &snapshot, config.timestamps, &mut out).await?;
    let opened = move || {
        let told = |error| format!("Opening the temp file for AOF rewrite {}: {error}", path.display());
        File::create(&path).map_err(told)
    };
    let file = host.blocking(opened).await?.map_err(Error::new)?;
    let mut target = Target { host, file, size: 0, unsynced: 0 };
    let incremental = config.rewrite_incremental_fsync;
    // `rdb-key-save-delay`, of the plugin for RDB files: tests make a rewrite last with it.
    let delay_us = host.setting("rdb-key-save-delay").and_then(|us| us.parse().ok()).unwrap_or(0u64);
    let (mut db, mut keys) = (None, 0);
    let [shown, all] = &plugin.shown.rewrite_keys;
    shown.store(0, Ordering::Relaxed);
    all.store(snapshot.keys(), Ordering::Relaxed);
    let mut progress = Progress::new(host.now(), "Rewriting the append only file", snapshot.keys(), "keys");
    while let Some(batch) = snapshot.next().await? {
        format.add(&batch, db != Some(batch.db), &mut out).map_err(|error| Error::new(error.to_string()))?;
        db = Some(batch.db);
        keys += u64::from(batch.count);
        shown.store(keys, Ordering::Relaxed);
        progress.tell(host.now(), keys);
        if delay_us > 0 {
            host.sleep(Duration::from_micros(delay_us.saturating_mul(batch.count.into()))).await;
        }
        if out.len() >= CHUNK {
            out = target.write(out, incremental).await?;
        }
        plugin.shown.rewrite_written.store(target.size, Ordering::Relaxed);
    }
    format.end(&mut out);
    target.write(out, incremental).await?;
    target.finish().await
}

impl Format {
    /// What stands before the keys: the file's head, and what plugins keep beside them (functions).
    async fn begin(
        rdb: Option<u16>,
        host: &Host,
        snapshot: &Snapshot,
        timestamp: bool,
        out: &mut Vec<u8>,
    ) -> Result<Format> {
        let sections = snapshot.sections();
        let Some(version) = version(rdb, host, !sections.is_empty()).await? else {
            if timestamp {
                note::write_time(host.unix_ms() / 1000, out);
            }
            let codes = parse_functions(&sections).map_err(|error| Error::new(error.to_string()))?;
            codes.iter().for_each(|code| commands_of::write_function(code, out));
            return Ok(Format::Commands);
        };
        let mut writer = Box::new(FileWriter::new(true));
        head(host, snapshot).write(&mut writer, out, version);
        writer.records(out, &sections);
        Ok(Format::Rdb(writer))
    }

    fn add(&mut self, batch: &Batch, select: bool, out: &mut Vec<u8>) -> Result<(), RdbError> {
        match self {
            Format::Rdb(writer) => {
                if select {
                    writer.select_db(out, batch.db);
                }
                writer.records(out, &batch.bytes);
            }
            Format::Commands => {
                if select {
                    commands_of::write_select(batch.db, out);
                }
                for record in records(&batch.bytes) {
                    commands_of::write_key(&record?, out)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Format::Rdb(writer) = self {
            writer.eof(out);
        }
    }
}

/// The version of an RDB file, or none for commands. Functions that no plugin takes can't be commands: nobody could execute them
/// at the next start. Readers look at what a base begins with, not at its name.
async fn version(rdb: Option<u16>, host: &Host, functions: bool) -> Result<Option<u16>> {
    if rdb.is_some() || !functions || knows_functions(host).await? {
        return Ok(rdb);
    }
    log::warn!(
        "The base is an RDB file whatever aof-use-rdb-preamble says: it has functions, and no plugin loads them"
    );
    let versions = host.rdb_versions();
    Ok(Some(versions.configured.max(versions.needed)))
}

/// Whether FUNCTION LOAD would be executed.
async fn knows_functions(host: &Host) -> Result<bool> {
    let told = host.with_keyspace(|ctx| ctx.call(0, &["COMMAND", "INFO", "FUNCTION"])).await??;
    Ok(matches!(told, Reply::Array(rows) if rows.iter().any(|row| matches!(row, Reply::Array(_)))))
}

fn head(host: &Host, snapshot: &Snapshot) -> FileHead {
    let replid = snapshot.history().replid;
    let stream = (replid != ReplId::NONE).then(|| StreamPoint {
        replid: replid.to_string(),
        offset: snapshot.offset(),
        stream_db: snapshot.stream_db().unwrap_or(0),
    });
    FileHead { created_s: Some(host.unix_ms() / 1000), stream, aof_base: true, ..FileHead::default() }
}

struct Target {
    host: Host,
    file: File,
    size: u64,
    unsynced: u64,
}

impl Target {
    /// Writes a piece; gives the buffer back, empty.
    async fn write(&mut self, mut piece: Vec<u8>, incremental: bool) -> Result<Vec<u8>> {
        self.size += piece.len() as u64;
        self.unsynced += piece.len() as u64;
        let sync = incremental && self.unsynced >= SYNC_EVERY;
        if sync {
            self.unsynced = 0;
        }
        let mut file = self.file.try_clone()?;
        let written = self.host.blocking(move || -> std::io::Result<Vec<u8>> {
            if let Some(what) = failpoint::reached("base-half-written") {
                file.write_all(&piece[..piece.len() / 2])?;
                what.happens()?;
            }
            file.write_all(&piece)?;
            if sync {
                file.sync_data()?;
            }
            piece.clear();
            Ok(piece)
        });
        written.await?.map_err(|error| Error::new(format!("Write error writing append only file on disk: {error}")))
    }

    async fn finish(self) -> Result<u64> {
        let Target { host, file, size, .. } = self;
        host.blocking(move || file.sync_all()).await??;
        failpoint::pass("base-synced")?;
        Ok(size)
    }
}
