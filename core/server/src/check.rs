//! `keystead check` and `keystead plugin inspect`: say what is wrong without starting anything.

use crate::config::load;
use crate::host::{self, CheckError};
use crate::instance;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Checks a configuration file: the core's part, then each plugin's subtree against its library, then the whole as a start
/// would.
pub(crate) fn file(path: &Path) -> ExitCode {
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
        Err(reason) => return refuse(&format!("{}: {reason}", path.display())),
    }
    let list = if names.is_empty() { "none".into() } else { names.join(", ") };
    say(&format!("{}: ok (plugins: {list})", path.display()));
    ExitCode::SUCCESS
}

/// Says what a library tells of itself, and whether this host would load it.
pub(crate) fn inspect(path: &Path) -> ExitCode {
    match host::inspect(path) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(text) => refuse(&text),
    }
}

/// Whoever reads may have had enough (`| head`).
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("{}", text.trim_end());
    ExitCode::FAILURE
}
