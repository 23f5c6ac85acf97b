//! Why plugins refuse writes. Each has a reason of its own, which no other takes back; that a plugin failed which wants no
//! writes without it holds for good. Pure.

use std::collections::BTreeMap;

/// All reasons.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By the plugin's number.
    of: BTreeMap<u32, String>,
    for_good: Option<String>,
}

impl Refusals {
    /// A plugin's reason; an empty one takes it back.
    pub(super) fn set(&mut self, plugin: u32, why: &str) {
        match why {
            "" => drop(self.of.remove(&plugin)),
            why => drop(self.of.insert(plugin, why.to_owned())),
        }
    }

    /// One that nobody takes back. The first stays.
    pub(super) fn for_good(&mut self, why: String) {
        self.for_good.get_or_insert(why);
    }

    /// What clients are told; empty: writes aren't refused.
    pub(super) fn told(&self) -> &str {
        self.for_good.as_ref().or_else(|| self.of.values().next()).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Refusals;

    #[test]
    fn nobody_takes_back_what_another_said() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.told(), "");
        refusals.set(2, "the disk is full");
        refusals.set(1, "");
        assert_eq!(refusals.told(), "the disk is full");
        refusals.set(1, "the quota is used up");
        refusals.set(2, "");
        assert_eq!(refusals.told(), "the quota is used up");
        refusals.for_good("one failed".to_owned());
        refusals.for_good("another failed".to_owned());
        refusals.set(1, "");
        assert_eq!(refusals.told(), "one failed");
    }
}
