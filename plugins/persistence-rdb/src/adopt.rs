//! A file of somebody else's that has what was in memory, as replication's payload has behind a full sync: it takes the place of
//! ours, and no save is needed to have that after a restart. Owns the rules for that.
//!
//! Not where nothing saves by itself: the file would become older and older. A node that is a primary by then and is started again
//! would take it for its data, and so would its replicas, which keep theirs from one that comes back with nothing.

use crate::plugin::PersistenceRdb;
use crate::save::{hold, sync_folder};
use keystead_plugin::prelude::*;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl PersistenceRdb {
    /// `changes`: of the keys, up to which the file has them. False: it isn't wanted, and who offered it has it still.
    pub(crate) async fn take_over(&self, file: PathBuf, changes: u64) -> Result<bool> {
        if !self.ready.load(Ordering::Acquire) || self.config().save.is_empty() {
            return Ok(false);
        }
        if self.board.read().writes.is_some_and(|writes| writes < changes) {
            // What is there before is replaced: it would be written for nothing.
            self.cancelled.store(true, Ordering::Release);
        }
        let whole = file.clone();
        self.host.blocking(move || File::open(whole)?.sync_all()).await??;
        let writing = self.write_alone().await;
        // A load counts, so as many changes are a save of the same keys, at a later place in their history. Or there are no keys.
        if self.board.read().saved_changes >= changes {
            return Ok(false);
        }
        let path = self.path();
        hold(self, path.parent().unwrap_or(Path::new("."))).await?;
        let shown = path.display().to_string();
        let (replaced, _writing) = self.host.blocking(move || (replace(&file, &path), writing)).await?;
        replaced?;
        log::info!("The payload of the full sync is the RDB file now: {shown}");
        self.has_saved(changes);
        Ok(true)
    }
}

/// The file is on the disk; so is its new name behind this.
fn replace(file: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(file, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}
