//! Whether the sentinels of a group hold their elections by one strategy. Votes and majorities are the monitor's with any, so
//! that there are never two leaders; but what a strategy promises (`lease`: no failover before the lease has ended) it keeps
//! only if all go by it. Owns how a sentinel says by what it goes (INFO, asked once a link and behind each SPREAD, which is sent
//! when that changes), and what is said of another one that goes by something else. Refuses nobody: a group is changed one
//! sentinel at a time.

use crate::actions::Shared;
use crate::election::BUILT_IN;
use crate::events::Level;
use crate::instance::Instance;
use crate::machine::Sentinel;
use crate::monitor::Monitor;
use crate::types::{InstanceId, Kind, Mono};

/// The field of INFO.
pub const FIELD: &str = "keystead_elections";

/// `name=strategy` for each primary that has another one than the built-in one.
#[must_use]
pub fn elections(sentinel: &Sentinel) -> String {
    let others = sentinel.monitors().values().filter(|monitor| monitor.settings.election != BUILT_IN);
    others.map(|monitor| format!("{}={}", monitor.name, monitor.settings.election)).collect::<Vec<_>>().join(",")
}

impl Monitor {
    /// A peer's INFO. One that has no such field is older than it, and not judged.
    pub(crate) fn note_election(&mut self, id: InstanceId, elections: Option<&str>, s: &mut Shared) {
        let own = |pair: &str| pair.split_once('=').filter(|(name, _)| *name == self.name).map(|(_, by)| by.to_owned());
        let said = elections.map(|all| all.split(',').find_map(own).unwrap_or_else(|| BUILT_IN.to_owned()));
        let before = std::mem::replace(&mut self.instance_mut(id).election, said);
        let peer = &self.instances[&id];
        let Some(line) = self.discord(peer) else { return };
        // It is about to be told: then it is asked again.
        let waits = peer.told.has < self.spread.version;
        if !waits && before != peer.election {
            s.log(Level::Warning, format!("{}: {line}", self.name));
        }
        // Whoever mends it there need not come here too.
        let again = s.now.plus(self.settings.tempo.info_period);
        self.instance_mut(id).next_info = again;
    }

    /// The strategy here, or what the group has of it, has changed.
    pub(crate) fn ask_elections(&mut self, now: Mono) {
        for peer in self.of_mut(Kind::Sentinel).filter(|peer| peer.keystead) {
            (peer.next_info, peer.election) = (now, None);
        }
    }

    /// A peer has something to tell, and may be the one that goes by another strategy now.
    pub(crate) fn look_at_elections(&mut self, now: Mono) {
        for peer in self.of_mut(Kind::Sentinel).filter(|peer| peer.keystead) {
            peer.next_info = peer.next_info.min(now);
        }
    }

    fn discord(&self, peer: &Instance) -> Option<String> {
        let (theirs, ours) = (peer.election.as_ref()?, &self.settings.election);
        (theirs != ours).then(|| {
            format!(
                "sentinel {} holds its elections by '{theirs}', this one by '{ours}': what a strategy promises holds only where \
                 all go by it (SENTINEL SET {} election-strategy ... GROUP)",
                peer.run_id, self.name
            )
        })
    }

    /// For EXPLAIN.
    pub(crate) fn discord_lines(&self) -> Vec<String> {
        self.of(Kind::Sentinel).filter_map(|peer| self.discord(peer)).collect()
    }
}
