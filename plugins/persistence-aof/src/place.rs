//! Where the set is that a start must load, when `dir` was changed while the file was on. Owns the note of it in the plugin's
//! state, which stays in the folder that the file or the command line names: whatever `dir` the next start has (CONFIG REWRITE
//! keeps it or not), it finds the newest set, takes it over and goes on with it.

use crate::files::Folder;
use crate::plugin::Aof;
use keystead_plugin::prelude::*;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The `dir` that the set is in; none: that of this note. A copy of a whole folder must not lead back to the original.
    dir: Option<PathBuf>,
    /// The file was switched off then, in seconds since 1970: what was written since isn't in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_s: Option<u64>,
}

/// What the note says, and where it is.
pub(crate) struct Noted {
    /// `dir` as it was before CONFIG REWRITE's word for it: the note lies there.
    home: PathBuf,
    last: Mutex<Option<Note>>,
    /// Held while one is written.
    writing: futures::lock::Mutex<()>,
}

impl Noted {
    /// Before what CONFIG REWRITE kept is set. A note that is there and can't be read refuses the start: the files in `dir`
    /// may be older than those it leads to.
    pub(crate) fn read(host: &Host) -> Result<Noted> {
        let home = PathBuf::from(host.setting("dir").unwrap_or_else(|| ".".to_owned()));
        let noted = Noted { home, last: Mutex::default(), writing: futures::lock::Mutex::default() };
        noted.read_again(host)?;
        Ok(noted)
    }

    /// Once nobody else writes it any more.
    pub(crate) fn read_again(&self, host: &Host) -> Result<()> {
        let bytes = host.read_state()?.unwrap_or_default();
        *self.last.lock() = parse(&bytes).map_err(|why| {
            let path = self.home.join(format!("{}.state", Aof::NAME));
            Error::new(format!(
                "{}, which says where the newest append-only files are, can't be read: {}. Mend it, or remove it to start \
                 with those in 'dir'",
                path.display(),
                why.text()
            ))
        })?;
        Ok(())
    }

    /// Where the note lies.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of the newest set if it isn't this one; an error if that was moved away from here and is gone.
    pub(crate) fn elsewhere(&self, here: &Folder) -> Result<Option<Folder>> {
        let Some(Note { dir, .. }) = self.last.lock().clone() else { return Ok(None) };
        let moved = dir.is_some();
        let there = here.in_dir(dir.as_deref().unwrap_or(&self.home));
        if there.is_same(here) {
            return Ok(None);
        }
        match there.read_manifest() {
            Ok(Some(set)) if !set.is_empty() => Ok(Some(there)),
            // Somebody moved the files by hand.
            Ok(_) if !moved => Ok(None),
            Ok(_) => Err(self.gone(&there, here, "there are none now")),
            Err(why) => Err(self.gone(&there, here, &why)),
        }
    }

    fn gone(&self, there: &Folder, here: &Folder, why: &str) -> Error {
        Error::new(format!(
            "CONFIG SET dir moved the append-only files to {}: {why}. Bring them back, or remove {} to start with what is in {}",
            there.path().display(),
            self.home.join(format!("{}.state", Aof::NAME)).display(),
            here.path().display()
        ))
    }

    /// The set in this folder is what a start must load; none: no set is. Where the note can't be written an older one must
    /// not stay: an empty file may still have room.
    pub(crate) async fn note(&self, host: &Host, folder: Option<&Folder>) {
        let _alone = self.writing.lock().await;
        let note = folder.map(|folder| Note { dir: self.away(folder), ended_s: None });
        if *self.last.lock() == note {
            return;
        }
        let text = note.as_ref().and_then(|note| ron::to_string(note).ok()).unwrap_or_default();
        let mut kept = host.persist_state(text.as_bytes()).await;
        let told = kept.as_ref().err().map(|error| error.text().to_owned());
        let mut now = note;
        if kept.is_err() && !text.is_empty() {
            now = None;
            kept = host.persist_state(b"").await;
        }
        if let Some(why) = told {
            log::warn!("Where the append-only files are couldn't be noted, the next start looks in its 'dir': {why}");
        }
        if kept.is_ok() {
            *self.last.lock() = now;
        }
    }

    /// When the set of the note ended.
    pub(crate) fn ended_s(&self) -> Option<u64> {
        self.last.lock().as_ref().and_then(|note| note.ended_s)
    }

    /// The file was switched off at a time that `ended` tells once no other note is on its way; none: it is on again.
    pub(crate) async fn note_end(&self, host: &Host, ended: impl FnOnce() -> Option<u64>) {
        let _alone = self.writing.lock().await;
        let (Some(ended_s), Some(before)) = (ended(), self.last.lock().clone()) else { return };
        let note = Note { ended_s: Some(ended_s), ..before };
        let Ok(text) = ron::to_string(&note) else { return };
        match host.persist_state(text.as_bytes()).await {
            Ok(()) => *self.last.lock() = Some(note),
            Err(why) => log::warn!(
                "That the append-only file was switched off couldn't be noted: a start that has it on again loads it, \
                 whatever was saved since ({})",
                why.text()
            ),
        }
    }

    fn away(&self, folder: &Folder) -> Option<PathBuf> {
        let home = folder.in_dir(&self.home);
        (!home.is_same(folder)).then(|| absolute(folder.dir()))
    }
}

/// An empty one says nothing.
fn parse(bytes: &[u8]) -> Result<Option<Note>> {
    let text = std::str::from_utf8(bytes)?;
    if text.is_empty() { Ok(None) } else { Ok(Some(ron::from_str(text)?)) }
}

/// Without links: what they point to may change.
fn absolute(dir: &Path) -> PathBuf {
    dir.canonicalize().unwrap_or_else(|_| dir.to_owned())
}
