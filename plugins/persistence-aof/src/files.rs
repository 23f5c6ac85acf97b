//! The folder and its files: everything that touches the disk, blocking, with the syncs that make it last. Owns the order of
//! steps (write aside, sync, rename, sync the folder) and nothing else.

use crate::failpoint;
use crate::manifest::{Manifest, Part};
use bytes::{Buf, Bytes};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What becomes of a set's last file where another folder takes the set over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// A link too: both folders have what is written from here on.
    Shared,
    /// A copy: nothing is written to files of another folder that may be somebody else's by now.
    Copied,
}

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

    /// `dir`.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of the same name in another `dir`.
    pub(crate) fn in_dir(&self, dir: &Path) -> Folder {
        let name = self.path.file_name().unwrap_or_default();
        Folder { dir: dir.to_owned(), path: dir.join(name), file: self.file.clone() }
    }

    /// The same `dir`, whatever it is called.
    pub(crate) fn is_same(&self, other: &Folder) -> bool {
        let real = |folder: &Folder| folder.dir.canonicalize().unwrap_or_else(|_| folder.dir.clone());
        self.dir == other.dir || real(self) == real(other)
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.file)
    }

    /// The manifest, if there is one.
    pub(crate) fn read_manifest(&self) -> Result<Option<Manifest>, String> {
        let name = self.at(&self.manifest_name());
        match read(&name) {
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

    /// The folder exists, and is on the disk: a process that was killed may have made it just before.
    pub(crate) fn make(&self) -> io::Result<()> {
        let made = match std::fs::create_dir(&self.path) {
            // Perhaps as a file, or as a link to nowhere.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::read_dir(&self.path).map(drop),
            made => made,
        };
        let made = made.and_then(|()| sync_folder(&self.dir));
        made.map_err(|error| about("Can't open or create append-only dir ", &self.path, &error))
    }

    /// Replaces the manifest, whole or not at all.
    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let name = self.manifest_name();
        self.write_aside(&name, manifest).map_err(|error| about("the AOF manifest ", &self.at(&name), &error))
    }

    fn write_aside(&self, name: &str, manifest: &Manifest) -> io::Result<()> {
        let aside = self.at(&format!("temp-{name}"));
        let mut file = File::create(&aside)?;
        file.write_all(manifest.text().as_bytes())?;
        file.sync_all()?;
        failpoint::pass("manifest-synced")?;
        std::fs::rename(&aside, self.at(name))?;
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

    /// The set of another folder becomes this one's: links to its files, until a rewrite makes files of them. `last` says
    /// what becomes of the one that is written. What was here is history.
    pub(crate) fn take_over(&self, from: &Folder, set: &Manifest, last: Last) -> io::Result<Manifest> {
        self.make()?;
        let there = self.read_manifest().map_err(io::Error::other)?.unwrap_or_default();
        let taken = set.taken_over(&there, &self.file);
        let here = self.path.canonicalize()?;
        for (theirs, ours) in set.parts().zip(taken.parts()) {
            let (file, name) = (from.at(&theirs.name).canonicalize()?, self.at(&ours.name));
            self.discard(&ours.name);
            if last == Last::Copied && set.incr.last() == Some(theirs) {
                std::fs::copy(&file, &name)?;
                File::open(&name)?.sync_all()?;
            } else if file.parent() == Some(&here) {
                // It was taken from here, and its old name is history now.
                std::fs::hard_link(file, name)?;
            } else {
                std::os::unix::fs::symlink(file, name)?;
            }
        }
        sync_folder(&self.path)?;
        failpoint::pass("set-linked")?;
        self.write_manifest(&taken)?;
        Ok(taken)
    }

    /// True if parts of the set are links, as [`Folder::take_over`] leaves them.
    pub(crate) fn has_links(&self, set: &Manifest) -> bool {
        set.parts().any(|part| self.at(&part.name).is_symlink())
    }

    /// A new, empty file to append to.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        // Left behind by a rewrite that nobody finished. It may be a link to a file that is written elsewhere.
        match std::fs::remove_file(self.at(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().append(true).create_new(true).open(self.at(name))?;
        sync_folder(&self.path)?;
        Ok(file)
    }

    /// A file to append to, and its size.
    pub(crate) fn open(&self, part: &Part) -> io::Result<(File, u64)> {
        let file = File::options().append(true).open(self.at(&part.name))?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    /// Puts a part on the disk that may have been written by another process.
    pub(crate) fn sync(&self, part: &Part) -> io::Result<()> {
        sync(&self.open(part)?.0)
    }

    /// Puts the names on the disk, which another process may have given.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.path)?;
        failpoint::pass(failpoint::NAMES_SYNCED)
    }

    /// When a file of a set was written last, in seconds since 1970.
    pub(crate) fn written_at(&self, set: &Manifest) -> Option<u64> {
        let written = |part: &Part| std::fs::metadata(self.at(&part.name)).ok()?.modified().ok();
        let newest = set.parts().filter_map(written).max()?;
        Some(newest.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    }

    /// The size of a part; 0 if it isn't there.
    pub(crate) fn size(&self, part: &Part) -> u64 {
        std::fs::metadata(self.at(&part.name)).map_or(0, |meta| meta.len())
    }

    /// A file gets its name, for good.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let renamed = std::fs::rename(self.at(from), self.at(to)).and_then(|()| sync_folder(&self.path));
        renamed.map_err(|error| about("", &self.at(to), &error))
    }

    /// Deletes what the manifest calls history, and must not name any more then.
    pub(crate) fn remove(&self, history: &[Part]) -> io::Result<()> {
        for part in history {
            log::info!("Removing the history file {}", part.name);
            match std::fs::remove_file(self.at(&part.name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        failpoint::pass("history-removed")
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

/// Appends pieces as one batch. After an error `pieces` is what of them the file doesn't have.
pub(crate) fn append(file: &File, pieces: &mut Vec<Bytes>) -> io::Result<()> {
    failpoint::pass("batch-read")?;
    if let Some(what) = failpoint::reached("batch-half-written") {
        let mut half = Bytes::from(pieces.concat());
        let rest = half.split_off(half.len() / 2);
        *pieces = vec![rest];
        write_pieces(file, &mut vec![half])?;
        what.happens()?;
    }
    write_pieces(file, pieces)?;
    failpoint::pass("batch-written")
}

/// One system call for all of them, but where the file takes less. What is written is taken out.
fn write_pieces(mut file: impl Write, pieces: &mut Vec<Bytes>) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    let mut done = 0;
    let error = loop {
        if rest.is_empty() {
            pieces.clear();
            return Ok(());
        }
        match file.write_vectored(rest) {
            Ok(0) => break ErrorKind::WriteZero.into(),
            Ok(written) => {
                done += written;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    take_out(pieces, done);
    Err(error)
}

/// Takes so many bytes from the front.
fn take_out(pieces: &mut Vec<Bytes>, mut bytes: usize) {
    pieces.retain_mut(|piece| {
        let gone = bytes.min(piece.len());
        bytes -= gone;
        piece.advance(gone);
        !piece.is_empty()
    });
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

/// Opens a file to read it. What isn't one, a FIFO say, would be waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    // A folder is refused in the system's words.
    if kind.is_file() || kind.is_dir() { File::open(path) } else { Err(io::Error::other("not a regular file")) }
}

/// All of a file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error of the system, with what it is about.
fn about(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}{}: {error}", path.display()))
}

/// Puts a folder's names on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    // An empty path is the working folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &Path) -> Folder {
        let folder = Folder::new(dir, "d", "a.aof");
        folder.make().expect("a folder");
        folder
    }

    fn set_of(folder: &Folder) -> Manifest {
        let mut set = Manifest::default();
        let base = set.next_base("a.aof", true);
        set.push_incr(set.next_incr("a.aof"));
        set.rewritten(base, 1);
        for part in set.parts() {
            std::fs::write(folder.at(&part.name), &part.name).expect("written");
        }
        folder.write_manifest(&set).expect("written");
        set
    }

    fn content(folder: &Folder, set: &Manifest) -> Vec<String> {
        set.parts().map(|part| std::fs::read_to_string(folder.at(&part.name)).expect("it is there")).collect()
    }

    #[test]
    fn a_set_goes_there_and_back_and_its_history_may_go() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (one, two) = (folder(one.path()), folder(two.path()));
        let set = set_of(&one);
        let all = content(&one, &set);
        let there = two.take_over(&one, &set, Last::Shared).expect("taken");
        assert!(two.has_links(&there) && !one.has_links(&set));
        assert_eq!(content(&two, &there), all);
        let back = one.take_over(&two, &there, Last::Copied).expect("taken");
        one.remove(&back.history).expect("removed");
        assert_eq!(content(&one, &back), all, "what was here is another name of the same file");
    }

    /// Takes so many bytes, then is full.
    struct Room(Vec<u8>, usize);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_left() {
        let batch = || ["one", "", "three", "x"].map(Bytes::from).to_vec();
        for room in 0..=9 {
            let (mut disk, mut pieces) = (Room(Vec::new(), room), batch());
            assert_eq!(write_pieces(&mut disk, &mut pieces).is_ok(), room == 9);
            disk.1 = 9;
            assert_eq!(pieces.concat().len(), 9 - room);
            write_pieces(&mut disk, &mut pieces).expect("room");
            assert_eq!((disk.0.as_slice(), pieces.len()), (&b"onethreex"[..], 0));
        }
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(dir.path());
        let name = folder.at("a.aof.manifest");
        let made = std::process::Command::new("mkfifo").arg(&name).status();
        assert!(made.is_ok_and(|made| made.success()));
        assert_eq!(folder.read_manifest(), Err(format!("{}: not a regular file", name.display())));
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("linked");
        std::fs::write(dir.path().join("file"), "").expect("written");
        for (name, why) in [("link", "No such file or directory"), ("file", "Not a directory")] {
            let error = Folder::new(dir.path(), name, "a.aof").make().expect_err(name);
            let words = format!("Can't open or create append-only dir {}/{name}: {why}", dir.path().display());
            assert!(error.to_string().starts_with(&words), "{error}");
        }
    }

    #[test]
    fn a_new_file_does_not_empty_what_a_link_of_its_name_leads_to() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(dir.path());
        let other = dir.path().join("other");
        std::fs::write(&other, "kept").expect("written");
        std::os::unix::fs::symlink(&other, folder.at("new")).expect("linked");
        drop(folder.create("new").expect("made"));
        assert_eq!(std::fs::read(&other).expect("there"), b"kept");
        assert!(!folder.at("new").is_symlink());
    }
}
