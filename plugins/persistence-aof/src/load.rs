//! Reading the files back at the start. Owns the order of parts, what a missing end means, and the place in the replication
//! stream that the data has; the keys are the core's.

use crate::culprit;
use crate::files::{self, Folder, Last};
use crate::loading::Loading;
use crate::manifest::{Manifest, Part};
use crate::note::Note;
use crate::plugin::Aof;
use crate::scan::{Damage, Scanner};
use crate::shown::Shown;
use bytes::Bytes;
use keystead_plugin::services::persistence::{Position, Recovered};
use keystead_plugin::{Apply, Batch, Ctx, Error, Host, Load, LoadMode, Plugin, Result};
use keystead_rdb::{Event, FileHead, FileParser, OP_FUNCTION2, RepeatedKeys, function_record};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// The set that a start would load, and the single old file that becomes its base, if there is one.
pub(crate) struct Survey {
    pub(crate) manifest: Manifest,
    old: Option<PathBuf>,
}

/// What a start would load.
pub(crate) fn survey(folder: &Folder) -> Result<Option<Survey>> {
    let manifest =
        folder.read_manifest().map_err(|why| Error::new(format!("the AOF manifest can't be used: {why}")))?;
    let manifest = manifest.unwrap_or_default();
    if let Some(old) = folder.old_file().filter(|_| manifest.is_empty() || waits_for_old_file(folder, &manifest)) {
        return Ok(Some(Survey { manifest: Manifest::of_old_file(&folder.file), old: Some(old) }));
    }
    Ok((!manifest.is_empty()).then_some(Survey { manifest, old: None }))
}

/// A crash came between the manifest that adopts an old file and the file's move. Where the file was moved, one beside
/// the folder is none of the set's: it would replace what was written since.
fn waits_for_old_file(folder: &Folder, manifest: &Manifest) -> bool {
    *manifest == Manifest::of_old_file(&folder.file) && !folder.at(&folder.file).exists()
}

/// The newest set is elsewhere, for `dir` was changed: this folder takes it over.
pub(crate) async fn fetch(host: &Host, here: &Folder, there: Folder) -> Result<()> {
    let (to, from) = (here.path().display().to_string(), there.path().display().to_string());
    log::warn!("The newest append-only files are in {from}, for 'dir' was changed at run time: {to} takes them over");
    let folder = here.clone();
    let take = move || -> Result<(), String> {
        let set = there.read_manifest()?.unwrap_or_default();
        folder.take_over(&there, &set, Last::Copied).map(drop).map_err(|error| error.to_string())
    };
    let taken = host.blocking(take).await?;
    taken.map_err(|why| Error::new(format!("the append-only files of {from} can't be taken over to {to}: {why}")))
}

/// Loads everything into the empty keyspace.
pub(crate) async fn run(plugin: &Aof, folder: &Folder) -> Result<(Manifest, Recovered)> {
    let host = plugin.host;
    let manifest = match survey(folder)? {
        Some(Survey { old: Some(old), .. }) => adopt(&host, folder, old).await?,
        Some(found) => found.manifest,
        None => Manifest::default(),
    };
    let truncated = plugin.config().load_truncated.then_some(Truncated::Cut);
    let mut loader = Loader {
        host,
        shown: &plugin.shown,
        folder,
        mode: LoadMode::OnEmpty,
        truncated,
        only_checks: false,
        refused: (0, String::new()),
        place: None,
    };
    // Told by whichever plugin has asked for the data: it must say what it is about.
    let told = |error: Error| {
        Error::new(format!("the append-only files in {} can't be loaded: {}", folder.path().display(), error.text()))
    };
    let keys = loader.all(&manifest).await.map_err(told)?;
    let position = loader.place.map(|note| Position { replid: note.replid, offset: note.offset, stream_db: note.db });
    Ok((manifest, Recovered { strategy: Aof::NAME.to_owned(), keys, position }))
}

/// What [`again`] would load: it can be read to its end. Nothing is touched.
pub(crate) async fn check(plugin: &Aof, folder: &Folder) -> Result<Manifest> {
    let Survey { manifest, .. } = survey(folder)?.ok_or_else(|| Error::new("there are no append-only files"))?;
    Loader::again(plugin, folder, true).read(&manifest).await?;
    Ok(manifest)
}

