//! Keys with a deadline that clients wrote on a writable replica. Their primary knows nothing of them and will never send
//! their DEL, so this node expires them itself (Redis: `slaveKeysWithExpire`). Owns that set; deletes nothing.
//!
//! A key that COPY or MOVE puts into another database is not followed: reads hide it, but it stays until it is overwritten.

use std::collections::BTreeSet;

use keystead_keyspace::{DbIndex, Keyspace};

use crate::args::Args;
use crate::keys;
use crate::registry::Command;

/// Most keys looked at per cycle; the others' turn comes with the next.
const LOOKS_PER_CYCLE: usize = 1_000;

/// The set, in an order that lets a cycle go on where the last one stopped.
#[derive(Default)]
pub(crate) struct OwnDeadlines {
    keys: BTreeSet<(DbIndex, Vec<u8>)>,
    hand: (DbIndex, Vec<u8>),
}

impl OwnDeadlines {
    /// A client's command wrote to these keys.
    pub(crate) fn note(&mut self, ks: &Keyspace, db: DbIndex, command: &Command, args: Args<'_>) {
        for at in keys::positions(&command.keys, args) {
            if matches!(ks.deadline(db, &args[at]), Some(Some(_))) {
                self.keys.insert((db, args[at].to_vec()));
            }
        }
    }

    /// The next keys that may be due, expired ones among them if the keyspace shows those. What has no deadline any more is
    /// forgotten.
    pub(crate) fn round(&mut self, ks: &Keyspace) -> Vec<(DbIndex, Vec<u8>)> {
        let mut round: Vec<_> = self.keys.range(self.hand.clone()..).take(LOOKS_PER_CYCLE).cloned().collect();
        self.hand = if round.len() < LOOKS_PER_CYCLE { Default::default() } else { round.pop().unwrap_or_default() };
        round.retain(|(db, key)| {
            let kept = matches!(ks.deadline(*db, key), Some(Some(_)));
            if !kept {
                self.keys.remove(&(*db, key.clone()));
            }
            kept
        });
        round
    }

    /// There is no primary any more: the usual cycle finds them all.
    pub(crate) fn clear(&mut self) {
        *self = OwnDeadlines::default();
    }

    /// True if no key is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
