//! Whether replies wait for what is confirmed, beside a sync that takes its time. Pure: owns one answer, and tells a sync from
//! earlier ones.

/// What replies wait for.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// For nothing, until the sync that runs has ended.
    let_go: bool,
    /// Its number, and whether it runs.
    sync: (u64, bool),
}

impl Holding {
    /// A sync begins, beside which the file is written; its number.
    pub(crate) fn sync_begins(&mut self) -> u64 {
        self.sync = (self.sync.0 + 1, true);
        self.sync.0
    }

    /// It has taken too long. True if it still runs: replies wait for nothing.
    pub(crate) fn patience_ends(&mut self, sync: u64) -> bool {
        let runs = self.sync == (sync, true);
        self.let_go |= runs;
        runs
    }

    /// It has ended: what is confirmed next counts again.
    pub(crate) fn sync_ended(&mut self) {
        self.sync.1 = false;
        self.let_go = false;
    }

    /// What is confirmed counts again, though a sync may run.
    pub(crate) fn begins_anew(&mut self) {
        self.let_go = false;
    }

    /// True if what is confirmed counts.
    pub(crate) fn holds(&self) -> bool {
        !self.let_go
    }
}

#[cfg(test)]
mod tests {
    use super::Holding;

    #[test]
    fn only_the_sync_that_runs_lets_go() {
        let mut holding = Holding::default();
        let first = holding.sync_begins();
        holding.sync_ended();
        assert!(!holding.patience_ends(first) && holding.holds(), "another may run by now");
        let second = holding.sync_begins();
        assert!(!holding.patience_ends(first) && holding.holds());
        assert!(holding.patience_ends(second) && !holding.holds());
        holding.sync_ended();
        assert!(holding.holds());
    }

    #[test]
    fn what_begins_anew_counts_though_a_sync_runs() {
        let mut holding = Holding::default();
        let sync = holding.sync_begins();
        assert!(holding.patience_ends(sync));
        holding.begins_anew();
        assert!(holding.holds());
    }
}