/// Replaces what is in memory by what the files have, while the server runs. Whoever writes them waits meanwhile, has
/// written all there was, and holds the gate.
pub(crate) async fn again(plugin: &Aof, folder: &Folder, manifest: &Manifest) -> Result<()> {
    let replaced = async {
        // Functions are emptied as well, whether the files begin with some or not.
        plugin.host.begin_load(LoadMode::Again).await?.commit().await?;
        Loader::again(plugin, folder, false).all(manifest).await
    };
    if let Err(error) = replaced.await {
        // Nobody may be served half of it, and no save may write that over what is on the disk.
        let (why, path) = (error.text(), folder.path().display());
        log::error!(
            "DEBUG LOADAOF: {why}. The data in memory is gone by now: exiting; the files in {path} stay as they are"
        );
        std::process::exit(1);
    }
    Ok(())
}

/// A file of a Redis before 7 becomes the base.
async fn adopt(host: &Host, folder: &Folder, old: PathBuf) -> Result<Manifest> {
    let (here, moved) = (folder.clone(), old.clone());
    let manifest = host.blocking(move || here.adopt_old_file(&moved)).await??;
    log::info!(
        "Successfully migrated an old-style AOF ({}) into the AOF directory ({})",
        old.display(),
        folder.path().display()
    );
    Ok(manifest)
}

struct Loader<'a> {
    host: Host,
    shown: &'a Shown,
    folder: &'a Folder,
    mode: LoadMode,
    /// `aof-load-truncated`: an end that is missing is passed over, and what becomes of the file.
    truncated: Option<Truncated>,
    /// The files are read and nothing is loaded.
    only_checks: bool,
    /// Commands that answered an error: how many, and the first of them.
    refused: (u64, String),
    /// What the data so far is, if that is known exactly.
    place: Option<Note>,
}

/// What becomes of half a command at the end of the last file.
enum Truncated {
    /// It is cut off, so that what is written next follows a whole one.
    Cut,
    /// It stays: somebody else has the file.
    Kept,
}

/// A file that comes in pieces.
struct Source<'a> {
    host: Host,
    path: &'a Path,
    file: File,
    shown: &'a Shown,
}

impl Source<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut file = self.file.try_clone()?;
        let piece = self.host.blocking(move || -> std::io::Result<Vec<u8>> {
            let mut piece = Vec::with_capacity(PIECE);
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            Ok(piece)
        });
        let unreadable = |error| Error::new(format!("can't read the append log file {}: {error}", self.path.display()));
        let piece = piece.await?.map_err(unreadable)?;
        self.shown.read(self.host.now(), piece.len() as u64);
        Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
    }
}

