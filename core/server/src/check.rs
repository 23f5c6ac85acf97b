//! `keystead check` and `keystead plugin inspect`: say what is wrong without starting anything.

use crate::config::load;
use std::path::Path;
use std::process::ExitCode;

/// Checks a configuration file.
pub(crate) fn file(path: &Path) -> ExitCode {
    match load::load(Some(path), &[]) {
        Ok(settings) => {
            println!("{}: ok ({} plugins)", path.display(), settings.plugins.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}

/// Looks at a library.
pub(crate) fn inspect(path: &Path) -> ExitCode {
    eprintln!("{}: this build has no plugin host", path.display());
    ExitCode::FAILURE
}
