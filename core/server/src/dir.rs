//! `dir`: the folder that files are written to. The process works in it; CONFIG SET moves the process.

use crate::config::Settings;
use keystead_engine::foreign::ForeignConfig;
use parking_lot::RwLock;
use std::io;
use std::path::{Path, PathBuf};

/// Refuses what is no folder and can't become one. (Whether a folder may be made is seen when it is.)
pub(crate) fn usable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(format!("server.dir: {} is no folder, and none can be made there", path.display())),
    }
}

/// A folder that is there.
pub(crate) struct Made {
    /// It wasn't.
    pub(crate) new: bool,
    /// What couldn't be put on the disk, and why: a folder without a right to read it, a file system that syncs none.
    pub(crate) unsynced: Option<String>,
}

/// Makes the folder, and those above it that aren't there. Their names are on the disk behind this, or else all that will be
/// written there and told to be could go with them; and so are those of the files in it, which a process may have replaced that
/// was killed before it got that far: what is read of them now must not be older behind the machine's next end.
pub(crate) fn make(path: &Path) -> io::Result<Made> {
    let missing = |part: &&Path| !part.as_os_str().is_empty() && !part.exists();
    let new: Vec<&Path> = path.ancestors().take_while(missing).collect();
    std::fs::create_dir_all(path)?;
    let changed = new.iter().filter_map(|part| part.parent()).chain([path]);
    let unsynced = changed.filter_map(|folder| {
        let told = |error: io::Error| format!("{}: {error}", folder.display());
        crate::replace::sync_folder(folder).err().map(told)
    });
    Ok(Made { new: !new.is_empty(), unsynced: unsynced.reduce(|all, one| format!("{all}; {one}")) })
}

/// Works in the folder from now on.
pub(crate) fn enter(path: &Path) -> Result<(), String> {
    std::env::set_current_dir(path).map_err(|e| format!("server.dir: can't work in the folder {}: {e}", path.display()))
}

/// What a start may fail of as things are now: folders of its files that aren't there, a log that goes nowhere. No mistakes
/// yet: a service manager may make folders before it starts the instance.
pub(crate) fn remarks(settings: &Settings) -> Vec<String> {
    let (server, log) = (&settings.server, &settings.log.file);
    let files = [("log.file", log), ("server.pidfile", &server.pidfile), ("server.unixsocket", &server.unixsocket)];
    let missing = files.into_iter().filter_map(|(path, file)| {
        let file = settings.dir.join(file.as_deref().filter(|file| !file.is_empty())?);
        let folder = file.parent().filter(|folder| *folder != settings.dir && !folder.is_dir())?;
        Some(format!("{path}: there is no folder {}", folder.display()))
    });
    let lost = server.daemonize && log.as_deref().is_none_or(str::is_empty);
    let lost = lost.then(|| "server.daemonize without log.file: what is logged behind the start is lost".to_owned());
    missing.chain(lost).collect()
}

/// The folder now.
pub(crate) struct Dir(RwLock<PathBuf>);

impl Dir {
    /// The process works in this folder already.
    pub(crate) fn new(path: PathBuf) -> Dir {
        Dir(RwLock::new(path))
    }
}

impl ForeignConfig for Dir {
    fn get(&self) -> String {
        self.0.read().display().to_string()
    }

    fn set(&self, value: &str) -> Result<(), String> {
        let words = |error: std::io::Error| {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        };
        std::env::set_current_dir(value).map_err(words)?;
        *self.0.write() = std::env::current_dir().map_err(words)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_those_above_it_and_a_file_s_place_is_none() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("a/b");
        for new in [true, false] {
            let made = make(&deep).expect("made");
            assert_eq!((made.new, made.unsynced), (new, None));
        }
        std::fs::write(root.path().join("file"), "").expect("written");
        assert!(make(&root.path().join("file/in")).is_err());
    }
}