impl<'a> Loader<'a> {
    fn again(plugin: &'a Aof, folder: &'a Folder, only_checks: bool) -> Loader<'a> {
        Loader {
            host: plugin.host,
            shown: &plugin.shown,
            folder,
            mode: LoadMode::Again,
            truncated: plugin.config().load_truncated.then_some(Truncated::Kept),
            only_checks,
            refused: (0, String::new()),
            place: None,
        }
    }

    /// Loads the files of a set; how many keys there are then.
    async fn all(&mut self, manifest: &Manifest) -> Result<u64> {
        let began = self.host.now();
        self.read(manifest).await?;
        let count = |ctx: &mut Ctx<'_>| (0..ctx.databases()).map(|db| ctx.keys(db)).sum::<u64>();
        let keys = self.host.with_keyspace(count).await?;
        let took = self.host.now().saturating_sub(began);
        if let (1.., first) = &self.refused {
            let many = self.refused.0;
            log::warn!(
                "{many} commands of the append only file answered an error: what they changed is missing. {first}"
            );
        }
        log::info!("DB loaded from append only file: {keys} keys in {:.3} seconds", took.as_secs_f64());
        Ok(keys)
    }

    async fn read(&mut self, manifest: &Manifest) -> Result<()> {
        let total = manifest.parts().map(|part| self.folder.size(part)).sum();
        *self.shown.loading.lock() = Some(Loading::new(self.host.now(), self.host.unix_ms() / 1000, total));
        let read = self.parts(manifest).await;
        *self.shown.loading.lock() = None;
        read
    }

    async fn parts(&mut self, manifest: &Manifest) -> Result<()> {
        let parts: Vec<Part> = manifest.parts().cloned().collect();
        for (at, part) in parts.iter().enumerate() {
            let last = self.may_lack_end(part, &parts[at + 1..]);
            self.part(part, last).await?;
        }
        Ok(())
    }

    /// The last one. Or the one before a rewrite's: a machine that goes down then may have lost its end and all of what
    /// followed. A base was on the disk before the manifest named it.
    fn may_lack_end(&self, part: &Part, behind: &[Part]) -> bool {
        let empty = |part: &Part| std::fs::metadata(self.folder.at(&part.name)).is_ok_and(|file| file.len() == 0);
        behind.is_empty() || part.is_incr() && behind.iter().all(empty)
    }

    /// Loads one file; `last`: it may lack its end.
    async fn part(&mut self, part: &Part, last: bool) -> Result<()> {
        let path = self.folder.at(&part.name);
        log::info!("{} {}", if self.only_checks { "Checking" } else { "Reading" }, path.display());
        let unreadable =
            |error| Error::new(format!("can't open the append log file {} for reading: {error}", path.display()));
        let file = files::open_regular(&path).map_err(unreadable)?;
        let mut source = Source { host: self.host, path: &path, file, shown: self.shown };
        let Some(first) = source.next().await? else { return Ok(()) };
        let mut scanner = Scanner::default();
        let mut piece = Some(first.clone());
        if first.starts_with(b"REDIS") {
            let (rest, at) = self.rdb(part, &mut source, first).await?;
            scanner = Scanner::at(at);
            piece = Some(Bytes::from(rest));
        }
        let mut apply = if self.only_checks { None } else { Some(self.host.replay()?) };
        while let Some(bytes) = piece {
            let from = scanner.whole();
            let units = scanner.feed(&bytes).map_err(|damage| self.damaged(part, &damage))?;
            if let Some(apply) = &mut apply {
                self.execute(apply, part, from..scanner.whole(), units).await?;
            }
            piece = source.next().await?;
        }
        let end = scanner.end().map_err(|damage| self.damaged(part, &damage))?;
        if let Some(at) = end.damaged_note.filter(|_| !self.only_checks) {
            let then = if end.note.is_some() { "a later one is whole" } else { "replication begins with a full sync" };
            log::warn!("The note of the replication offset at byte {at} of the AOF {} is damaged: {then}", part.name);
        }
        if end.units > 0 || end.note.is_some() || end.damaged_note.is_some() {
            self.place = end.note;
        }
        if end.rest > 0 { self.truncated(part, end.whole, end.rest, last).await } else { Ok(()) }
    }

    /// Executes the units between two offsets.
    async fn execute(&mut self, apply: &mut Apply, part: &Part, range: Range<u64>, units: Vec<u8>) -> Result<()> {
        if units.is_empty() {
            return Ok(());
        }
        let error = match apply.feed_file(Bytes::from(units)).await {
            Ok((0, _)) => return Ok(()),
            Ok((refused, first)) => {
                if self.refused.0 == 0 {
                    self.refused.1 = format!("The first is in {}: {first}", part.name);
                }
                self.refused.0 += refused;
                return Ok(());
            }
            Err(error) => error,
        };
        let (what, name) = (error.text(), &part.name);
        let command = culprit::named(what).map(str::to_owned);
        let place = match &command {
            Some(command) => self.place_of(part, range.clone(), command.clone()).await,
            None => None,
        };
        let place = match place {
            Some(at) => format!("at offset {at}"),
            None => format!("between offset {} and {}", range.start, range.end),
        };
        Err(Error::new(match command.filter(|_| what.contains("unknown command")) {
            Some(command) => format!("Unknown command '{command}' reading the append only file {name}, {place}"),
            None => format!("a command of the append only file {name}, {place}, can't be executed: {what}"),
        }))
    }

    /// Where the first command of this name between two offsets begins.
    async fn place_of(&self, part: &Part, range: Range<u64>, command: String) -> Option<u64> {
        let path = self.folder.at(&part.name);
        let find = move || {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
            File::open(path).ok()?.read_exact_at(&mut bytes, range.start).ok()?;
            culprit::find(&bytes, &command).map(|at| range.start + at as u64)
        };
        self.host.blocking(find).await.ok().flatten()
    }

    /// The RDB at the beginning of a file; gives what follows it, and where.
    async fn rdb(&mut self, part: &Part, source: &mut Source<'_>, first: Bytes) -> Result<(Vec<u8>, u64)> {
        let wrong = |what: String| {
            Error::new(format!(
                "Error reading the RDB preamble of the AOF file {}, AOF loading aborted: {what}",
                part.name
            ))
        };
        let mut parser = FileParser::default();
        let mut load = if self.only_checks { None } else { Some(self.host.begin_load(self.mode).await?) };
        let mut found = Found::default();
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            parser.feed(&bytes);
            fill(&mut parser, load.as_mut(), &mut found).await.map_err(|error| wrong(error.text().to_owned()))?;
            if parser.is_done() {
                break;
            }
            piece = source.next().await?;
        }
        parser.finish().map_err(|error| wrong(error.to_string()))?;
        if let Some(load) = load
            && !self.commit(load, part, &mut found).await?
        {
            self.refuse_repeated(part).await.map_err(|error| wrong(error.text().to_owned()))?;
        }
        self.place = found.place();
        let at = parser.offset();
        Ok((parser.take_rest(), at))
    }

    /// What an RDB file had takes its place, with its functions; false if there are fewer keys than records.
    async fn commit(&self, mut load: Load, part: &Part, found: &mut Found) -> Result<bool> {
        let functions = Bytes::from(std::mem::take(&mut found.functions));
        if !functions.is_empty() && !load.put_section(OP_FUNCTION2, functions).await? {
            log::warn!("Libraries of functions in {} are passed over: no plugin takes them", part.name);
        }
        Ok(load.commit().await? == found.stored)
    }

    /// There are fewer keys than records: a key that is there twice is damage.
    async fn refuse_repeated(&self, part: &Part) -> Result<()> {
        let path = self.folder.at(&part.name);
        let found = self.host.blocking(move || File::open(path).and_then(RepeatedKeys::find)).await??;
        found.map_or(Ok(()), |repeated| Err(Error::new(repeated.to_string())))
    }

    fn damaged(&self, part: &Part, damage: &Damage) -> Error {
        if damage.command.is_some() {
            let (name, at, what) = (&part.name, damage.at, &damage.what);
            return Error::new(format!("can't go on reading the append only file {name}: {what} (offset {at})"));
        }
        Error::new(format!(
            "Bad file format reading the append only file {}: {} (offset {}). Make a backup of your AOF file, then use \
             redis-check-aof --fix {} to cut it there, losing all that follows.",
            part.name,
            damage.what,
            damage.at,
            self.folder.at(&format!("{}.manifest", self.folder.file)).display()
        ))
    }

    async fn truncated(&self, part: &Part, whole: u64, rest: u64, last: bool) -> Result<()> {
        let name = &part.name;
        if !last {
            return Err(Error::new(format!("Fatal error: the truncated file {name} is not the last file")));
        }
        let Some(truncated) = &self.truncated else {
            return Err(Error::new(format!(
                "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, \
                 then use redis-check-aof --fix {}. 2) Alternatively you can set the 'aof-load-truncated' configuration \
                 option to yes and restart the server.",
                self.folder.at(&format!("{}.manifest", self.folder.file)).display()
            )));
        };
        if self.only_checks {
            return Ok(());
        }
        log::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        log::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        if matches!(truncated, Truncated::Kept) {
            return Ok(());
        }
        log::warn!("Truncating the AOF {name} at offset {whole}: {rest} bytes behind it are no whole command");
        let path = self.folder.at(name);
        let cut = move || -> std::io::Result<()> {
            let file = File::options().write(true).open(path)?;
            file.set_len(whole)?;
            file.sync_all()
        };
        let cut = self.host.blocking(cut).await?;
        cut.map_err(|error| Error::new(format!("Error truncating the AOF file {name}: {error}")))
    }
}

