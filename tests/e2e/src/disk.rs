//! Disks that fail as a test wishes: one that takes less than it is given, is full from some byte on or stands still, and small
//! real ones.
//! Owns the preloaded library and the mounts; knows nothing of what is written.

use keystead_harness::KeysteadBuilder;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCE: &str = include_str!("faulty_disk.c");

/// A disk whose room a test says. Only what goes into append-only and RDB files counts.
#[derive(Debug)]
pub struct FaultyDisk {
    dir: tempfile::TempDir,
    room: std::fs::File,
}

impl FaultyDisk {
    /// One that has room; `None`, with a word why, where there is no C compiler.
    pub fn new() -> Option<FaultyDisk> {
        let dir = tempfile::tempdir().ok()?;
        let source = dir.path().join("faulty_disk.c");
        std::fs::write(&source, SOURCE).ok()?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(dir.path().join("faulty_disk.so")).arg(source).arg("-ldl");
        if !cc.status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: cc can't make the library of a disk that fails");
            return None;
        }
        let mut room = std::fs::File::create(dir.path().join("room")).ok()?;
        room.write_all(&[(-1i64).to_ne_bytes(), [0; 8], [0; 8]].concat()).ok()?;
        Some(FaultyDisk { dir, room })
    }

    /// For one node: each call takes `most` bytes at most, or all of them if that is 0.
    pub fn under(&self, builder: KeysteadBuilder, most: usize) -> KeysteadBuilder {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let builder = builder.env("LD_PRELOAD", &path("faulty_disk.so")).env("FAULTY_DISK_ROOM", &path("room"));
        let builder = builder.env("FAULTY_DISK_FOLDERS", &path("folders"));
        builder.env("FAULTY_DISK_MOST", &most.to_string())
    }

    /// The folders that were synced so far, in order.
    pub fn synced_folders(&self) -> Vec<PathBuf> {
        let lines = std::fs::read_to_string(self.dir.path().join("folders")).unwrap_or_default();
        lines.lines().map(PathBuf::from).collect()
    }

    /// So many bytes more, then it is full.
    pub fn has_room_for(&self, bytes: u64) {
        self.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Never full.
    pub fn has_room(&self) {
        self.set(-1);
    }

    /// Files can't be cut, as with `chattr +a`.
    pub fn cuts_nothing(&self) {
        self.put(1, 8);
    }

    /// It answers nothing until [`FaultyDisk::goes_on`]: whoever writes waits.
    pub fn stands_still(&self) {
        self.put(1, 16);
    }

    /// It answers again.
    pub fn goes_on(&self) {
        self.put(0, 16);
    }

    fn set(&self, room: i64) {
        self.put(room, 0);
    }

    fn put(&self, number: i64, at: u64) {
        self.room.write_all_at(&number.to_ne_bytes(), at).unwrap_or_else(|error| panic!("the room's file: {error}"));
    }
}

/// A small disk of its own; unmounted in the end.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A folder of its own, so large; `None`, with a word why, where that isn't allowed.
    pub fn at(path: &Path, size: &str) -> Option<SmallDisk> {
        let made = std::fs::create_dir_all(path).is_ok();
        if made && mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], path) {
            return Some(SmallDisk(path.to_owned()));
        }
        println!("SKIPPED: no tmpfs can be mounted here");
        None
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Changes it: `size=8m`, `ro`.
    pub fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0), "remount,{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A folder that can be read and not be written, until this is dropped: files that are open are written on.
#[derive(Debug)]
pub struct ReadOnly(PathBuf);

impl ReadOnly {
    /// This folder; `None`, with a word why, where that isn't allowed.
    pub fn make(path: &Path) -> Option<ReadOnly> {
        let shown = path.display().to_string();
        if !mount(&["--bind", &shown], path) {
            println!("SKIPPED: no folder can be made read-only here");
            return None;
        }
        let bound = ReadOnly(path.to_owned());
        assert!(mount(&["-o", "remount,bind,ro"], path), "remount,bind,ro");
        Some(bound)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &[&str], what: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(options).arg(what).stderr(Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}
