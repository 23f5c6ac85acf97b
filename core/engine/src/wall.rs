//! The time of day as clients are shown it, in microseconds: TIME, MONITOR, INFO. What expires, and what waits, goes by the
//! turn's clock (`Now`) and never by this one, which only those read who ask.

use crate::core::Core;

/// The wall clock, and what the running command was told of it.
#[derive(Default)]
pub(crate) struct WallClock {
    read: Option<fn() -> u64>,
    told_us: Option<u64>,
}

impl WallClock {
    /// Of a function that gives microseconds since the epoch; without one the turn's clock must do.
    pub(crate) fn new(read: Option<fn() -> u64>) -> WallClock {
        WallClock { read, told_us: None }
    }

    /// Another command begins, or a long one lets others get a word in: who asks next is told the time anew.
    #[inline]
    pub(crate) fn go_on(&mut self) {
        self.told_us = None;
    }
}

impl Core {
    /// Microseconds since the epoch, at this moment.
    pub(crate) fn wall_us(&self) -> u64 {
        self.wall.read.map_or(self.now.unix_ms * 1000, |read| read())
    }

    /// The same for TIME: it stands still while a command runs, with all that a script or EXEC calls.
    pub(crate) fn time_us(&mut self) -> u64 {
        let now_us = self.wall.told_us.unwrap_or_else(|| self.wall_us());
        *self.wall.told_us.insert(now_us)
    }
}