/// What an RDB file has besides keys.
#[derive(Default)]
struct Found {
    head: FileHead,
    /// Libraries of functions, as records.
    functions: Vec<u8>,
    /// Records of keys that were put.
    stored: u64,
}

impl Found {
    fn place(&self) -> Option<Note> {
        let at = self.head.complete()?;
        Some(Note { replid: at.replid.clone(), offset: at.offset, db: at.stream_db })
    }
}

/// Takes all events there are; nowhere, if there is no load.
async fn fill(parser: &mut FileParser, mut load: Option<&mut Load>, found: &mut Found) -> Result<()> {
    loop {
        let from = parser.offset();
        let batch = match parser.next_event().map_err(|error| Error::new(error.to_string()))? {
            None | Some(Event::Eof { .. }) => return Ok(()),
            Some(Event::Batch { db, count, bytes }) => {
                let len = bytes.len();
                Batch { db, count: u32::try_from(count)?, bytes: Bytes::from(parser.take_batch(len)) }
            }
            Some(Event::Aux(name, value)) => {
                found.head.note(&name, &value);
                continue;
            }
            Some(Event::Function(code)) => {
                function_record(&code, &mut found.functions);
                continue;
            }
            Some(Event::Version(_) | Event::SelectDb(_) | Event::ResizeDb { .. } | Event::SlotInfo { .. }) => continue,
        };
        let to = from + batch.bytes.len() as u64;
        let told = |error: Error| Error::new(format!("{} (between byte {from} and {to})", error.text()));
        if let Some(load) = &mut load {
            found.stored += load.put(batch).await.map_err(told)?.stored;
        }
    }
}
