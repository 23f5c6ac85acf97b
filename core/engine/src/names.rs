//! A session's names of one kind (channels, patterns, prefixes), and how many bytes they take: whoever limits what clients
//! hold asks often, and there may be very many.

use std::collections::{BTreeSet, btree_set};

/// Names, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    all: BTreeSet<Box<[u8]>>,
    bytes: usize,
}

impl Names {
    /// Adds a name; false if it was there.
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let new = self.all.insert(name.into());
        self.bytes += if new { name.len() } else { 0 };
        new
    }

    /// Removes a name; false if it wasn't there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let gone = self.all.remove(name);
        self.bytes -= if gone { name.len() } else { 0 };
        gone
    }

    /// All of them.
    pub fn iter(&self) -> btree_set::Iter<'_, Box<[u8]>> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_names_that_are_there() {
        let mut names = Names::default();
        let steps: [(bool, &[u8]); 6] =
            [(true, b"news"), (true, b""), (true, b"news"), (true, b"sport"), (false, b"news"), (false, b"weather")];
        for (adds, name) in steps {
            let before = names.len();
            let changed = if adds { names.insert(name) } else { names.remove(name) };
            assert_eq!(changed, names.len() != before);
            assert_eq!(names.bytes(), names.iter().map(|name| name.len()).sum::<usize>());
        }
        assert_eq!((names.len(), names.bytes(), names.is_empty()), (2, 5, false));
    }
}
