//! How fast clients may write while a reader of the journal is far behind, and what the log says of that. The journal
//! decides who pins too much, the server's driver keeps the pace: this is what both agree on.

use crate::core::Core;
use crate::journal::{CursorClass, Pin, Verdict};

/// For whom writers are paced, if they are.
#[derive(Default)]
pub(crate) struct Pacing {
    slowest: Option<Pin>,
}

impl Core {
    /// Bytes of the journal that all clients together may write a second; None: as many as they can.
    #[inline]
    pub fn pace(&self) -> Option<u64> {
        self.pacing.slowest.as_ref().map(Pin::pace)
    }

    /// Looks at the readers of the journal: those beyond their limits are dropped, for others writers are paced.
    pub(crate) fn judge_readers(&mut self) {
        let Verdict { slowest, dropped } = self.journal.enforce_limits(self.now_ms());
        for pin in dropped {
            let (name, lag) = (&pin.name, mb(pin.lag));
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
