//! The names by which the data in memory went, as far as what is on the disk may still have them.
//!
//! A history has another name behind each start of a primary and each promotion; a file says the one it had when it was
//! saved. By these names `kept` knows behind a restart whether what the disk had was the primary's. Owns the names only.

use crate::units::ReplId;

/// A history gets a name with each failover: older ones than these, of failovers between two saves, aren't remembered.
pub(crate) const MOST_NAMES: usize = 16;

/// The names, the present one at the end.
#[derive(Debug, Default)]
pub(crate) struct Lineage(Vec<ReplId>);

impl Lineage {
    /// The same data goes on under this name.
    pub(crate) fn renamed(&mut self, name: ReplId) {
        push(&mut self.0, name);
    }

    /// A full sync brought data of this name in place of ours. If it is of one of our histories, or goes on from one, what
    /// the disk has of that is its past too. What we had behind that isn't.
    pub(crate) fn replaced(&mut self, name: ReplId, goes_on_from: Option<ReplId>) {
        let common = self.0.iter().rposition(|known| *known == name || Some(*known) == goes_on_from);
        self.0.truncate(common.map_or(0, |at| at + 1));
        self.renamed(name);
    }

    /// All of them.
    pub(crate) fn names(&self) -> &[ReplId] {
        &self.0
    }
}

/// To the end of a list of names, where each stands once and the oldest go.
pub(crate) fn push<T: PartialEq>(names: &mut Vec<T>, name: T) {
    if names.last() == Some(&name) {
        return;
    }
    names.retain(|known| *known != name);
    names.push(name);
    names.drain(..names.len().saturating_sub(MOST_NAMES));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).expect("forty letters")
    }

    /// The names as letters, behind full syncs (`b` that goes on from `a`: "ba") and other changes of the name ("b").
    fn lineage(changes: &[&str]) -> String {
        let mut lineage = Lineage::default();
        for change in changes {
            match change.as_bytes() {
                [name] => lineage.renamed(id(*name)),
                [name, from] => lineage.replaced(id(*name), (*from != b'-').then(|| id(*from))),
                _ => unreachable!("one or two letters"),
            }
        }
        lineage.names().iter().map(|name| &name.as_str()[..1]).collect()
    }

    #[test]
    fn names_of_the_past_stay_while_they_are_the_datas() {
        for (changes, names) in [
            (&["a", "b", "c"] as &[&str], "abc"),
            (&["a", "b", "a"], "ba"),
            (&["a", "b-"], "b"),
            (&["a", "b", "c-"], "c"),
            // A primary that was started again from its files, `b`, is to follow who took over from `a`.
            (&["a", "b", "ca"], "ac"),
            (&["a", "b", "bx"], "ab"),
            (&["a", "b", "ax"], "a"),
        ] {
            assert_eq!(lineage(changes), names, "{changes:?}");
        }
    }

    #[test]
    fn the_oldest_names_go() {
        let mut names = Vec::new();
        (0..=MOST_NAMES).for_each(|name| push(&mut names, name));
        assert_eq!((names.len(), names[0]), (MOST_NAMES, 1));
    }
}
