//! Writing the file: a cut of the keys, framed, into a temporary file beside the real one; on the disk before it takes the
//! real one's place, and the folder after. Whatever happens, the old file is whole until then.

use crate::config::Config;
use crate::failpoint;
use crate::plugin::{PersistenceRdb, Writing};
use futures::channel::oneshot;
use futures::executor::block_on;
use keystead_plugin::prelude::*;
use keystead_plugin::{Progress, RDB_PIECES, RDB_PLAIN, RdbVersions, ReplId, Snapshot};
use keystead_rdb::{FileHead, FileWriter, StreamPoint};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes between two pushes to the disk (`rdb-save-incremental-fsync`).
const PUSH: u64 = 32 << 20;
/// What a save ends with that was told to.
pub(crate) const GIVEN_UP: &str = "the save was given up";
/// How often a cut is asked for while others have all there may be.
const WAIT: Duration = Duration::from_millis(100);

/// What was saved.
pub(crate) struct Saved {
    /// Changes of the keyspace that the file has.
    pub(crate) changes: u64,
    /// Until that is published.
    _writing: Writing,
}

/// The name of a save's file while it is written.
fn temporary_name(pid: u32) -> String {
    format!("temp-{pid}.rdb")
}

/// Deletes what saves of processes that are gone left behind: each crash inside of one leaves a file as large as the data. One
/// under a process id that is in use stays, unless the id is ours, as in a container, where it is the same at each start. So does
/// the data, whatever its name.
pub(crate) fn discard_stale(dir: &Path, data: &str) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str() == Some(data) {
            continue;
        }
        let pid = name.to_str().and_then(|name| name.strip_prefix("temp-")?.strip_suffix(".rdb")?.parse().ok());
        let Some(pid) = pid.filter(|pid| name.to_str() == Some(&temporary_name(*pid))) else { continue };
        let stale = pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
        if stale && std::fs::remove_file(entry.path()).is_ok() {
            log::info!("Removed {}, which a save left behind that was cut off", entry.path().display());
        }
    }
}

/// Writes the file; `begun` is told when what the file will have is fixed, or when that has to wait.
pub(crate) async fn write(
    plugin: &PersistenceRdb,
    writing: Writing,
    begun: Option<oneshot::Sender<()>>,
) -> Result<Saved> {
    let (config, dir) = (plugin.config(), plugin.dir());
    hold(plugin, &dir).await?;
    let Cut { snapshot, version, flushes, asked_s } = cut(plugin, &config, begun).await?;
    let changes = snapshot.changes();
    failpoint::pass("save-cut")?;
    let keys = snapshot.keys();
    plugin.board.edit(|status| (status.progress, status.writes) = ((0, keys), Some(changes)));
    let job = Job {
        head: head(plugin, &snapshot, asked_s),
        version,
        flushes,
        dir,
        name: config.dbfilename.clone(),
        config,
        plugin: plugin.me()?,
    };
    let (written, writing) = plugin.host.blocking(move || (job.run(snapshot), writing)).await?;
    written.map(|()| Saved { changes, _writing: writing })
}

/// No other process writes there from now on.
pub(crate) async fn hold(plugin: &PersistenceRdb, dir: &Path) -> Result<()> {
    let (folders, dir) = (plugin.folders.clone(), dir.to_owned());
    let held = move || folders.hold(&dir).map(|()| folders.leave_all_but(&[&dir]));
    plugin.host.blocking(held).await?
}

/// What is saved.
struct Cut {
    snapshot: Snapshot,
    /// Of the file's records.
    version: u16,
    /// How many FLUSHALL it is behind, of a save in the background: the next makes it worthless. Others are waited for.
    flushes: Option<u64>,
    /// When it was asked for, seconds since 1970: it has everything of before.
    asked_s: u64,
}

/// The cut. There are two for files, whatever replicas read; a third file waits for its turn.
async fn cut(plugin: &PersistenceRdb, config: &Config, mut begun: Option<oneshot::Sender<()>>) -> Result<Cut> {
    let in_background = begun.is_some();
    let plain = if config.rdbcompression { 0 } else { RDB_PLAIN };
    let mut told = false;
    loop {
        let RdbVersions { needed, .. } = plugin.host.rdb_versions();
        let version = plugin.host.rdb_version_of_own_files();
        // Before the cut: a FLUSHALL between both came behind the order to save, which it overrules.
        let flushes = match in_background {
            true => Some(plugin.host.with_keyspace(|ctx| ctx.flushes()).await?),
            false => None,
        };
        let asked_s = plugin.host.unix_ms() / 1000;
        let cut = plugin.host.snapshot(u32::from(version) | RDB_PIECES | plain).await;
        if let Some(begun) = begun.take() {
            let _ = begun.send(());
        }
        match cut {
            Ok(snapshot) => return Ok(Cut { snapshot, version, flushes, asked_s }),
            // Waiting won't help.
            Err(error) if needed > version || plugin.data_is_lost() => return Err(error),
            Err(_) if plugin.cancelled.load(Ordering::Acquire) => return Err(GIVEN_UP.into()),
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    log::info!("The save waits: {}", error.text());
                }
                plugin.host.sleep(WAIT).await;
            }
        }
    }
}

