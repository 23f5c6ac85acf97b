//! Redis' source tree, beside that of `tests/run judges`, or why it can't be had.

use keystead_harness::bin_dir;
use keystead_judges::source;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A tree of this name, with Debian's servers.
pub fn tree(name: &str) -> Result<PathBuf, String> {
    for tool in ["tclsh", "dpkg-source", "apt-get", "redis-cli"] {
        if !keystead_harness::have(tool) {
            return Err(format!("there is no {tool}"));
        }
    }
    let target = bin_dir().parent().map(Path::to_path_buf).ok_or("no target folder")?;
    let folder = target.join("judges");
    // Tests run beside each other: one of them fetches and unpacks.
    let alone = std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join("lock")));
    alone
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| error.to_string())
        .and_then(|_alone| source::tree(&folder, name, Path::new("/usr/bin")).map_err(|error| error.to_string()))
}
