//! While the file can't be written: what clients and the log are told, whose replies go on waiting, and since when a disk that
//! says nothing counts as one that fails. Runs beside the writer, whose thread the disk may hold.

use crate::machine::Fsync;
use crate::plugin::Aof;
use keystead_plugin::prelude::*;
use keystead_plugin::{ClientFilter, Host};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the disk and the role are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often the log repeats that the file can't be written, as in Redis.
const SAY_AGAIN: Duration = Duration::from_secs(30);
/// Under `always`, replies wait so long for a disk that fails before their connections are closed: enough for a short outage
/// to be felt as a pause, and less than what clients wait for an answer (redis-py waits for ever). Redis exits at once.
const HELD_MOST: Duration = Duration::from_secs(10);

/// Under `everysec` and `no` a disk that doesn't answer counts so long as busy: no acknowledgement rests on it, the end of a
/// rewrite makes it so, and Redis' writes are late then and not refused. Behind that it counts as one that fails, under `always`
/// at once. As long as [`HELD_MOST`]: what is felt as a pause either way.
const BUSY_MOST: Duration = HELD_MOST;

/// What clients are told of a disk that doesn't answer and counts as one that fails.
const SAYS_NOTHING: &str = "the disk does not answer";

const ALWAYS: &str = "Until it can be, reads and writes are refused; those whose replies wait already are closed after 10 s. \
                      CONFIG SET appendfsync everysec answers these and lets reads run, appendonly no ends it all; either \
                      gives up what the disk lacks.";

/// What is known of an outage from outside of the writer.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// When the log last said that the file can't be written, while that is so.
    said: Option<Duration>,
    /// Writes are refused for nothing but a disk that says nothing.
    of_silence: bool,
}

impl Aof {
    /// The file can't be written.
    pub(crate) fn refuse_writes(&self, why: &str) {
        self.refuse_writes_telling(why, why, false);
    }

    /// As above; `told` is what clients are told. Sentinels log each text that is new to them.
    fn refuse_writes_telling(&self, told: &str, why: &str, silent: bool) {
        let now = self.host.now();
        // Held to the end: the writer may meet an error while a silence is told.
        let mut outage = self.outage.lock();
        // Before the status shows it: whoever sees that is refused.
        self.host.refuse_writes(&format!("Errors writing to the AOF file: {told}"));
        let accepted = self.shown.write_ok.swap(false, Ordering::AcqRel);
        outage.of_silence = silent && (accepted || outage.of_silence);
        let said = &mut outage.said;
        if said.is_none_or(|at| now.saturating_sub(at) >= SAY_AGAIN) {
            let always = self.config().fsync == Fsync::Always && said.is_none();
            log::warn!(
                "Error writing to the AOF file: {why}{}{}",
                if always { ". " } else { "" },
                if always { ALWAYS } else { "" }
            );
            *said = Some(now);
        }
    }

    /// The disk says nothing, for so long.
    fn tell_of_silence(&self, silent: Duration) {
        let config = self.config();
        // Where the file is switched off it is only the writer that doesn't know yet.
        if config.enabled && fails(config.fsync, silent) {
            let why = format!("the disk has not answered for {} s", silent.as_secs());
            self.refuse_writes_telling(SAYS_NOTHING, &why, true);
        } else {
            self.pardon_silence();
        }
        // As behind an error: what the file lacks is in memory.
        self.let_go_in_silence();
    }

    /// The settings are others now, by which a disk that says nothing is a busy one.
    fn pardon_silence(&self) {
        let mut outage = self.outage.lock();
        if outage.of_silence {
            log::warn!("The disk does not answer yet; writes are accepted again, by what CONFIG SET said");
            self.end(&mut outage, None);
        }
    }

    /// It can be, again. Replies wait for what is behind `confirmed`, as far as a restart would load it: also those that
    /// waited for nothing meanwhile.
    pub(crate) fn accept_writes(&self, confirmed: Option<u64>) {
        if self.end_outage(confirmed) {
            log::warn!("AOF write error looks solved. The server can write again.");
        }
    }

    /// Writes are refused for nothing here any more; true if they were.
    pub(crate) fn end_outage(&self, confirmed: Option<u64>) -> bool {
        self.end(&mut self.outage.lock(), confirmed)
    }

    fn end(&self, outage: &mut Told, confirmed: Option<u64>) -> bool {
        // From here on nobody lets replies go because of the outage, and whoever did it before is overruled.
        let refused = !self.shown.write_ok.swap(true, Ordering::AcqRel);
        if let Some(position) = confirmed {
            self.confirm(position);
        }
        *outage = Told::default();
        self.host.refuse_writes("");
        refused
    }

    /// Looks after the disk and those who wait for it.
    pub(crate) async fn watch_disk(self: Arc<Self>) {
        let mut tick = self.host.interval(LOOK);
        let mut outage = Outage::default();
        loop {
            tick.tick().await;
            self.disk.tell_silence(self.host.now(), |silent| self.tell_of_silence(silent));
            if self.shown.write_ok.load(Ordering::Acquire) {
                outage = Outage::default();
            } else if let Ok(replica) = follows(self.host).await {
                self.look_after(&mut outage, replica).await;
            }
        }
    }

    /// No acknowledgement rests on a replica's own disk: its replies wait for nothing. A primary's wait, for a while.
    async fn look_after(&self, outage: &mut Outage, replica: bool) {
        if replica {
            outage.freed = true;
            return self.free_in_outage();
        }
        if std::mem::take(&mut outage.freed) && self.config().fsync == Fsync::Always {
            self.hold_in_outage();
        }
        let now = self.host.now();
        if now.saturating_sub(*outage.since.get_or_insert(now)) >= HELD_MOST {
            outage.since = Some(now);
            if let Ok(closed @ 1..) = self.host.kill_clients(ClientFilter::Held).await {
                log::warn!("{closed} clients whose replies waited for the disk are closed");
            }
        }
    }
}

/// Whether a disk that hasn't answered for so long counts as one that fails.
fn fails(fsync: Fsync, silent: Duration) -> bool {
    fsync == Fsync::Always || silent >= BUSY_MOST
}

/// What was done about one that lasts.
#[derive(Default)]
struct Outage {
    /// Since when replies have waited, or who waited was closed.
    since: Option<Duration>,
    /// This was a replica.
    freed: bool,
}

/// Whether this node follows a primary.
async fn follows(host: Host) -> Result<bool> {
    host.with_keyspace(move |_| host.setting("replicaof").is_some_and(|target| !target.is_empty())).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SILENT;

    #[test]
    fn a_busy_disk_fails_at_once_only_where_replies_rest_on_it() {
        let second = Duration::from_secs(1);
        for (fsync, silent, want) in [
            (Fsync::Always, SILENT, true),
            (Fsync::Everysec, SILENT, false),
            (Fsync::Everysec, BUSY_MOST - second, false),
            (Fsync::Everysec, BUSY_MOST, true),
            (Fsync::No, BUSY_MOST - second, false),
            (Fsync::No, BUSY_MOST + second, true),
        ] {
            assert_eq!(fails(fsync, silent), want, "{fsync:?} {silent:?}");
        }
    }
}
