//! The fields of INFO's section "persistence" that this plugin knows better than the core.

use crate::plugin::PersistenceRdb;
use crate::status::{Loading, Status};
use keystead_plugin::InfoOut;
use std::time::Duration;

impl PersistenceRdb {
    /// INFO persistence.
    pub(crate) fn info(&self, out: &mut InfoOut<'_>) {
        self.settle();
        let (status, now, changes) = (self.board.read(), self.host.now(), out.changes());
        fields(&status, now, changes, &mut |name, value| {
            out.field(name, value);
        });
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("-1".to_owned(), |time| time.as_secs().to_string())
}

fn fields(status: &Status, now: Duration, changes: u64, put: &mut impl FnMut(&str, String)) {
    let running = status.running_since.map(|since| now.saturating_sub(since));
    let (done, all) = if running.is_some() { status.progress } else { (0, 0) };
    put("current_save_keys_processed", done.to_string());
    put("current_save_keys_total", all.to_string());
    put("rdb_changes_since_last_save", changes.saturating_sub(status.saved_changes).to_string());
    put("rdb_bgsave_in_progress", u8::from(running.is_some()).to_string());
    put("rdb_last_save_time", status.last_save_s.to_string());
    put("rdb_last_bgsave_status", if status.last_ok { "ok" } else { "err" }.to_owned());
    put("rdb_last_bgsave_time_sec", seconds(status.last_took));
    put("rdb_current_bgsave_time_sec", seconds(running));
    put("rdb_saves", status.saves.to_string());
    put("rdb_last_load_keys_expired", status.loaded.1.to_string());
    put("rdb_last_load_keys_loaded", status.loaded.0.to_string());
    if let Some(loading) = &status.loading {
        load_fields(loading, now, put);
    }
}

fn load_fields(loading: &Loading, now: Duration, put: &mut impl FnMut(&str, String)) {
    let Loading { since, since_unix_s, total_bytes, loaded_bytes, used_memory } = *loading;
    let elapsed = now.saturating_sub(since).as_secs();
    let left = total_bytes.saturating_sub(loaded_bytes);
    let eta = (elapsed * left).checked_div(loaded_bytes).unwrap_or(1);
    let percent = loaded_bytes as f64 * 100.0 / total_bytes.max(1) as f64;
    put("loading_start_time", since_unix_s.to_string());
    put("loading_total_bytes", total_bytes.to_string());
    put("loading_rdb_used_mem", used_memory.to_string());
    put("loading_loaded_bytes", loaded_bytes.to_string());
    put("loading_loaded_perc", format!("{percent:.2}"));
    put("loading_eta_seconds", eta.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Board;

    fn print(board: &Board, now_s: u64, changes: u64) -> String {
        let mut text = String::new();
        fields(&board.read(), Duration::from_secs(now_s), changes, &mut |name, value| {
            text.push_str(&format!("{name}:{value}\n"));
        });
        text
    }

    #[test]
    fn as_redis_names_them() {
        let board = Board::new(Duration::ZERO, 1000);
        board.edit(|status| status.saved_changes = 5);
        let text = print(&board, 3, 12);
        let rest = "rdb_bgsave_in_progress:0\nrdb_last_save_time:1000\nrdb_last_bgsave_status:ok\n\
                    rdb_last_bgsave_time_sec:-1\nrdb_current_bgsave_time_sec:-1\nrdb_saves:0\n";
        assert!(text.contains(&format!("rdb_changes_since_last_save:7\n{rest}")), "{text}");
        assert!(board.begin(Duration::from_secs(3)) && !board.begin(Duration::from_secs(4)));
        board.edit(|status| status.progress = (10, 40));
        let text = print(&board, 5, 12);
        assert!(text.starts_with("current_save_keys_processed:10\ncurrent_save_keys_total:40\n"), "{text}");
        assert!(
            text.contains("rdb_bgsave_in_progress:1\n") && text.contains("rdb_current_bgsave_time_sec:2\n"),
            "{text}"
        );
    }

    #[test]
    fn a_load_shows_its_progress() {
        let board = Board::new(Duration::ZERO, 0);
        let loading = Loading {
            since: Duration::from_secs(1),
            since_unix_s: 77,
            total_bytes: 400,
            loaded_bytes: 100,
            used_memory: 9,
        };
        board.edit(|status| status.loading = Some(loading.clone()));
        let want = "loading_start_time:77\nloading_total_bytes:400\nloading_rdb_used_mem:9\nloading_loaded_bytes:100\n\
                    loading_loaded_perc:25.00\nloading_eta_seconds:6\n";
        assert!(print(&board, 3, 0).ends_with(want), "{}", print(&board, 3, 0));
    }
}
