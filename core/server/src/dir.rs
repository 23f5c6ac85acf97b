//! `dir`: the folder that files are written to. The process works in it; CONFIG SET moves the process.

use keystead_engine::foreign::ForeignConfig;
use parking_lot::RwLock;
use std::path::PathBuf;

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
