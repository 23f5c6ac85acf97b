//! The sentinel's place on the disk: its state file, and the lock that keeps a second sentinel out of the folder. Two that
//! share one state are one id with two voices, and each undoes the other's votes. Writing the state is the host's.

use crate::state::State;
use keystead_plugin::prelude::*;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Longest process number read from the lock file.
const MAX_PID: u64 = 20;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// The state's bytes when the plugin was made.
    found: Option<Vec<u8>>,
}

impl Folder {
    /// The folder and the state in it, if there is one. A damaged one is an error that names the file.
    pub(super) fn open(host: &Host) -> Result<(Folder, Option<State>)> {
        let dir = PathBuf::from(host.setting("dir").unwrap_or_default());
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let folder = Folder { dir, found: host.read_state().map(|bytes| bytes.to_vec()) };
        let saved = folder.found.as_deref().map(|bytes| folder.decode(bytes)).transpose()?;
        Ok((folder, saved))
    }

    fn decode(&self, bytes: &[u8]) -> Result<State> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string());
        text.and_then(State::decode).map_err(|error| Error::new(format!("{}: {error}", self.state().display())))
    }

    fn state(&self) -> PathBuf {
        self.dir.join("sentinel.state")
    }

    /// Takes the folder for as long as the file given back lives, at most until the process has ended, however it ends.
    /// The state must be the one that was found: another sentinel may just have written its last votes.
    pub(super) fn take(&self, host: &Host) -> Result<Option<File>> {
        let lock = self.lock()?;
        if host.read_state().as_deref() != self.found.as_deref() {
            return Err(Error::new(format!("{}: another sentinel has just written it", self.state().display())));
        }
        if self.found.is_none() && self.state().exists() {
            return Err(Error::new(format!("{} can't be read", self.state().display())));
        }
        Ok(lock)
    }

    fn lock(&self) -> Result<Option<File>> {
        // The state file itself is replaced by each write.
        let path = self.dir.join("sentinel.lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let locked = open.map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
        match locked {
            Ok(mut file) => {
                // Only for whoever is refused.
                let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                Ok(Some(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = File::open(&path).and_then(|file| file.take(MAX_PID).read_to_string(&mut pid));
                Err(Error::new(format!(
                    "{} holds the state of a sentinel that runs (process {pid}): each one needs a folder ('dir') of its own",
                    self.dir.display()
                )))
            }
            Err(TryLockError::Error(error)) => {
                log::warn!("{} can't be locked ({error}): nothing keeps a second sentinel out", path.display());
                Ok(None)
            }
        }
    }
}
