//! The sentinel's place on the disk: its state file, and the lock that keeps a second sentinel out of the folder. Two that
//! share one state are one id with two voices, and each undoes the other's votes. Writing the state is the host's.

use crate::state::State;
use crate::types::Mono;
use keystead_plugin::prelude::*;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Longest process number read from the lock file.
const MAX_PID: u64 = 20;

/// A disk that doesn't take the state is said again after this long; it is tried with everything that has to leave.
const TELL_MS: u64 = 30_000;

/// What the log hears of a disk.
#[derive(Debug, Default)]
pub(super) struct DiskVoice {
    /// Since it failed: its words when that was said last, when, and the tries since.
    failing: Option<(String, Mono, u64)>,
}

impl DiskVoice {
    pub(super) fn tell(&mut self, result: &std::result::Result<(), String>, now: Mono) {
        if let Some(line) = self.line(result, now) {
            log::error!("{line}");
        } else if result.is_ok()
            && let Some((_, _, tries)) = self.failing.take()
        {
            log::warn!("The sentinel's state is on the disk again ({tries} tries failed since that was said last)");
        }
    }

    /// What is to be said of a failure, if anything is.
    fn line(&mut self, result: &std::result::Result<(), String>, now: Mono) -> Option<String> {
        let error = result.as_ref().err()?;
        if let Some((said, at, tries)) = &mut self.failing
            && said == error
            && now.since(*at) < TELL_MS
        {
            *tries += 1;
            return None;
        }
        self.failing = Some((error.clone(), now, 0));
        Some(format!("The sentinel's state can't be written, votes are withheld: {error}"))
    }
}

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
        let folder = Folder { dir, found: host.read_state()?.map(|bytes| bytes.to_vec()) };
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
        if host.read_state()?.as_deref() != self.found.as_deref() {
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
            Err(TryLockError::Error(error)) if unwritable(&error) => Err(Error::new(format!(
                "{} can't be written ({error}): a sentinel that can't keep its votes could never vote",
                self.dir.display()
            ))),
            Err(TryLockError::Error(error)) => {
                log::warn!("{} can't be locked ({error}): nothing keeps a second sentinel out", path.display());
                Ok(None)
            }
        }
    }
}

/// Of another file in the folder the same is to be expected.
fn unwritable(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_once_in_a_while_and_another_fault_at_once() {
        let mut disk = DiskVoice::default();
        let (full, other) = (Err("no space left".to_owned()), Err("input/output error".to_owned()));
        let said = |disk: &mut DiskVoice, result, now| disk.line(result, Mono(now)).is_some();
        assert!(said(&mut disk, &full, 0));
        assert!((1..300).all(|n| !said(&mut disk, &full, n * 100)));
        assert!(said(&mut disk, &full, TELL_MS));
        assert!(said(&mut disk, &other, TELL_MS + 1));
        disk.tell(&Ok(()), Mono(TELL_MS + 2));
        assert!(said(&mut disk, &full, TELL_MS + 3), "it worked in between");
    }
}
