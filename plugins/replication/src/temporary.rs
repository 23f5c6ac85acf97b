//! Files that are gone when nobody needs them any more: payloads on their way through the disk.
//!
//! Owns the file's end. Making it gives its owner along with it, so that one made for somebody who left meanwhile goes too.

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
}
