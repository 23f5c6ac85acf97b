//! The load at the start: the file taken apart on a thread of its own, its records put into the keyspace as they come.
//! An error is told with its place and refuses the start; nothing is served from half a file.

use crate::plugin::PersistenceRdb;
use crate::status::Loading;
use crate::words;
use bytes::Bytes;
use futures::SinkExt;
use futures::StreamExt;
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::executor::block_on;
use keystead_plugin::prelude::*;
use keystead_plugin::services::persistence::{Position, Recovered};
use keystead_plugin::{Batch, Load, LoadMode, Progress};
use keystead_rdb::{Event, FileError, FileHead, FileParser, ParserLimits, RepeatedKeys, StreamPoint};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Bytes of records put at once.
const BATCH: usize = 256 << 10;
/// Pieces that may wait to be put.
const AHEAD: usize = 8;

/// What the file's thread found.
enum Piece {
    /// The fields at the front are read.
    Head(Box<FileHead>),
    /// Records, and where they begin and end in the file.
    Records(Batch, std::ops::Range<u64>),
    /// The text of a library of functions, and where it begins and ends in the file.
    Function(Vec<u8>, std::ops::Range<u64>),
    /// The end; whether a checksum was compared.
    End(bool),
    /// It can't be used.
    Broken(String),
}

/// Loads the file.
pub(crate) async fn run(plugin: &Arc<PersistenceRdb>) -> Result<Recovered> {
    let path = plugin.path();
    let shown = path.display().to_string();
    let refused = |why: String| Error::new(format!("{shown}: {why}"));
    let file = plugin.host.blocking(move || open(&path)).await?;
    let (len, file) = file.map_err(|error| refused(error.to_string()))?;
    let started = plugin.host.now();
    let loading = Loading {
        since: started,
        since_unix_s: plugin.host.unix_ms() / 1000,
        total_bytes: len,
        loaded_bytes: 0,
        used_memory: 0,
    };
    plugin.board.edit(|status| status.loading = Some(loading.clone()));
    log::info!("Loading DB in memory from {shown}");
    let (sender, receiver) = channel(AHEAD);
    let verify = plugin.config().rdbchecksum;
    let reading = plugin.host.blocking(move || take_apart(file, verify, sender));
    let progress = Progress::new(started, "Loading the RDB file", len, "bytes");
    let filled = Filler::new(plugin, progress).run(receiver).await;
    reading.await?;
    plugin.board.edit(|status| status.loading = None);
    let recovered = filled.map_err(|error| refused(error.text().to_owned()))?;
    let took = plugin.host.now().saturating_sub(started);
    log::info!("DB loaded from disk: {:.3} seconds", took.as_secs_f64());
    Ok(recovered)
}

/// The file, and its size. What isn't one, a FIFO say, would be waited for.
fn open(path: &Path) -> std::io::Result<(u64, File)> {
    let about = std::fs::metadata(path)?;
    // A folder is refused in the system's words.
    if !about.is_file() && !about.is_dir() {
        return Err(std::io::Error::other("not a regular file"));
    }
    Ok((about.len(), File::open(path)?))
}

/// Bytes in which the fields at a file's front are looked for.
const FRONT: u64 = 4096;

/// Of when the file is, in seconds since 1970: what it says, but not behind its last write, for a file of another machine goes
/// by that one's clock.
pub(crate) fn made_at(path: &Path) -> Option<u64> {
    let (_, file) = open(path).ok()?;
    let written = file.metadata().ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let mut front = Vec::new();
    file.take(FRONT).read_to_end(&mut front).ok()?;
    FileHead::of(&front).created_s.map(|created| created.min(written))
}

/// The file's thread.
fn take_apart(mut file: File, verify: bool, mut sender: Sender<Piece>) {
    let limits = ParserLimits { batch_bytes: BATCH, verify_checksum: verify, ..ParserLimits::default() };
    let mut parser = FileParser::new(limits);
    let mut head = Some(Box::<FileHead>::default());
    loop {
        let n = match parser.feed_from(&mut file, CHUNK) {
            Ok(n) => n,
            Err(error) => return last(&mut sender, Piece::Broken(error.to_string())),
        };
        match take_events(&mut parser, &mut head, &mut sender) {
            Ok(true) if n > 0 => {}
            Ok(true) => {
                let why = parser.finish().err().map_or_else(String::new, |error| words::refusal(&error));
                return last(&mut sender, Piece::Broken(why));
            }
            Ok(false) => return,
            Err(error) => return last(&mut sender, Piece::Broken(words::refusal(&error))),
        }
    }
}

fn last(sender: &mut Sender<Piece>, piece: Piece) {
    // A reader that is gone needs no last word.
    let _ = block_on(sender.send(piece));
}

