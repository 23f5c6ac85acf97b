//! Files that are gone when nobody needs them any more: payloads on their way through the disk.
//!
//! Owns their names and their end. Making one gives its owner along with it, so that one made for somebody who left meanwhile goes
//! too; what a process left that was killed goes at the next start.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::path::{Path, PathBuf};

/// A file's name, removed with this.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Makes a file that must not be there.
    pub(crate) fn create(path: PathBuf, options: &mut OpenOptions) -> Result<(Temporary, File)> {
        let file = options.create_new(true).open(&path)?;
        Ok((Temporary(path), file))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The name of a payload's file that comes.
pub(crate) fn coming(unix_ms: u64) -> String {
    format!("temp-{unix_ms}.{}.rdb", std::process::id())
}

/// And of one that goes to this client.
pub(crate) fn going(client: u64) -> String {
    format!("temp-sync-{}-{client}.rdb", std::process::id())
}

/// The process that made a file of such a name.
fn maker(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("temp-")?.strip_suffix(".rdb")?;
    let (pid, number) = match rest.strip_prefix("sync-") {
        Some(going) => going.split_once('-')?,
        None => rest.split_once('.').map(|(unix_ms, pid)| (pid, unix_ms))?,
    };
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| pid.parse().ok())?
}

/// Deletes what processes left that are gone: each that is killed inside of a full sync leaves a file as large as the data. One of
/// a process id that is in use stays, unless the id is ours, as in a container, where it is the same at each start.
pub(crate) fn discard_stale(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(maker) else { continue };
        let stale = pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
        if stale && std::fs::remove_file(entry.path()).is_ok() {
            log::info!("Removed {}, which a full sync left behind that was cut off", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_made_for_nobody_is_removed() {
        let path = std::env::temp_dir().join(format!("keystead-temporary-{}", std::process::id()));
        let made = Temporary::create(path.clone(), File::options().write(true)).expect("made");
        assert_eq!(made.0.path(), path);
        assert!(Temporary::create(path.clone(), File::options().write(true)).is_err(), "never another's file");
        assert!(path.exists(), "what is there stays");
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_a_dead_process_left_is_discarded() {
        let dir = std::env::temp_dir().join(format!("keystead-stale-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("made");
        // Process 1 is always there, and no process has an id beyond the system's largest.
        let stay = ["dump.rdb", "temp-1.rdb", "temp-5.aof", "temp-7.1.rdb", "temp-sync-1-9.rdb", "temp-sync-x-9.rdb"];
        let (dead, ours) = (u32::MAX, std::process::id());
        let go = [format!("temp-7.{dead}.rdb"), format!("temp-sync-{dead}-9.rdb"), coming(8), going(9)];
        for name in stay.iter().copied().chain(go.iter().map(String::as_str)) {
            std::fs::write(dir.join(name), "half").expect("written");
        }
        assert_eq!((maker(&coming(8)), maker(&going(9))), (Some(ours), Some(ours)));
        discard_stale(&dir);
        let mut left: Vec<_> = std::fs::read_dir(&dir).expect("listed").map(|e| e.expect("one").file_name()).collect();
        left.sort();
        std::fs::remove_dir_all(&dir).expect("removed");
        assert_eq!(left, stay);
    }
}
