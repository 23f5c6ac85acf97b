//! How far a load is: what INFO prints meanwhile, under Redis' names, and when the log says it. Owns the numbers; takes no
//! clock of its own.

use keystead_plugin::{InfoOut, Progress};
use std::time::Duration;

/// A load that runs.
#[derive(Clone, Debug)]
pub(crate) struct Loading {
    began: Duration,
    began_unix_s: u64,
    /// Bytes of all files.
    total: u64,
    /// Of these, read.
    loaded: u64,
    progress: Progress,
}

impl Loading {
    /// Files of so many bytes, from now on.
    pub(crate) fn new(now: Duration, unix_s: u64, total: u64) -> Loading {
        let progress = Progress::new(now, "Loading the append only file", total, "bytes");
        Loading { began: now, began_unix_s: unix_s, total, loaded: 0, progress }
    }

    /// So many more are read; a line for the log, if one is due.
    pub(crate) fn read(&mut self, now: Duration, bytes: u64) -> Option<String> {
        self.loaded += bytes;
        self.progress.line(now, self.loaded)
    }

    fn percent(&self) -> f64 {
        // Good enough for a file of any size.
        self.loaded as f64 * 100.0 / self.total.max(1) as f64
    }

    /// As Redis reckons: 1 while nothing is read.
    fn left_s(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.began).as_secs();
        (elapsed * self.total.saturating_sub(self.loaded)).checked_div(self.loaded).unwrap_or(1)
    }

    /// INFO persistence, while it runs.
    pub(crate) fn info(&self, now: Duration, out: &mut InfoOut<'_>) {
        self.fields(now, |name, value| {
            out.field(name, value);
        });
    }

    fn fields(&self, now: Duration, mut put: impl FnMut(&str, String)) {
        put("loading_start_time", self.began_unix_s.to_string());
        put("loading_total_bytes", self.total.to_string());
        put("loading_loaded_bytes", self.loaded.to_string());
        put("loading_loaded_perc", format!("{:.2}", self.percent()));
        put("loading_eta_seconds", self.left_s(now).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn as_redis_names_and_reckons_it() {
        let mut loading = Loading::new(10 * SECOND, 77, 400);
        let print = |loading: &Loading, now: Duration| {
            let mut text = String::new();
            loading.fields(now, |name, value| text += &format!("{name}:{value}\n"));
            text
        };
        assert!(print(&loading, 11 * SECOND).ends_with("loading_loaded_perc:0.00\nloading_eta_seconds:1\n"));
        loading.read(12 * SECOND, 100);
        let want = "loading_start_time:77\nloading_total_bytes:400\nloading_loaded_bytes:100\n\
                    loading_loaded_perc:25.00\nloading_eta_seconds:6\n";
        assert_eq!(print(&loading, 12 * SECOND), want);
    }

    #[test]
    fn only_a_long_one_is_told_and_not_its_end() {
        let mut loading = Loading::new(SECOND, 77, 400);
        assert_eq!(loading.read(2 * SECOND, 100), None);
        let line = loading.read(6 * SECOND, 100);
        assert_eq!(line.as_deref(), Some("Loading the append only file: 50 % of 400 bytes, about 5 s left"));
        assert_eq!(loading.read(7 * SECOND, 100), None);
        assert_eq!(loading.read(20 * SECOND, 100), None);
    }
}