/// Gives out what the parser has; false when that was the end, or nobody listens any more.
fn take_events(
    parser: &mut FileParser,
    head: &mut Option<Box<FileHead>>,
    sender: &mut Sender<Piece>,
) -> Result<bool, FileError> {
    loop {
        let from = parser.offset();
        let piece = match parser.next_event()? {
            None => return Ok(true),
            Some(Event::Aux(name, value)) => {
                if let Some(head) = head {
                    head.note(&name, &value);
                }
                continue;
            }
            Some(Event::Batch { db, count, bytes }) => {
                let len = bytes.len();
                // A batch has at most as many records as bytes.
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                let bytes = Bytes::from(parser.take_batch(len));
                Piece::Records(Batch { db, count, bytes }, from..from + len as u64)
            }
            Some(Event::Function(code)) => Piece::Function(code, from..parser.offset()),
            Some(Event::Eof { checksummed }) => Piece::End(checksummed),
            Some(Event::Version(_) | Event::SelectDb(_) | Event::ResizeDb { .. } | Event::SlotInfo { .. }) => continue,
        };
        let ended = matches!(piece, Piece::End(_));
        if let Some(head) = head.take()
            && block_on(sender.send(Piece::Head(head))).is_err()
        {
            return Ok(false);
        }
        if block_on(sender.send(piece)).is_err() || ended {
            return Ok(false);
        }
    }
}

/// Puts what comes.
struct Filler<'a> {
    plugin: &'a Arc<PersistenceRdb>,
    progress: Progress,
    load: Option<Load>,
    position: Option<StreamPoint>,
    keys: (u64, u64),
    /// Libraries of functions, as records.
    functions: Vec<u8>,
    /// From the first library's first byte to behind the last one.
    functions_at: std::ops::Range<u64>,
}

impl<'a> Filler<'a> {
    fn new(plugin: &'a Arc<PersistenceRdb>, progress: Progress) -> Filler<'a> {
        let (functions, functions_at) = (Vec::new(), 0..0);
        Filler { plugin, progress, load: None, position: None, keys: (0, 0), functions, functions_at }
    }

    async fn run(mut self, mut pieces: Receiver<Piece>) -> Result<Recovered> {
        while let Some(piece) = pieces.next().await {
            match piece {
                Piece::Head(head) => self.begin(&head).await?,
                Piece::Records(batch, range) => self.put(batch, range).await?,
                Piece::Function(code, range) => self.note_function(&code, range),
                Piece::End(checksummed) => return self.finish(checksummed).await,
                Piece::Broken(why) => return Err(Error::new(why)),
            }
        }
        Err("the file's thread ended early".into())
    }

    async fn begin(&mut self, head: &FileHead) -> Result<()> {
        log::info!("Loading RDB produced by version {}", head.version.as_deref().unwrap_or("unknown"));
        if let Some(created) = head.created_s {
            log::info!("RDB age {} seconds", (self.plugin.host.unix_ms() / 1000).saturating_sub(created));
        }
        if let Some(used) = head.used_memory {
            log::info!("RDB memory usage when created {:.2} Mb", used as f64 / f64::from(1 << 20));
            self.plugin.board.edit(|status| {
                if let Some(loading) = &mut status.loading {
                    loading.used_memory = used;
                }
            });
        }
        self.position = head.complete().cloned();
        // Data of a history keeps what has expired until its DEL is part of the stream; elsewhere nobody misses it.
        let mode = if self.position.is_some() { LoadMode::OnEmpty } else { LoadMode::Fresh };
        self.load = Some(self.plugin.host.begin_load(mode).await?);
        Ok(())
    }

    async fn put(&mut self, batch: Batch, range: std::ops::Range<u64>) -> Result<()> {
        let Some(load) = &mut self.load else { return Err("records before the file's head".into()) };
        let count = batch.count;
        let added = load.put(batch).await.map_err(|error| {
            format!("Internal error in RDB reading: {} (between byte {} and {})", error.text(), range.start, range.end)
        })?;
        self.keys = (self.keys.0 + added.stored, self.keys.1 + added.expired);
        self.plugin.board.edit(|status| {
            if let Some(loading) = &mut status.loading {
                loading.loaded_bytes = range.end;
            }
        });
        self.progress.tell(self.plugin.host.now(), range.end);
        let delay = self.plugin.config().key_load_delay.saturating_mul(count.into());
        if delay > 0 {
            self.plugin.host.sleep(Duration::from_micros(delay)).await;
        }
        Ok(())
    }

    fn note_function(&mut self, code: &[u8], range: std::ops::Range<u64>) {
        if self.functions.is_empty() {
            self.functions_at.start = range.start;
        }
        self.functions_at.end = range.end;
        keystead_rdb::function_record(code, &mut self.functions);
    }

    async fn finish(self, checksummed: bool) -> Result<Recovered> {
        let Some(mut load) = self.load else { return Err("an end before the file's head".into()) };
        let (functions, at) = (Bytes::from(self.functions), self.functions_at);
        let with_functions = !functions.is_empty();
        if !functions.is_empty() && !load.put_section(keystead_rdb::OP_FUNCTION2, functions).await? {
            log::warn!("Libraries of functions in the file can't be called: no plugin takes them. They stay in files");
        }
        let keys = load.commit().await.map_err(|error| match with_functions {
            true => Error::new(format!("{} (functions, between byte {} and {})", error.text(), at.start, at.end)),
            false => error,
        })?;
        let (loaded, expired) = self.keys;
        if keys != loaded {
            self.plugin.refuse_repeated().await?;
        }
        if !checksummed && self.plugin.config().rdbchecksum {
            log::info!("RDB file was saved with checksum disabled: no check performed.");
        }
        log::info!("Done loading RDB, keys loaded: {loaded}, keys expired: {expired}.");
        self.plugin.board.edit(|status| status.loaded = (loaded, expired));
        let position =
            self.position.map(|at| Position { replid: at.replid, offset: at.offset, stream_db: at.stream_db });
        Ok(Recovered { strategy: PersistenceRdb::NAME.to_owned(), keys, position })
    }
}

impl PersistenceRdb {
    /// The data of a Redis with `appendonly yes` isn't in its RDB file: a folder with an append-only set that no plugin reads
    /// is named before anybody misses it.
    pub(crate) async fn tell_of_unread_log(&self) -> Result<()> {
        // A parameter of whoever reads such files.
        if self.host.setting("appendfilename").is_some() {
            return Ok(());
        }
        let dir = self.dir();
        if let Some(found) = self.host.blocking(move || append_only_set(&dir)).await? {
            log::warn!(
                "{} is there, and no plugin reads it: what append-only files have isn't loaded. To load it list the plugin \
                 persistence-aof, as configs/aof.ron does",
                found.display()
            );
        }
        Ok(())
    }

