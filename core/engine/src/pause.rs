//! Pauses: CLIENT PAUSE's, and those of plugins and of the server itself beside it. Owns who asked for one, of what and
//! until when; what waits for the end is run by `tick`, and whether a command waits is decided by `guards`.

use crate::core::Core;
use crate::{engine::Engine, tick};

/// What is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// Nothing is paused.
    #[default]
    Off,
    /// Commands that may change something wait.
    Write,
    /// Everything waits.
    All,
}

/// Who paused, beside CLIENT PAUSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pauser<'a> {
    /// The server itself, for a reason of this name: its end, a MIGRATE.
    Server(&'a str),
    /// A plugin, which hands its role over: what would be refused meanwhile waits too, until clients are told where to go.
    Plugin(&'a str),
}

/// A pause that somebody else than a client asked for.
#[derive(Debug)]
pub(crate) struct ForeignPause {
    name: String,
    kind: Pause,
    /// In ms of the clock that never jumps.
    until_ms: u64,
    by_plugin: bool,
}

impl Core {
    /// Replaces one's pause, which lasts until a time of day; `Pause::Off` ends it. Those who wait are looked at again behind
    /// the command or the turn: what they wait for may be another thing now.
    pub fn pause_for(&mut self, pauser: Pauser<'_>, kind: Pause, until_unix_ms: u64) {
        let (Pauser::Server(name) | Pauser::Plugin(name)) = pauser;
        self.foreign_pauses.retain(|pause| pause.name != name);
        if kind != Pause::Off {
            let by_plugin = matches!(pauser, Pauser::Plugin(_));
            let until_ms = self.mono_ms().saturating_add(until_unix_ms.saturating_sub(self.now_ms()));
            self.foreign_pauses.push(ForeignPause { name: name.to_owned(), kind, until_ms, by_plugin });
        }
        self.pause_changed = true;
        self.refresh_watchful();
    }

    /// A plugin is gone, and its pause with it.
    pub(crate) fn forget_pause(&mut self, name: &str) {
        self.foreign_pauses.retain(|pause| pause.name != name);
    }

    /// Forgets pauses whose time is over.
    pub(crate) fn drop_old_pauses(&mut self) {
        let now_ms = self.mono_ms();
        if self.pause_until_ms <= now_ms {
            self.pause = Pause::Off;
        }
        self.foreign_pauses.retain(|pause| pause.until_ms > now_ms);
    }

    /// True if somebody paused, be it over or not.
    pub(crate) fn has_pauses(&self) -> bool {
        self.pause != Pause::Off || !self.foreign_pauses.is_empty()
    }

    /// CLIENT PAUSE, as far as it holds.
    fn own_pause(&self) -> Pause {
        if self.pause_until_ms > self.mono_ms() { self.pause } else { Pause::Off }
    }

    fn holding(&self) -> impl Iterator<Item = &ForeignPause> {
        let now_ms = self.mono_ms();
        self.foreign_pauses.iter().filter(move |pause| pause.until_ms > now_ms)
    }

    /// True while a pause holds that isn't of this name.
    pub(crate) fn paused_beside(&self, name: &str) -> bool {
        self.own_pause() != Pause::Off || self.holding().any(|pause| pause.name != name)
    }

    /// The strictest pause that holds now.
    pub fn pause_kind(&self) -> Pause {
        self.holding().map(|pause| pause.kind).fold(self.own_pause(), |all, kind| {
            if all == Pause::All || kind == Pause::All { Pause::All } else { Pause::Write }
        })
    }

    /// True while nothing may move the journal: no write, no expiry, no control record.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.has_pauses() && self.pause_kind() != Pause::Off
    }

    /// True while the server or a plugin paused: a failover, say, waits until replicas have reached the offset.
    pub(crate) fn stands_still(&self) -> bool {
        self.holding().next().is_some()
    }

    /// True while a plugin hands its role over.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.holding().any(|pause| pause.by_plugin)
    }

    /// True if nobody but plugins paused.
    pub(crate) fn is_paused_by_plugins_alone(&self) -> bool {
        self.own_pause() == Pause::Off && self.holding().all(|pause| pause.by_plugin)
    }
}

impl Engine {
    /// As [`Core::pause_for`], outside of commands.
    pub fn pause(&mut self, pauser: Pauser<'_>, kind: Pause, until_unix_ms: u64) {
        self.core.pause_for(pauser, kind, until_unix_ms);
        self.settle_pause();
    }

    /// Runs what waited for a pause that was ended or replaced; who must wait still, waits again in the same order.
    pub(crate) fn settle_pause(&mut self) {
        if std::mem::take(&mut self.core.pause_changed) {
            tick::end_pause(self);
        }
    }
}
