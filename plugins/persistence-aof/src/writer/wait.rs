//! What the writer waits for, and where the file is meanwhile: lent to those who send replies wherever it may be, else here.
//! Owns the order in which waits are looked at; carries nothing out.

use super::direct::Through;
use super::log::{Log, News};
use super::rewrite::Rewrite;
use super::{LOOK, Order, Writer};
use futures::channel::mpsc;
use futures::future::{Either, OptionFuture, select};
use futures::{FutureExt, StreamExt};
use std::future::pending;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// While no reply waits for it, the file gets what there is this often: others than clients' commands write, or a sync takes
/// its time.
pub(super) const PACE: Duration = Duration::from_millis(2);

/// What the writer waits for.
pub(super) enum Wake {
    Order(Order),
    News(News),
    /// A sync beside the writing has ended.
    Synced(std::io::Result<()>),
    Time,
    /// The plugin is gone.
    Gone,
}

/// True if what follows changes the file or puts it on the disk itself. Settings do only where they switch the file off.
pub(super) fn waits_for_sync(wake: &Wake) -> bool {
    match wake {
        Wake::Order(order) => !matches!(order, Order::Configured { .. } | Order::HistoryRemoved(_)),
        Wake::News(news) => matches!(news, News::End(_)),
        Wake::Synced(_) | Wake::Time | Wake::Gone => false,
    }
}

impl Writer {
    /// What comes next. The file is lent meanwhile, if it may be.
    pub(super) async fn next(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) -> Wake {
        if !self.lend() {
            return self.wait(inbox).await;
        }
        let now = self.plugin.host.now();
        let order = inbox.next().map(|order| order.map_or(Wake::Gone, Wake::Order));
        let wake = if self.trickles {
            // Shorter than a timer's way through other threads; orders can wait so long.
            std::thread::sleep(PACE);
            order.now_or_never().unwrap_or(Wake::Time)
        } else {
            let sleep = self.plugin.host.sleep(self.wake_at().saturating_sub(now));
            let sleep = pin!(sleep.map(|()| Wake::Time));
            let direct = self.direct.clone();
            let trouble = pin!(async move { direct.trouble().await });
            match select(order, select(trouble.map(|()| Wake::Time), sleep)).await {
                Either::Left((wake, _)) | Either::Right((Either::Left((wake, _)) | Either::Right((wake, _)), _)) => {
                    wake
                }
            }
        };
        self.take_back().await;
        wake
    }

    /// Lends the file to those who send replies; false if it must stay here.
    fn lend(&mut self) -> bool {
        let stays =
            std::mem::take(&mut self.troubled) || !self.listed || self.rewrite.as_ref().is_some_and(Rewrite::rotates);
        let Some(log) = self.log.take_if(|log| !stays && log.may_be_lent()) else { return false };
        self.turn_to_disk();
        self.direct.lend(log);
        self.turn_from_disk();
        // Every reply's own thread writes before it sends, so none needs to be held. What is held now is written.
        self.plugin.free_unless_always();
        true
    }

    /// The file back; replies are held from here on until what they show is written.
    async fn take_back(&mut self) {
        if self.plugin.shown.write_ok.load(Ordering::Acquire) {
            // Else an error was met meanwhile, and nothing is to be held for it.
            self.plugin.hold();
        }
        self.turn_to_disk();
        let Some((mut log, through)) = self.direct.take_back() else { return };
        log.machine.set_policy(self.plugin.config().fsync);
        let mut actions = log.take_put_off();
        self.trickles = matches!(through, Through::Written(_)) && !self.direct.was_used();
        self.troubled = matches!(through, Through::Trouble(_));
        if let Through::Written(more) | Through::Trouble(more) = through {
            actions.extend(more);
        }
        actions.extend(log.machine.shown());
        self.log = Some(log);
        self.act(actions).await;
    }

    async fn wait(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) -> Wake {
        let now = self.plugin.host.now();
        let wake_at = self.wake_at();
        let sleep = self.plugin.host.sleep(wake_at.saturating_sub(now));
        let news = async {
            match &mut self.log {
                Some(log) => log.news().await,
                None => pending().await,
            }
        };
        let order = inbox.next().map(|order| order.map_or(Wake::Gone, Wake::Order));
        let syncing = self.syncing.as_mut().map(|syncing| &mut syncing.done);
        let synced = OptionFuture::from(syncing).then(|done| async {
            match done {
                Some(result) => Wake::Synced(result),
                None => pending().await,
            }
        });
        let (news, sleep, synced) = (pin!(news.map(Wake::News)), pin!(sleep.map(|()| Wake::Time)), pin!(synced));
        // Orders first: whoever flushes waits for it.
        let rest = select(synced, select(news, sleep));
        match select(order, rest).await {
            Either::Left((wake, _)) | Either::Right((Either::Left((wake, _)), _)) => wake,
            Either::Right((Either::Right((Either::Left((wake, _)) | Either::Right((wake, _)), _)), _)) => wake,
        }
    }

    fn wake_at(&self) -> Duration {
        let log = self.log.as_ref();
        let times = [log.and_then(|log| log.machine.wake_at()), log.and_then(Log::note_at)];
        let wanted = self.wanted.filter(|_| self.rewrite.is_none());
        times.into_iter().flatten().chain(wanted).chain([self.looked + LOOK]).min().unwrap_or_default()
    }
}
