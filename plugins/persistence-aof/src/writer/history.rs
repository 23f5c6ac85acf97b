//! Files that are written no more: the one before a rewrite's is put on the disk, those that a rewrite replaced are deleted.
//! Large ones take long, and nobody waits: it is done beside the writing. Owns what may be said of the disk until then.

use super::sync::Syncing;
use super::{Log, Order, Writer};
use crate::files::Folder;
use crate::machine::{Action, Machine};
use crate::manifest::Part;
use ::log::warn;
use std::io;

/// What of a folder's history is gone.
pub(crate) struct Removed {
    folder: Folder,
    parts: Vec<Part>,
    result: io::Result<()>,
}

impl Writer {
    /// Puts the file before on the disk and closes it, or only closes it where a base has all of it already.
    pub(super) fn close(&mut self, old: Log) {
        let host = self.plugin.host;
        let (mut machine, file) = (old.machine.clone(), old.same_file());
        drop(old);
        if self.log.as_ref().is_some_and(|log| log.machine.follows()) {
            machine.sync(host.now());
            self.syncing = Some(Syncing { done: self.begin_sync(file), before: Some(Box::new(machine)) });
            return;
        }
        // Its name may be gone by now: then the disk gives its bytes back here.
        host.spawn(async move {
            let _ = host.blocking(move || drop(file)).await;
        });
    }

    /// The file before is on the disk, or can't be put there.
    pub(super) async fn closed(&mut self, mut before: Machine, result: &io::Result<()>) {
        let now = self.plugin.host.now();
        before.set_policy(self.plugin.config().fsync);
        let mut told = match result {
            Ok(()) => before.synced(now),
            Err(error) => before.sync_failed(now, &error.to_string()),
        };
        // One that runs replaces the file, or is tried again.
        told.retain(|action| self.rewrite.is_none() || *action != Action::Rewrite);
        self.plugin.shown.delayed.fetch_add(before.take_delayed(), std::sync::atomic::Ordering::Relaxed);
        // Where there is a base by now, nobody needs the file.
        let Some(log) = self.log.as_mut().filter(|log| log.machine.follows()) else { return };
        let actions = match before.failed() {
            None => log.machine.trust(before.synced_place()),
            Some(why) => {
                log.machine.distrust();
                self.distrusted.get_or_insert_with(|| why.to_owned());
                told
            }
        };
        self.act(actions).await;
    }

    /// Deletes what a rewrite replaced, unless it shall stay.
    pub(super) fn forget_history(&mut self) {
        if self.manifest.history.is_empty() || self.plugin.config().keep_history || self.forgets {
            return;
        }
        self.forgets = true;
        let (host, orders) = (self.plugin.host, self.plugin.orders());
        let (folder, parts) = (self.folder.clone(), self.manifest.history.clone());
        host.spawn(async move {
            let remove = move || {
                let result = folder.remove(&parts);
                Removed { folder, parts, result }
            };
            if let Ok(removed) = host.blocking(remove).await {
                let _ = orders.unbounded_send(Order::HistoryRemoved(removed));
            }
        });
    }

    /// The manifest names them no more. Other files may have become history meanwhile.
    pub(super) fn history_removed(&mut self, removed: &Removed) {
        self.forgets = false;
        let told = |error: &io::Error| warn!("The history files of the AOF can't be removed: {error}");
        if let Err(error) = &removed.result {
            return told(error);
        }
        if removed.folder.path() == self.folder.path() {
            let mut manifest = self.manifest.clone();
            manifest.history.retain(|part| !removed.parts.contains(part));
            match self.folder.write_manifest(&manifest) {
                Ok(()) => self.manifest = manifest,
                Err(error) => return told(&error),
            }
        }
        self.forget_history();
    }
}