    /// There are fewer keys than records: a key that is there twice is damage.
    async fn refuse_repeated(&self) -> Result<()> {
        let path = self.path();
        let found = self.host.blocking(move || File::open(path).and_then(RepeatedKeys::find)).await??;
        found.map_or(Ok(()), |repeated| Err(Error::new(repeated.to_string())))
    }
}

/// An append-only set, or the single file of a Redis before 7, under the names that both have by default.
fn append_only_set(dir: &Path) -> Option<PathBuf> {
    let listed = std::fs::read_dir(dir.join("appendonlydir")).into_iter().flatten().flatten().map(|entry| entry.path());
    let manifest = listed.into_iter().find(|path| path.extension().is_some_and(|end| end == "manifest"));
    manifest.or_else(|| Some(dir.join("appendonly.aof")).filter(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_append_only_set_is_found_by_its_usual_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path();
        assert_eq!(super::append_only_set(dir), None);
        std::fs::create_dir(dir.join("appendonlydir")).expect("made");
        std::fs::write(dir.join("appendonlydir/appendonly.aof.1.base.rdb"), "").expect("written");
        assert_eq!(super::append_only_set(dir), None, "a set has a manifest");
        let old = dir.join("appendonly.aof");
        std::fs::write(&old, "").expect("written");
        assert_eq!(super::append_only_set(dir), Some(old));
        let manifest = dir.join("appendonlydir/appendonly.aof.manifest");
        std::fs::write(&manifest, "").expect("written");
        assert_eq!(super::append_only_set(dir), Some(manifest));
    }

    #[test]
    fn a_file_is_of_the_time_that_it_says_but_not_behind_its_last_write() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dump.rdb");
        assert_eq!(super::made_at(&path), None);
        let file =
            |ctime: &str| [b"REDIS0010\xfa\x05ctime", &[ctime.len() as u8][..], ctime.as_bytes(), b"\xff"].concat();
        std::fs::write(&path, file("1700000000")).expect("written");
        assert_eq!(super::made_at(&path), Some(1_700_000_000));
        std::fs::write(&path, file("99999999999")).expect("written");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs();
        assert!(super::made_at(&path).is_some_and(|at| at.abs_diff(now) < 100), "a clock that is ahead");
        std::fs::write(&path, b"REDIS0010\xff").expect("written");
        assert_eq!(super::made_at(&path), None, "it doesn't say");
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dump.rdb");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|made| made.success()));
        assert_eq!(super::open(&path).map_err(|error| error.to_string()).err().as_deref(), Some("not a regular file"));
    }
}
