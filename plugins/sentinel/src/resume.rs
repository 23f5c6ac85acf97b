//! This process stood still behind the OK for a failover that an operator asked for. He waits for it, and nobody else works on
//! it: it goes on, by what everybody says from now on. Owns the question when that is enough to go on by, and what is given up
//! all the same; the steps are failover.rs' and handover.rs'.

use crate::actions::Shared;
use crate::ballot::Candidacy;
use crate::events::Level;
use crate::failover::Failover;
use crate::monitor::Monitor;
use crate::types::{Epoch, Mono};

impl Monitor {
    /// What this sentinel knew is as old as its standstill was long.
    pub(crate) fn stood_still(&mut self, late_ms: u64, s: &mut Shared) {
        let why = format!("this process stood still for {late_ms} ms");
        self.observe_anew(s, &why);
        // Whoever has heard OK; another one is told that it is given up.
        if !self.failover.asked_for().is_some_and(|epoch| s.disk.has(epoch)) {
            return self.give_up_uncertain(s, &why);
        }
        if let Failover::Select { ticket, .. } = &mut self.failover {
            *ticket = None; // the answer would be about what was
        }
        (self.ballot.candidacy, self.ballot.hold) = (Candidacy::None, None);
        s.log(
            Level::Notice,
            format!("{}: the failover that was asked for goes on with what is heard from now on", self.name),
        );
    }

    /// True as long as too little was heard since for the next step. A primary that was asked to hand over goes on by itself:
    /// what comes of that both sides say, and nothing else is to be known.
    pub(crate) fn waits_for_word(&mut self, s: &mut Shared) -> bool {
        let Some((epoch, since)) = self.interrupted() else { return false };
        if s.now.since(since) >= self.settings.failover_timeout_ms {
            return false; // it ends as any other
        }
        if !self.fresh(s.now) {
            return true;
        }
        if s.epoch > epoch {
            s.log(Level::Notice, format!("{}: failover given up: there is a newer epoch", self.name));
            self.abort("-failover-abort-not-elected", s);
            return true;
        }
        // A replica that was promoted already is found so.
        self.begin_selection(epoch, true, s);
        true
    }

    /// It was asked for, and this process stood still since it began.
    fn interrupted(&self) -> Option<(Epoch, Mono)> {
        let (epoch, since) = match self.failover {
            Failover::Select { epoch, since, forced: true, .. } => (epoch, since),
            Failover::Promote { sent: Some(_), .. } if self.coordinated => return None,
            Failover::Promote { epoch, since, forced: true, .. } => (epoch, since),
            _ => return None,
        };
        (since < self.knowledge_since).then_some((epoch, since))
    }
}
