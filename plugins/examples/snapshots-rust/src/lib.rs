//! A third persistence strategy, to show how little one needs: `SNAPSHOTS.SAVE` writes the keys to the next numbered file,
//! and a start loads the newest. It shares the start with other strategies by the service `keystead.persistence`. It keeps no
//! place in the history: replicas of a server that was started from its files need everything once more.
#![forbid(unsafe_code)]

use bytes::Bytes;
use futures::lock::Mutex;
use keystead_plugin::prelude::*;
use keystead_plugin::services::persistence::{self, Recovered, Recovery, SNAPSHOT, Strategy};
use keystead_plugin::{Batch, Folders, LoadMode};
use keystead_rdb::{Event, FileHead, FileParser, FileWriter, OP_FUNCTION2, function_record};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes in which the fields at a file's front are looked for.
const FRONT: u64 = 4096;

/// The plugin.
pub struct Snapshots {
    host: Host,
    recovery: Recovery,
    /// Where no other process writes such files.
    folders: Folders,
    /// Held by the one save that gives out the next number, to its end: the client that waits for it may be gone before.
    saving: Arc<Mutex<()>>,
}

impl Plugin for Snapshots {
    const NAME: &'static str = "snapshots";
    type Config = ();

    fn init(host: Host, _: (), reg: &mut Registrar<Self>) -> Result<Self> {
        reg.async_command(spec("SNAPSHOTS.SAVE", 1, Flags::ADMIN | Flags::NO_SCRIPT), Self::save);
        let (folders, recovery) = (Folders::new(host, Self::NAME), persistence::provide(reg));
        Ok(Snapshots { host, recovery, folders, saving: Arc::default() })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        self.recovery.run().await.map(drop)
    }
}

impl Strategy for Snapshots {
    /// Anything that knows better goes first.
    const RANK: u32 = SNAPSHOT - 1;

    async fn survey(self: Arc<Self>) -> Result<Option<String>> {
        self.folders.hold_at_start(&self.dir()).await?;
        Ok(newest(&self.dir()).map(|(_, path)| path.display().to_string()))
    }

    /// Whoever knows better may know it from before: what is newer is loaded.
    async fn complete_until(self: Arc<Self>) -> Option<u64> {
        let mut front = Vec::new();
        File::open(newest(&self.dir())?.1).ok()?.take(FRONT).read_to_end(&mut front).ok()?;
        FileHead::of(&front).created_s
    }

    async fn load(self: Arc<Self>) -> Result<Recovered> {
        let Some((number, path)) = newest(&self.dir()) else { return Ok(Recovered::default()) };
        let mut parser = FileParser::default();
        parser.feed(&self.host.blocking(move || std::fs::read(path)).await??);
        let mut load = self.host.begin_load(LoadMode::Fresh).await?;
        let mut functions = Vec::new();
        while let Some(event) = parser.next_event()? {
            match event {
                Event::Batch { db, count, bytes } => {
                    let batch = Batch { db, count: u32::try_from(count)?, bytes: Bytes::copy_from_slice(bytes) };
                    load.put(batch).await?;
                }
                Event::Function(source) => function_record(&source, &mut functions),
                _ => {}
            }
        }
        parser.finish()?;
        if !functions.is_empty() && !load.put_section(OP_FUNCTION2, Bytes::from(functions)).await? {
            log::warn!("snapshot {number} has functions, which no plugin takes");
        }
        let keys = load.commit().await?;
        log::info!("snapshot {number} loaded: {keys} keys");
        Ok(Recovered { strategy: Self::NAME.to_owned(), keys, position: None })
    }
}

impl Snapshots {
    fn dir(&self) -> PathBuf {
        PathBuf::from(self.host.setting("dir").unwrap_or_else(|| ".".to_owned()))
    }

    /// `SNAPSHOTS.SAVE`: the number of the new file. It gets its name when it is whole and on the disk.
    async fn save(self: Arc<Self>, _: ClientInfo, _: OwnedArgs) -> Result<Reply> {
        let saving = self.saving.clone().lock_owned().await;
        // One folder from here on, though CONFIG SET may name another meanwhile.
        let dir = self.dir();
        self.folders.hold(&dir)?;
        let number = newest(&dir).map_or(1, |(number, _)| number + 1);
        let created_s = Some(self.host.unix_ms() / 1000);
        let version = self.host.rdb_version_of_own_files();
        let mut snapshot = self.host.snapshot(u32::from(version)).await?;
        let (mut writer, mut file) = (FileWriter::new(true), Vec::new());
        FileHead { created_s, ..FileHead::default() }.write(&mut writer, &mut file, version);
        // What isn't keys but data all the same: functions.
        writer.records(&mut file, &snapshot.sections());
        while let Some(batch) = snapshot.next().await? {
            writer.batch(&mut file, batch.db, &batch.bytes);
        }
        writer.eof(&mut file);
        let written = move || {
            let _saving = saving;
            put(&dir, &format!("snapshot-{number}.rdb"), &file)
        };
        self.host.blocking(written).await??;
        Ok(Reply::Int(i64::try_from(number)?))
    }
}

/// The newest file and its number.
fn newest(dir: &Path) -> Option<(u64, PathBuf)> {
    let paths = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let number =
        |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("snapshot-")?.strip_suffix(".rdb")?.parse().ok();
    paths.filter_map(|path| Some((number(&path)?, path))).max_by_key(|(number, _)| *number)
}

/// Writes a file that is whole when it gets its name; what can't be written takes no room.
fn put(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join("temp-snapshot");
    let written = std::fs::write(&temporary, bytes)
        .and_then(|()| File::open(&temporary)?.sync_all())
        .and_then(|()| std::fs::rename(&temporary, dir.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    // The name is on the disk when its folder is.
    File::open(dir)?.sync_all()
}

keystead_plugin::export_plugin!(Snapshots, KEYSTEAD_PLUGIN_snapshots);