fn head(plugin: &PersistenceRdb, snapshot: &Snapshot, created_s: u64) -> FileHead {
    let replid = snapshot.history().replid;
    // Without a backlog nobody can go on from there.
    let followed = plugin.host.journal().active && replid != ReplId::NONE;
    let stream = followed.then(|| StreamPoint {
        replid: replid.to_string(),
        offset: snapshot.offset(),
        stream_db: snapshot.stream_db().unwrap_or(0),
    });
    FileHead { created_s: Some(created_s), stream, ..FileHead::default() }
}

/// All that a thread needs.
struct Job {
    head: FileHead,
    version: u16,
    /// See [`Cut::flushes`].
    flushes: Option<u64>,
    dir: PathBuf,
    name: String,
    config: Arc<Config>,
    plugin: Arc<PersistenceRdb>,
}

/// A temporary file, removed unless it took its place.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Job {
    fn run(&self, snapshot: Snapshot) -> Result<()> {
        let shown = self.dir.display();
        let name = temporary_name(std::process::id());
        let mut temporary = Temporary { path: self.dir.join(&name), kept: false };
        let file = File::create(&temporary.path).and_then(|file| failpoint::pass("save-created").map(|()| file));
        let file = file.map_err(|error| {
            format!("Failed opening the temp RDB file {name} (in server root dir {shown}) for saving: {error}")
        })?;
        self.fill(file, snapshot)?;
        let renamed = std::fs::rename(&temporary.path, self.dir.join(&self.name));
        renamed.and_then(|()| failpoint::pass("save-renamed")).map_err(|error| {
            let Job { name: end, .. } = self;
            format!(
                "Error moving temp DB file {name} on the final destination {end} (in server root dir {shown}): {error}"
            )
        })?;
        temporary.kept = true;
        sync_folder(&self.dir)
            .and_then(|()| failpoint::pass("save-folder-synced"))
            .map_err(|error| format!("Failed to fsync directory while saving DB: {error} ({shown})"))?;
        Ok(())
    }

    fn fill(&self, mut file: File, mut snapshot: Snapshot) -> Result<()> {
        let failed = |error: io::Error| Error::new(format!("Write error saving DB on disk: {error}"));
        let mut writer = FileWriter::new(self.config.rdbchecksum);
        let mut buf = Vec::new();
        self.head.write(&mut writer, &mut buf, self.version);
        // Functions and the like stand before the keys.
        writer.records(&mut buf, &snapshot.sections());
        let (mut db, mut keys, mut pushed) = (None, 0, 0);
        let host = self.plugin.host;
        let mut progress = Progress::new(host.now(), "Saving the RDB file", snapshot.keys(), "keys");
        while let Some(batch) = block_on(snapshot.next())? {
            if db != Some(batch.db) {
                db = Some(batch.db);
                writer.select_db(&mut buf, batch.db);
            }
            writer.account(&batch.bytes);
            file.write_all(&buf).map_err(failed)?;
            if let Some(what) = failpoint::reached("save-half-written") {
                file.write_all(&batch.bytes[..batch.bytes.len() / 2]).and_then(|()| what.happens()).map_err(failed)?;
            }
            file.write_all(&batch.bytes).map_err(failed)?;
            buf.clear();
            keys += u64::from(batch.count);
            self.plugin.board.edit(|status| status.progress.0 = keys);
            progress.tell(host.now(), keys);
            self.delay(batch.count)?;
            if self.config.rdb_save_incremental_fsync && writer.written() - pushed >= PUSH {
                pushed = writer.written();
                file.sync_data().map_err(failed)?;
            }
        }
        writer.eof(&mut buf);
        file.write_all(&buf).and_then(|()| failpoint::pass("save-written")).map_err(failed)?;
        file.sync_all().and_then(|()| failpoint::pass("save-synced")).map_err(failed)
    }

    /// `rdb-key-save-delay`, in small steps; an error if the save is to give up.
    fn delay(&self, keys: u32) -> Result<()> {
        let mut left = Duration::from_micros(self.config.rdb_key_save_delay.saturating_mul(keys.into()));
        loop {
            let flushed = self.flushes.is_some_and(|flushes| self.plugin.flushes.load(Ordering::Acquire) > flushes);
            if flushed || self.plugin.cancelled.load(Ordering::Acquire) {
                return Err(GIVEN_UP.into());
            }
            if left.is_zero() {
                return Ok(());
            }
            let step = left.min(Duration::from_millis(10));
            std::thread::sleep(step);
            left -= step;
        }
    }
}

/// A rename is on the disk when its folder is.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_left_is_discarded() {
        let dir = tempfile::tempdir().expect("a folder");
        // No process has an id beyond the system's largest.
        let dead = temporary_name(u32::MAX);
        let stay = ["dump.rdb", "temp-.rdb", "temp-01.rdb", "temp-1.rdb", "temp-1700000000.5.rdb", "temp-5.aof"];
        let ours = temporary_name(std::process::id());
        for name in stay.iter().copied().chain([dead.as_str(), &ours]) {
            std::fs::write(dir.path().join(name), "half").expect("written");
        }
        let data = temporary_name(u32::MAX - 1);
        std::fs::write(dir.path().join(&data), "whole").expect("written");
        discard_stale(dir.path(), &data);
        assert!(std::fs::remove_file(dir.path().join(&data)).is_ok(), "the data's own file");
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).expect("listed").map(|e| e.expect("one").file_name()).collect();
        left.sort();
        assert_eq!(left, stay);
    }
}
