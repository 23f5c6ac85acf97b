//! Whether all of our data began in this process, and under which names its history went since.
//!
//! A replica that has data of a history which isn't among these knows that it is lost here: this node came back with
//! nothing. Owns the names only; what a replica makes of them is `link/guard`'s.

use crate::units::ReplId;
use parking_lot::Mutex;

/// A history gets a new name with each backlog that is made or freed. Beyond this many nothing is claimed any more.
const MOST_NAMES: usize = 64;

/// The names; none where the data may be older than the process.
#[derive(Debug, Default)]
pub(crate) struct Origin(Mutex<Option<Vec<ReplId>>>);

impl Origin {
    /// Nothing was loaded, and nobody is followed.
    pub(crate) fn nothing(&self, name: ReplId) {
        *self.0.lock() = Some(vec![name]);
    }

    /// Data comes from elsewhere.
    pub(crate) fn elsewhere(&self) {
        *self.0.lock() = None;
    }

    /// The history has a new name.
    pub(crate) fn renamed(&self, name: ReplId) {
        let mut names = self.0.lock();
        if names.as_ref().is_some_and(|names| names.len() >= MOST_NAMES) {
            *names = None;
        }
        if let Some(names) = names.as_mut() {
            names.push(name);
        }
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
        origin.renamed(id);
        assert_eq!(origin.names(), None, "it may be older than the process");
        origin.nothing(id);
        (1..MOST_NAMES).for_each(|_| origin.renamed(id));
        assert_eq!(origin.names().map(|names| names.len()), Some(MOST_NAMES));
        origin.renamed(id);
        assert_eq!(origin.names(), None);
        origin.nothing(id);
        origin.elsewhere();
        assert_eq!(origin.names(), None);
    }
}
