//! Keys with a deadline that clients wrote on a writable replica. Their primary knows nothing of them and will never send
//! their DEL, so this node expires them itself (Redis: `slaveKeysWithExpire`). Owns that set; deletes nothing.

use std::collections::BTreeSet;

use keystead_keyspace::{DbIndex, ExpiryMode, Keyspace};

use crate::args::{Args, ArgsExt};
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
    /// A client's command wrote to these keys. A deadline that has passed already hides its key from everybody else.
    pub(crate) fn note(&mut self, ks: &mut Keyspace, db: DbIndex, command: &Command, args: Args<'_>) {
        ks.set_expiry_mode(ExpiryMode::Ignore);
        let written = keys::positions(&command.keys, args).into_iter().map(|at| (db, &args[at]));
        for (db, key) in written.chain(elsewhere(command, args)) {
            if matches!(ks.deadline(db, key), Some(Some(_))) {
                self.keys.insert((db, key.to_vec()));
            }
        }
        ks.set_expiry_mode(ExpiryMode::Hide);
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

    /// A database's keys are gone: what comes there now is the primary's, whatever its name.
    pub(crate) fn forget(&mut self, db: DbIndex) {
        self.keys.retain(|(of, _)| *of != db);
    }

    /// Two databases changed places.
    pub(crate) fn swap(&mut self, a: DbIndex, b: DbIndex) {
        let moved = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        self.keys = std::mem::take(&mut self.keys).into_iter().map(|(db, key)| (moved(db), key)).collect();
    }

    /// The keys are gone, or there is no primary any more: then the usual cycle finds them all.
    pub(crate) fn clear(&mut self) {
        *self = OwnDeadlines::default();
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// True if no key is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The key that a command wrote in a database that isn't its session's.
fn elsewhere<'a>(command: &Command, args: Args<'a>) -> Option<(DbIndex, &'a [u8])> {
    let (key, db) = match &*command.full_name {
        "move" => (1, 2),
        "copy" => (2, (3..args.len()).find(|at| args.is(*at, "db"))? + 1),
        _ => return None,
    };
    Some((usize::try_from(args.int(db).ok()?).ok()?, args.get(key)?))
}
