//! Putting the file on the disk while it is written on: nobody's reply waits for that under `everysec`. Owns the sync that
//! runs; what its end means is the machine's to say.

use super::Writer;
use crate::files;
use crate::machine::Machine;
use futures::future::BoxFuture;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So long do replies wait for writes while the file is put on the disk: a disk that takes longer would be felt each second.
const PATIENCE: Duration = Duration::from_millis(50);

/// A sync beside the writing.
pub(super) struct Syncing {
    pub(super) done: BoxFuture<'static, io::Result<()>>,
    /// It is that of the file before, and what was known of it.
    pub(super) before: Option<Box<Machine>>,
}

impl Writer {
    /// Begins to put the file on the disk while it is written on: nobody's reply waits for that under `everysec`.
    pub(super) fn sync_beside(&mut self) {
        if let Some(log) = &self.log {
            self.syncing = Some(Syncing { done: self.begin_sync(log.same_file()), before: None });
        }
    }

    pub(super) fn begin_sync(&self, file: Arc<File>) -> BoxFuture<'static, io::Result<()>> {
        let (host, plugin) = (self.plugin.host, self.plugin.clone());
        plugin.shown.syncing.store(true, Ordering::Release);
        let (waiting, sync) = (self.plugin.clone(), self.plugin.sync_begins());
        // The writer's own thread may be where the disk holds it.
        host.spawn(async move {
            host.sleep(PATIENCE).await;
            waiting.let_go_while_syncing(sync);
        });
        let sync = move || {
            let done = files::sync(&file);
            plugin.shown.syncing.store(false, Ordering::Release);
            done
        };
        let done = host.blocking(sync);
        Box::pin(async move { done.await.unwrap_or_else(|error| Err(io::Error::other(error.text().to_owned()))) })
    }

    /// Waits for a sync that runs: what follows changes the file, or puts it on the disk itself.
    pub(super) async fn end_sync(&mut self) {
        if let Some(syncing) = &mut self.syncing {
            let result = (&mut syncing.done).await;
            self.synced(&result).await;
        }
    }

    pub(super) async fn synced(&mut self, result: &io::Result<()>) {
        let before = self.syncing.take().and_then(|syncing| syncing.before);
        self.plugin.sync_ended();
        if let Some(before) = before {
            return self.closed(*before, result).await;
        }
        if let Some(log) = &mut self.log {
            let actions = log.synced(result);
            self.act(actions).await;
        }
    }
}
