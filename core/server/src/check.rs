//! `keystead check` and `keystead plugin inspect`: say what is wrong without starting anything.
//!
//! Both open libraries, and the dynamic linker believes what it reads: a damaged one may end the process in which it is opened.
//! So that is one of its own, and what became of it is told.

use crate::config::load;
use crate::host::{self, CheckError};
use crate::instance;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The flag that says: this is the process of its own.
pub(crate) const HERE: &str = "--here";

/// Checks a configuration file: the core's part, then each plugin's subtree against its library, then the whole as a start
/// would.
pub(crate) fn file(path: &Path, here: bool) -> ExitCode {
    const ENDED: &str = "a plugin's library ended the check; keystead plugin inspect says which";
    if let Some(code) = apart(here, &["check"], path, ENDED) {
        return code;
    }
    let settings = match load::load(Some(path), &[]) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.render()),
    };
    let plugins = match instance::plugins(&settings) {
        Ok(plugins) => plugins,
        Err(error) => return refuse(&error.render()),
    };
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let mut wrong = 0;
    for (plugin, listed) in plugins.iter().zip(&settings.plugins) {
        let Err(error) = host::check_config(plugin, &names) else { continue };
        wrong += 1;
        refuse(&match error {
            CheckError::Library(refusal) => listed.refused(refusal.to_string(), None).render(),
            CheckError::Config(problem) => {
                let message = format!("plugin '{}': {}", plugin.name, problem.message);
                listed.config.mistake((problem.line, problem.column), message).render()
            }
        });
    }
    if wrong > 0 {
        return ExitCode::FAILURE;
    }
    match instance::rehearse(settings) {
        Ok(warnings) => warnings.iter().for_each(|line| eprintln!("{}: warning: {line}", path.display())),
        Err(reason) => return refuse(&reason.of(&path.display().to_string()).render()),
    }
    let list = if names.is_empty() { "none".into() } else { names.join(", ") };
    say(&format!("{}: ok (plugins: {list})", path.display()));
    ExitCode::SUCCESS
}

/// Says what a library tells of itself, and whether this host would load it.
pub(crate) fn inspect(path: &Path, here: bool) -> ExitCode {
    const ENDED: &str = "can't be loaded: it is damaged, and opening it ends the process";
    if let Some(code) = apart(here, &["plugin", "inspect"], path, ENDED) {
        return code;
    }
    match host::inspect(path) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(text) => refuse(&text),
    }
}

/// Has a process of its own do the same; what came of it. `None`: this is the one, or there can't be one.
fn apart(here: bool, words: &[&str], file: &Path, ended: &str) -> Option<ExitCode> {
    let own = std::env::current_exe().ok().filter(|_| !here)?;
    let status = Command::new(own).args(words).arg(HERE).arg("--").arg(file).status().ok()?;
    Some(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(1) => ExitCode::FAILURE,
        // A signal, or the dynamic linker's own way out.
        _ => refuse(&format!("{}: {ended} ({status})", file.display())),
    })
}

/// Whoever reads may have had enough (`| head`).
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("{}", text.trim_end());
    ExitCode::FAILURE
}
