//! Files of which a crash leaves the old one or the new one, never a mixture, and nothing else. They may hold passwords:
//! a new one is its owner's alone, one that was there keeps who may read it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who may read and write a new file.
const OWNER_ONLY: u32 = 0o600;

/// Writes a file: a temporary one beside it, synced, renamed over the old one, the folder synced.
pub(crate) fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write(path, temporary, bytes).and_then(|()| std::fs::rename(temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    sync_folder(path.parent().unwrap_or(Path::new("")))
}

/// Puts a folder's names on the disk; an empty path is the working folder.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn write(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(temporary)?;
    // One that a crash left may be anybody's to read.
    let before = std::fs::metadata(path).map_or(OWNER_ONLY, |old| old.permissions().mode() & 0o777);
    file.set_permissions(Permissions::from_mode(before))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_it_stays_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, temporary) = (dir.path().join("users.acl"), dir.path().join("users.tmp"));
        let mode = || std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        std::fs::write(&temporary, "of a crash").expect("written");
        replace(&path, &temporary, b"one").expect("written");
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("changed");
        replace(&path, &temporary, b"two").expect("written");
        assert_eq!((mode(), std::fs::read(&path).expect("there")), (0o640, b"two".to_vec()));
        // No file can take a folder's place.
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).expect("made");
        assert!(replace(&folder, &temporary, b"three").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}
