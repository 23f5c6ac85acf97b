//! The folder and its files: everything that touches the disk, blocking, with the syncs that make it last. Owns the order of
//! steps (write aside, sync, rename, sync the folder) and nothing else.

use crate::failpoint;
use crate::manifest::{Manifest, Part};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where the parts lie.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// `dir`: where a single old file may lie.
    dir: PathBuf,
    /// `dir`/`appenddirname`.
    path: PathBuf,
    /// `appendfilename`.
    pub(crate) file: String,
}

impl Folder {
    pub(crate) fn new(dir: &Path, dir_name: &str, file: &str) -> Folder {
        Folder { dir: dir.to_owned(), path: dir.join(dir_name), file: file.to_owned() }
    }

    /// A file in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.file)
    }

    /// The manifest, if there is one.
    pub(crate) fn read_manifest(&self) -> Result<Option<Manifest>, String> {
        let name = self.at(&self.manifest_name());
        match std::fs::read(&name) {
            Ok(text) => Manifest::parse(&text).map(Some).map_err(|error| format!("{}: {error}", name.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", name.display())),
        }
    }

    /// A file of a Redis before 7, beside the folder: so long as the folder doesn't know better.
    pub(crate) fn old_file(&self) -> Option<PathBuf> {
        let old = self.dir.join(&self.file);
        old.is_file().then_some(old)
    }

    /// Moves an old file into the folder, which gets a manifest first: a crash in between is found out by the next start.
    pub(crate) fn adopt_old_file(&self, old: &Path) -> io::Result<Manifest> {
        self.make()?;
        let manifest = Manifest::of_old_file(&self.file);
        self.write_manifest(&manifest)?;
        std::fs::rename(old, self.at(&self.file))?;
        sync_folder(&self.dir)?;
        sync_folder(&self.path)?;
        Ok(manifest)
    }

    /// The folder exists.
    pub(crate) fn make(&self) -> io::Result<()> {
        match std::fs::create_dir(&self.path) {
            Ok(()) => sync_folder(&self.dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the manifest, whole or not at all.
    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let name = self.manifest_name();
        let aside = self.at(&format!("temp-{name}"));
        let mut file = File::create(&aside)?;
        file.write_all(manifest.text().as_bytes())?;
        file.sync_all()?;
        failpoint::pass("manifest-synced")?;
        std::fs::rename(&aside, self.at(&name))?;
        failpoint::pass("manifest-renamed")?;
        sync_folder(&self.path)
    }

    /// The manifest that was there before a failed change, or none.
    pub(crate) fn restore_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        if !manifest.text().is_empty() {
            return self.write_manifest(manifest);
        }
        match std::fs::remove_file(self.at(&self.manifest_name())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.path),
        }
    }

    /// A new, empty file to append to.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let file = File::options().append(true).create(true).open(self.at(name))?;
        // Left behind by a rewrite that nobody finished.
        file.set_len(0)?;
        sync_folder(&self.path)?;
        Ok(file)
    }

    /// A file to append to, and its size.
    pub(crate) fn open(&self, part: &Part) -> io::Result<(File, u64)> {
        let file = File::options().append(true).open(self.at(&part.name))?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    /// The size of a part; 0 if it isn't there.
    pub(crate) fn size(&self, part: &Part) -> u64 {
        std::fs::metadata(self.at(&part.name)).map_or(0, |meta| meta.len())
    }

    /// A file gets its name, for good.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.at(from), self.at(to))?;
        sync_folder(&self.path)
    }

    /// Deletes what the manifest calls history; gives the manifest without it.
    pub(crate) fn remove_history(&self, mut manifest: Manifest) -> io::Result<Manifest> {
        for part in std::mem::take(&mut manifest.history) {
            log::info!("Removing the history file {}", part.name);
            match std::fs::remove_file(self.at(&part.name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        failpoint::pass("history-removed")?;
        self.write_manifest(&manifest)?;
        Ok(manifest)
    }

    /// Deletes what a process that was killed left behind under a name of its own: at the start, when nobody writes here.
    pub(crate) fn discard_temporary(&self, prefix: &str) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(prefix)).for_each(|name| self.discard(&name));
    }

    /// Deletes a file that no manifest names. Best effort: it is in nobody's way.
    pub(crate) fn discard(&self, name: &str) {
        let _ = std::fs::remove_file(self.at(name));
    }
}

/// Appends pieces as one batch. After an error the file may hold a part of them.
pub(crate) fn append(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    failpoint::pass("batch-read")?;
    if let Some(what) = failpoint::reached("batch-half-written") {
        let whole = pieces.concat();
        file.write_all(&whole[..whole.len() / 2])?;
        what.happens()?;
    }
    write_pieces(file, pieces)?;
    failpoint::pass("batch-written")
}

/// One system call for all of them, but where the file takes less.
fn write_pieces(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a file's bytes on the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    failpoint::pass("batch-synced")
}

/// Lets the disk begin with a part of a file. Linux begins to write what it is told to forget, and forgets only what the disk
/// has by then. Blocks at most while the disk's queue is full; what goes wrong is the next [`sync`]'s error.
pub(crate) fn write_ahead(file: &File, part: Range<u64>) {
    let _ = fadvise(file, part.start, NonZeroU64::new(part.end - part.start), Advice::DontNeed);
}

/// Puts a folder's names on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    // An empty path is the working folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
