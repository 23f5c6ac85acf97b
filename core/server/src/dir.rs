//! `dir`: the folder that files are written to. The process works in it; CONFIG SET moves the process.

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

/// Works in the folder from now on.
pub(crate) fn enter(path: &Path) -> Result<(), String> {
    std::env::set_current_dir(path).map_err(|e| format!("server.dir: can't work in the folder {}: {e}", path.display()))
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
