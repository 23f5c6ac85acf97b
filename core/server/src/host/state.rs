//! One state file per plugin in the server's folder: the old one or the new one survives a crash, never a mixture.

use crate::replace::replace;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where a plugin's state lies.
pub(super) fn path(dir: &Path, plugin: &str) -> PathBuf {
    dir.join(format!("{plugin}.state"))
}

/// Writes it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, &path.with_extension("state.tmp"), bytes)
}

/// Reads it; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = path(dir.path(), "sentinel");
        assert_eq!(read(&file).expect("missing"), None);
        for bytes in [&b"one"[..], b"", b"three"] {
            write(&file, bytes).expect("written");
            assert_eq!(read(&file).expect("read").as_deref(), Some(bytes));
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
        assert!(write(&dir.path().join("none/x.state"), b"x").is_err());
    }
}
