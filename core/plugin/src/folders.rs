//! One process at a time in a folder: whoever writes there has locked (`flock`) a file in it, until it leaves or its process has
//! ended, however that ends. Owns the lock files, and which errors of the system mean that nobody can be kept out.
//!
//! For plugins that keep data in `dir`. Two processes that write the same files each replace what the other one has promised.

use crate::error::{Error, Result};
use crate::host::Host;
use parking_lot::Mutex;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest process number read from a lock file.
const MAX_PID: u64 = 20;
/// A start waits so long for a process that is about to end: its ports are free before its last write is done, and one that
/// was killed gives its memory back before its files.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);
/// Who removes the file again and again while it is locked here gets what he wants.
const TRIES: usize = 3;

/// Another process has the folder.
#[derive(Debug)]
struct Taken {
    lock: PathBuf,
    /// Its process.
    pid: String,
}

impl Taken {
    fn refusal(&self, dir: &Path) -> Error {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Error::new(format!(
            "another process ({}) writes to {} and has locked {}: two would overwrite each other's data. Each one needs a \
             folder ('dir') of its own",
            self.pid,
            dir.display(),
            self.lock.display()
        ))
    }
}

/// The folders that this process alone writes to. Clones are the same.
#[derive(Clone)]
pub struct Folders {
    host: Host,
    held: Arc<Mutex<Held>>,
}

impl Folders {
    /// None yet. `plugin` names the lock files: plugins of one process don't keep each other out.
    pub fn new(host: Host, plugin: &str) -> Folders {
        Folders { host, held: Arc::new(Mutex::new(Held::new(plugin))) }
    }

    /// Holds a folder from now on; an error if another process does. Where the system can't say (no room for the file, a
    /// file system without locks) nobody is kept out: who can't write there at all is told so by the write itself.
    /// Goes to the disk, and waits for nothing else.
    pub fn hold(&self, dir: &Path) -> Result<()> {
        self.held.lock().hold(dir).map_err(|taken| taken.refusal(dir))
    }

    /// The same for a start, which gives a process that is about to end the time for it.
    pub async fn hold_at_start(&self, dir: &Path) -> Result<()> {
        let until = self.host.now() + PATIENCE;
        let mut told = false;
        loop {
            let (held, folder) = (self.held.clone(), dir.to_owned());
            let Err(taken) = self.host.blocking(move || held.lock().hold(&folder)).await? else { return Ok(()) };
            if self.host.now() >= until {
                return Err(taken.refusal(dir));
            }
            if !std::mem::replace(&mut told, true) {
                log::info!("Process {} has locked {}: waiting for its end", taken.pid, taken.lock.display());
            }
            self.host.sleep(LOOK).await;
        }
    }

    /// Leaves all but these.
    pub fn leave_all_but(&self, dirs: &[&Path]) {
        self.held.lock().leave_all_but(dirs);
    }
}

#[derive(Debug)]
struct Held {
    /// Of the lock files.
    name: String,
    files: Vec<File>,
    /// It was said that one can't be locked.
    told: bool,
}

impl Held {
    fn new(plugin: &str) -> Held {
        Held { name: format!("{plugin}.lock"), files: Vec::new(), told: false }
    }

    fn hold(&mut self, dir: &Path) -> Result<(), Taken> {
        let path = dir.join(&self.name);
        if self.files.iter().any(|file| is_at(file, &path)) {
            return Ok(());
        }
        match lock(&path) {
            Ok(file) => self.files.push(file),
            Err(TryLockError::WouldBlock) => return Err(Taken { pid: holder(&path), lock: path }),
            Err(TryLockError::Error(error)) => self.tell(&path, &error),
        }
        Ok(())
    }

    fn leave_all_but(&mut self, dirs: &[&Path]) {
        let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.join(&self.name)).collect();
        self.files.retain(|file| paths.iter().any(|path| is_at(file, path)));
    }

    fn tell(&mut self, path: &Path, error: &io::Error) {
        if !is_of_any_write(error) && !std::mem::replace(&mut self.told, true) {
            log::warn!("{} can't be locked ({error}): nothing keeps another process out of the folder", path.display());
        }
    }
}

/// Of the data's own files the same is to be expected: they have better words for it.
fn is_of_any_write(error: &io::Error) -> bool {
    use ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

/// The file, locked and under its name: whoever comes behind somebody who removed it has locked another one.
fn lock(path: &Path) -> Result<File, TryLockError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut file = open(path).map_err(TryLockError::Error)?;
        file.try_lock()?;
        if is_at(&file, path) || tries == TRIES {
            // Only for whoever is refused.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            return Ok(file);
        }
    }
}

/// One that another user left, and that can only be read, can be locked all the same.
fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.or_else(|error| File::open(path).map_err(|_| error))
}

/// The name leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |file: &Metadata| (file.dev(), file.ino());
    let ids = file.metadata().and_then(|file| Ok((id(&file), id(&std::fs::metadata(path)?))));
    ids.is_ok_and(|(file, there)| file == there)
}

fn holder(path: &Path) -> String {
    let mut pid = String::new();
    let _ = File::open(path).and_then(|file| file.take(MAX_PID).read_to_string(&mut pid));
    // It has just locked it, or can't write into it.
    if pid.is_empty() { "unknown".to_owned() } else { pid }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("keystead-folders-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("made");
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_at_a_time_and_each_plugin_by_itself() {
        let scratch = Scratch::new("one");
        let dir = scratch.0.as_path();
        let (mut one, mut two, mut other) = (Held::new("a"), Held::new("a"), Held::new("b"));
        one.hold(dir).expect("free");
        one.hold(dir).expect("its own");
        other.hold(dir).expect("another plugin's");
        let taken = two.hold(dir).expect_err("taken");
        assert_eq!(taken.pid, std::process::id().to_string());
        let words = taken.refusal(dir).text().to_owned();
        let begin = format!("another process ({}) writes to {}", std::process::id(), dir.display());
        assert!(words.starts_with(&begin), "{words}");
        drop(one);
        two.hold(dir).expect("free again");
    }

    #[test]
    fn who_goes_elsewhere_holds_both_until_it_leaves() {
        let (here, there) = (Scratch::new("here"), Scratch::new("there"));
        let (mut one, mut two) = (Held::new("a"), Held::new("a"));
        one.hold(&here.0).expect("free");
        one.hold(&there.0).expect("free");
        assert!(two.hold(&here.0).is_err() && two.hold(&there.0).is_err());
        one.leave_all_but(&[&there.0]);
        two.hold(&here.0).expect("left");
        assert!(two.hold(&there.0).is_err());
    }

    /// As cleaners of temporary folders do.
    #[test]
    fn a_lock_that_somebody_removed_is_made_again() {
        let scratch = Scratch::new("removed");
        let (mut one, mut two) = (Held::new("a"), Held::new("a"));
        one.hold(&scratch.0).expect("free");
        std::fs::remove_file(scratch.0.join("a.lock")).expect("removed");
        one.hold(&scratch.0).expect("made again");
        assert!(two.hold(&scratch.0).is_err());
    }

    #[test]
    fn where_nothing_can_be_written_nobody_is_refused() {
        let scratch = Scratch::new("gone");
        let mut one = Held::new("a");
        one.hold(&scratch.0.join("none")).expect("the write will say it");
        std::fs::create_dir(scratch.0.join("none")).expect("made");
        one.hold(&scratch.0.join("none")).expect("held now");
        assert!(Held::new("a").hold(&scratch.0.join("none")).is_err());
    }
}
