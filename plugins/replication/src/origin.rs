//! Whether all of our data began in a process that had nothing, and under which names its history went since.
//!
//! A replica that has data of a history which isn't among these knows that it is lost here: this node came back with
//! nothing, or the one that it follows did. Owns the names only; what a replica makes of them is `link/guard`'s, and
//! `kept` has them behind a restart.

use crate::units::ReplId;
use parking_lot::Mutex;

/// A history gets a new name with each backlog that is made or freed. Beyond this many nothing is claimed any more.
const MOST_NAMES: usize = 64;

/// The names; none where the data may be older than all of them.
#[derive(Debug, Default)]
pub(crate) struct Origin(Mutex<Option<Vec<ReplId>>>);

impl Origin {
    /// It began with nothing, and went by these names so far.
    pub(crate) fn began_as(&self, names: Vec<ReplId>) {
        *self.0.lock() = Some(names);
    }

    /// Data comes from elsewhere.
    pub(crate) fn elsewhere(&self) {
        *self.0.lock() = None;
    }

    /// The history has a new name. Says whether that matters here.
    pub(crate) fn renamed(&self, name: ReplId) -> bool {
        let mut names = self.0.lock();
        let mattered = names.is_some();
        *names = names.take().filter(|names| names.len() < MOST_NAMES).map(|mut names| {
            names.push(name);
            names
        });
        mattered
    }

    /// All names of data that began here.
    pub(crate) fn names(&self) -> Option<Vec<ReplId>> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_names_are_none() {
        let id = ReplId::from_random([1; 20]);
        let origin = Origin::default();
        assert!(!origin.renamed(id));
        assert_eq!(origin.names(), None, "it may be older than the process");
        origin.began_as(vec![id]);
        (1..MOST_NAMES).for_each(|_| assert!(origin.renamed(id)));
        assert_eq!(origin.names().map(|names| names.len()), Some(MOST_NAMES));
        assert!(origin.renamed(id), "that nothing is claimed any more is news too");
        assert_eq!(origin.names(), None);
        origin.began_as(vec![id]);
        origin.elsewhere();
        assert_eq!(origin.names(), None);
    }
}
