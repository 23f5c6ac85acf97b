//! Files of which a crash leaves the old one or the new one, never a mixture, and nothing else. They may hold passwords:
//! a new one is its owner's alone, one that was there keeps who may read it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who may read and write a new file.
const OWNER_ONLY: u32 = 0o600;

/// Writes a file: a temporary one beside it, synced, renamed over the old one, the folder synced.
pub(crate) fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    // Locked until it has its name.
    let written = write(path, temporary, bytes).and_then(|_locked| std::fs::rename(temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    sync_folder(folder_of(path))
}

/// The temporary name of a file that several processes may write, as instances that share their users.
pub(crate) fn own_temporary(path: &Path) -> PathBuf {
    path.with_extension(format!("{MARK}{}", std::process::id()))
}

/// In front of the process id.
const MARK: &str = "tmp-";

/// Deletes what processes left under such names that were killed as they wrote: a crash each would leave one, with passwords in
/// it. One that is written now is locked.
pub(crate) fn discard_left(path: &Path) {
    let (Some(stem), Some(own)) = (path.file_stem().and_then(|stem| stem.to_str()), path.file_name()) else { return };
    let Ok(entries) = std::fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name() != own) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_prefix('.')?.strip_prefix(MARK));
        let is_left = pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_left && std::fs::remove_file(entry.path()).is_ok() {
            log::info!("Removed {}, which was left where a write was cut off", entry.path().display());
        }
    }
}

/// The folder that a file is in; that of a bare name is the working folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a folder's names on the disk; an empty path is the working folder.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn write(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(temporary)?;
    // Told from what is left behind. A file system without locks has no clearing up either.
    let _ = file.try_lock();
    // One that a crash left may be anybody's to read.
    let before = std::fs::metadata(path).map_or(OWNER_ONLY, |old| old.permissions().mode() & 0o777);
    file.set_permissions(Permissions::from_mode(before))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
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

    #[test]
    fn what_a_killed_process_left_is_discarded_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        let stay = ["users.acl", "users.tmp-", "users.tmp-1x", "users.tmp-9", "users2.tmp-1", "userstmp-1"];
        for name in stay.into_iter().chain(["users.tmp-1", "users.tmp-4294967295"]) {
            std::fs::write(at(name), "user a on").expect("written");
        }
        std::fs::create_dir(at("users.tmp-2")).expect("made");
        let written = File::open(at("users.tmp-9")).expect("there");
        written.try_lock().expect("free");
        discard_left(&at("users.acl"));
        let listed = std::fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("one").file_name());
        let mut left: Vec<_> = listed.collect();
        left.sort();
        assert_eq!(
            left,
            ["users.acl", "users.tmp-", "users.tmp-1x", "users.tmp-2", "users.tmp-9", "users2.tmp-1", "userstmp-1"]
        );
        drop(written);
        discard_left(&at("users.tmp-9"));
        assert!(at("users.tmp-9").exists(), "the file itself");
        replace(&at("users.acl"), &own_temporary(&at("users.acl")), b"user b on").expect("written");
        assert!(!own_temporary(&at("users.acl")).exists());
    }
}
