//! What a plugin that keeps the data was to save, by its own parameters: an end that would lose this is refused once the
//! plugin has failed. Asked while it is healthy, since one that failed answers nothing. Owns the answer, not the refusal.

use super::hooks::Parameter;
use keystead_abi as abi;
use keystead_engine::foreign::ForeignConfig;
use parking_lot::Mutex;
use std::sync::Arc;

/// Redis' parameters that say whether anything is saved, each with its value for "nothing".
const SAVING: [(&str, &str); 2] = [("save", ""), ("appendonly", "no")];

/// The one of them that holds for a save that somebody asks for, too (SHUTDOWN SAVE).
const SAVES_WHEN_ASKED: &str = "save";

/// When something would be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Saves {
    /// At every end.
    always: bool,
    /// At an end with SAVE.
    asked: bool,
}

impl Saves {
    /// A plugin without such parameters saves as it likes: all of it counts.
    const ALL: Saves = Saves { always: true, asked: true };

    /// What parameters mean, given by their names and values.
    fn of(values: &[(String, String)]) -> Saves {
        if values.is_empty() {
            return Saves::ALL;
        }
        let on = |(name, value): &(String, String)| SAVING.iter().any(|(own, off)| own == name && off != value);
        Saves { always: values.iter().any(on), asked: values.iter().any(|(name, _)| name == SAVES_WHEN_ASKED) }
    }

    fn at_end(self, flags: u32) -> bool {
        flags & abi::ENDING_NOSAVE == 0 && (self.always || self.asked && flags & abi::ENDING_SAVE != 0)
    }
}

/// A plugin's.
#[derive(Default)]
pub(super) struct Keeping {
    params: Mutex<Vec<(String, Arc<Parameter>)>>,
    /// While it was healthy; None before it has started.
    saves: Mutex<Option<Saves>>,
    /// It failed, and was to save so much.
    lost: Mutex<Saves>,
}

impl Keeping {
    /// Whether a parameter says if something is saved.
    pub(super) fn is_about(name: &str) -> bool {
        SAVING.iter().any(|(own, _)| *own == name)
    }

    /// The plugin has such a parameter.
    pub(super) fn add(&self, name: &str, param: Arc<Parameter>) {
        self.params.lock().push((name.to_owned(), param));
    }

    /// It has started, or one of them was set. Never with a lock that the plugin may wait for.
    pub(super) fn look(&self) {
        *self.saves.lock() = Some(self.now());
    }

    /// By its parameters as they are: something would be saved at an end, or when somebody asks for it.
    pub(super) fn may_save(&self) -> bool {
        let Saves { always, asked } = self.now();
        always || asked
    }

    fn now(&self) -> Saves {
        let params = self.params.lock().clone();
        let values: Vec<_> = params.into_iter().map(|(name, param)| (name, param.get())).collect();
        Saves::of(&values)
    }

    /// It failed.
    pub(super) fn failed(&self) {
        *self.lost.lock() = self.saves.lock().unwrap_or(Saves::ALL);
    }

    /// Whether such an end would lose what it was to save. False while it is healthy.
    pub(super) fn would_lose(&self, flags: u32) -> bool {
        self.lost.lock().at_end(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(values: &[(&str, &str)]) -> [bool; 3] {
        let values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        [0, abi::ENDING_SAVE, abi::ENDING_NOSAVE].map(|flags| Saves::of(&values).at_end(flags))
    }

    /// Plain, SAVE, NOSAVE.
    #[test]
    fn only_an_end_that_would_lose_something_is_refused() {
        assert_eq!(refused(&[]), [true, true, false], "it doesn't say");
        assert_eq!(refused(&[("save", "3600 1")]), [true, true, false]);
        assert_eq!(refused(&[("save", "")]), [false, true, false], "who asks for a save wants one");
        assert_eq!(refused(&[("appendonly", "yes")]), [true, true, false]);
        assert_eq!(refused(&[("appendonly", "no")]), [false, false, false]);
        assert_eq!(refused(&[("appendonly", "no"), ("save", "60 1")]), [true, true, false]);
    }

    #[test]
    fn nobody_loses_anything_who_is_healthy() {
        let keeping = Keeping::default();
        assert!(!keeping.would_lose(0));
        keeping.failed();
        assert!(keeping.would_lose(0) && !keeping.would_lose(abi::ENDING_NOSAVE), "it failed before it has started");
    }
}
