//! How fast clients may write while a reader of the journal is far behind, and what the log says of that. The journal
//! decides who pins too much, the server's driver keeps the pace: this is what both agree on.

use crate::core::Core;
use crate::gates::Gate;
use crate::journal::{CursorClass, Pin, Verdict};

/// Bytes a turn that make nobody a writer: a hello, or what was found expired.
const UNCOUNTED: u64 = 16 << 10;

/// For whom writers are paced, if they are, and who counts as one.
#[derive(Default)]
pub(crate) struct Pacing {
    slowest: Option<Pin>,
    /// A command that writes did so since `before_client`; inside of a script or a transaction too.
    pub(crate) wrote: bool,
}

impl Core {
    /// Bytes of the journal that all clients together may write a second; None: as many as they can.
    #[inline]
    pub fn pace(&self) -> Option<u64> {
        self.pacing.slowest.as_ref().map(Pin::pace)
    }

    /// Where the journal stands before a client's commands.
    #[inline]
    pub fn before_client(&mut self) -> u64 {
        self.pacing.wrote = false;
        self.journal.position()
    }

    /// Bytes of the journal since then that count for the client: all if it wrote. A little that it published, or deleted
    /// because it found it expired, makes nobody a writer: a sentinel says hello and must have its pings answered.
    #[inline]
    pub fn written_since(&self, before: u64) -> u64 {
        let free = if self.pacing.wrote { 0 } else { UNCOUNTED };
        (self.journal.position() - before).saturating_sub(free)
    }

    /// Looks at the readers of the journal: those beyond their limits are dropped, for others writers are paced.
    pub(crate) fn judge_readers(&mut self) {
        let Verdict { slowest, dropped } = self.journal.enforce_limits(self.mono_ms(), self.gates.is(Gate::Replica));
        for pin in dropped {
            let (name, lag) = (&pin.name, mb(pin.lag));
            if pin.class == CursorClass::Persistence {
                log::warn!(
                    "{name} is given up for now: it has {lag} yet to take, and a replica can't slow its primary down"
                );
                continue;
            }
            let limit = "client-output-buffer-limit replica";
            log::warn!("{name} is dropped for overcoming of output buffer limits ({limit}): it has {lag} yet to take");
            self.stats.output_limit_disconnections += 1;
        }
        match (&self.pacing.slowest, &slowest) {
            (None, Some(pin)) => log::warn!("Clients that write are paced: {}", reason(pin)),
            (Some(pin), None) => log::info!("Clients that write are paced no longer for {}", pin.name),
            _ => {}
        }
        self.pacing.slowest = slowest;
    }
}

fn reason(pin: &Pin) -> String {
    let (name, lag, share) = (&pin.name, mb(pin.lag), mb(pin.share));
    match pin.class {
        CursorClass::Persistence => format!("{name} has {lag} yet to take"),
        _ => {
            let most = mb(pin.share.saturating_mul(2));
            format!(
                "{name}, in its full sync, has {lag} yet to take (client-output-buffer-limit replica: {share}; at {most} it is dropped)"
            )
        }
    }
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};
    use crate::session::ConnInfo;
    use keystead_resp::OwnedArgs;

    #[test]
    fn messages_count_as_soon_as_they_are_many_or_large() {
        let mut engine = Engine::new(EngineOptions::default());
        let _file = engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
        let _replica = engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now");
        let id = engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, Default::default()).expect("room");
        let mut count = |words: &[&str]| {
            let args: OwnedArgs = words.iter().collect();
            let before = engine.core.before_client();
            engine.execute(id, args.view());
            engine.core.written_since(before)
        };
        assert_eq!(count(&["PING"]), 0);
        assert_eq!(count(&["PUBLISH", "__sentinel__:hello", &"x".repeat(200)]), 0);
        let large = "x".repeat(1 << 20);
        assert!(count(&["PUBLISH", "ch", &large]) > 1_000_000);
        assert_eq!(count(&["GET", "k"]), 0);
        assert!(count(&["SET", "k", "v"]) > 0, "whoever writes pays for every byte");
    }
}
