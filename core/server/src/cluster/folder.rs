//! The folder of a cluster. What its nodes load, log and remember lies there, so nobody but its owner may write in it: the one
//! in the temporary directory has a name that everybody can know, and make first.

use rustix::process::geteuid;
use std::{
    fs::{self, DirBuilder, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// For its owner alone.
const OWN: u32 = 0o700;
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Where a cluster's files are, or will be.
pub struct Folder {
    path: PathBuf,
    /// The user named it.
    chosen: bool,
}

impl Folder {
    /// The one that was asked for, or the one in the temporary directory. It isn't made before it is clear that there will
    /// be a cluster.
    ///
    /// # Errors
    /// When the process has no current folder.
    pub fn of(chosen: Option<&Path>, base_port: u16) -> io::Result<Folder> {
        let default = || std::env::temp_dir().join(format!("keystead-cluster-{base_port}"));
        let path = std::path::absolute(chosen.map_or_else(default, Path::to_path_buf))?;
        Ok(Folder { path, chosen: chosen.is_some() })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is there can be trusted; nothing there is fine.
    ///
    /// # Errors
    /// When somebody else can have put it there, or can change what is in it.
    pub fn check(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.named(&error)),
            Ok(found) => fault(&found, geteuid().as_raw()).map_or(Ok(()), |why| {
                let text = format!("{why}; the files of a cluster need a folder that only you can write to (--dir)");
                Err(self.named(&io::Error::new(io::ErrorKind::PermissionDenied, text)))
            }),
        }
    }

    /// Makes it if it isn't there, and looks whose it is.
    ///
    /// # Errors
    /// When it can't be made, or as [`Folder::check`].
    pub fn make(&self) -> io::Result<()> {
        let above = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = above.and_then(|()| DirBuilder::new().mode(OWN).create(&self.path));
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(self.named(&error)),
            _ => self.check()?,
        }
        if self.chosen {
            return Ok(());
        }
        // An earlier version made it for everybody to read.
        fs::set_permissions(&self.path, Permissions::from_mode(OWN)).map_err(|error| self.named(&error))
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

/// Why a folder isn't this user's alone.
fn fault(found: &Metadata, user: u32) -> Option<&'static str> {
    match found {
        _ if found.is_symlink() => Some("is a symbolic link"),
        _ if !found.is_dir() => Some("is no folder"),
        _ if found.uid() != user => Some("belongs to another user"),
        _ if found.mode() & OTHERS_WRITE != 0 => Some("can be written to by others than its owner"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn told(path: &Path) -> String {
        let made = Folder { path: path.to_path_buf(), chosen: false }.make();
        made.expect_err("it is refused").to_string()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn it_is_its_owner_s_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder { path: dir.path().join("above/new"), chosen: false };
        folder.check().expect("nothing is there");
        folder.make().expect("made");
        assert_eq!(mode(folder.path()), OWN);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
        folder.make().expect("an earlier run's");
        assert_eq!(mode(folder.path()), OWN);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
        Folder { chosen: true, ..folder }.make().expect("the user's own");
        assert_eq!(mode(&dir.path().join("above/new")), 0o755);
    }

    #[test]
    fn what_others_can_have_put_there_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let (real, link, file) = (dir.path().join("real"), dir.path().join("link"), dir.path().join("file"));
        fs::create_dir(&real).expect("made");
        symlink(&real, &link).expect("made");
        fs::write(&file, "").expect("written");
        assert!(told(&link).contains("link: is a symbolic link; "), "{}", told(&link));
        assert!(told(&file).contains("file: is no folder; "), "{}", told(&file));
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(&real, Permissions::from_mode(mode)).expect("set");
            assert!(told(&real).contains("can be written to by others"), "{mode:o}: {}", told(&real));
        }
        fs::set_permissions(&real, Permissions::from_mode(OWN)).expect("set");
        let found = fs::symlink_metadata(&real).expect("it is there");
        assert_eq!(fault(&found, found.uid()), None);
        assert_eq!(fault(&found, found.uid() + 1), Some("belongs to another user"));
    }
}
