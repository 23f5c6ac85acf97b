//! A failover that an operator asked for and that isn't on this sentinel's disk yet: who may be told of it, and how it ends if
//! the disk is too slow. Owns the rule that of two nodes that take writes no client is sent to the one which the other
//! sentinels don't know of; the steps of a failover are failover.rs'.

use crate::actions::{Action, Shared};
use crate::events::Level;
use crate::failover::Failover;
use crate::info::Role;
use crate::monitor::Monitor;
use crate::types::{Addr, Epoch, InstanceId};
use crate::wire::Reply;

/// A replica was promoted while the primary goes on taking writes, because an operator asked for it, and that isn't on the
/// disk yet. So the others can't be told, and whoever sees two primaries takes the promotion back: a client that this
/// sentinel sent to the promoted one would lose what it writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkept {
    /// The writes of the state that had begun before.
    pub begun: u64,
    /// The epoch of the configuration before.
    pub before: Epoch,
}

impl Monitor {
    /// A replica was promoted, and the primary neither handed its role over nor is it down.
    pub(crate) fn has_two_primaries(&self) -> bool {
        let primary = self.primary();
        !self.coordinated && primary.down_since.is_none() && primary.role == Role::Primary
    }

    /// The address that clients are told.
    #[must_use]
    pub fn told_addr(&self) -> &Addr {
        match self.failover {
            Failover::Reconfigure { unkept: Some(_), .. } => &self.primary().addr,
            _ => self.current_addr(),
        }
    }

    /// True as long as the promotion may be told to nobody.
    pub(crate) fn waits_for_the_disk(&mut self, s: &mut Shared) -> bool {
        let Failover::Reconfigure { epoch, replica, since, unkept: Some(unkept) } = self.failover else { return false };
        if s.disk.wrote_behind(unkept.begun) {
            self.failover = Failover::Reconfigure { epoch, replica, since, unkept: None };
            return false;
        }
        let chosen = &self.instances[&replica];
        let why = match chosen.down_since {
            _ if chosen.role == Role::Replica && chosen.report_at > since => "the others took that back",
            Some(_) => "it is down",
            None if s.now.since(since) >= self.settings.failover_timeout_ms => "failover-timeout is over",
            None => return true,
        };
        self.on_promotion_taken_back(replica, (unkept.before, why), s);
        true
    }

    /// The others saw a second primary of which nobody had told them, or there won't be one. The first one has gone on all the
    /// time, and stays.
    fn on_promotion_taken_back(&mut self, replica: InstanceId, (before, why): (Epoch, &str), s: &mut Shared) {
        let who = self.describe(replica);
        let text = format!("was promoted, and {why} before that was on this sentinel's disk");
        s.log(Level::Warning, format!("{}: {who} {text}", self.name));
        self.config_epoch = before;
        s.durable();
        let (from, to) = (self.instances[&replica].addr.clone(), self.primary().addr.clone());
        self.call_reconfig_script("leader", &from, &to, s);
        self.abort("-failover-abort-slave-timeout", s);
    }

    /// The primary is reset meanwhile: of the promotion nobody is to hear.
    pub(crate) fn forget_unkept(&mut self) {
        if let Failover::Reconfigure { unkept: Some(unkept), .. } = self.failover {
            (self.config_epoch, self.failover) = (unkept.before, Failover::Idle);
        }
    }

    /// An operator's failover ends before it is on the disk: who asked for it waits for the answer still.
    pub(crate) fn tell_asker(&mut self, why: &str, s: &mut Shared) {
        let Some((ticket, epoch)) = self.asker.take() else { return };
        if s.disk.has(epoch) {
            return; // it has been told that the failover began
        }
        let fault = s.disk.fault(s.now).map_or_else(String::new, |fault| format!(" ({fault})"));
        let reply = Reply::Error(format!("ERR the failover is given up: {why}{fault}"));
        s.out.push(Action::Reply { ticket, reply, promises: false });
    }
}
