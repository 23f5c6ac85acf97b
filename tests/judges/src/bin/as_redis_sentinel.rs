//! Takes redis-sentinel's configuration file, writes the RON file it means, and becomes keystead as a sentinel.
//!
//! Only Redis' own sentinel suite uses it. It owns the translation of the directives the suite writes; one that it doesn't
//! know is an error, so that nothing is judged that wasn't asked for. What the sentinel learns is in its own state file, so
//! a restart with the same file goes on where it was.
#![forbid(unsafe_code)]

use keystead_harness::{bin_dir, keystead_bin, ron_str};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Directives that mean nothing to an instance started by a test.
const WITHOUT_MEANING: &[&str] = &[
    "daemonize",
    "pidfile",
    "repl-diskless-sync-delay",
    "enable-protected-configs",
    "enable-debug-command",
    "protected-mode",
];
/// Options of one primary that are numbers: Redis' name and the field's.
const NUMBERS: &[(&str, &str)] = &[
    ("down-after-milliseconds", "down_after_ms"),
    ("failover-timeout", "failover_timeout_ms"),
    ("parallel-syncs", "parallel_syncs"),
    ("master-reboot-down-after-period", "reboot_down_after_ms"),
];
/// Options of one primary that are texts.
const TEXTS: &[(&str, &str)] = &[
    ("auth-user", "auth_user"),
    ("auth-pass", "auth_pass"),
    ("notification-script", "notification_script"),
    ("client-reconfig-script", "client_reconfig_script"),
];
/// Options of the sentinel that are yes or no.
const SWITCHES: &[(&str, &str)] = &[
    ("deny-scripts-reconfig", "deny_scripts_reconfig"),
    ("resolve-hostnames", "resolve_hostnames"),
    ("announce-hostnames", "announce_hostnames"),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((file, options)) = args.split_first().filter(|(file, _)| !file.starts_with("--")) else {
        eprintln!("a configuration file is needed, as the first argument");
        return ExitCode::FAILURE;
    };
    match prepare(Path::new(file), options) {
        Ok((ron, log)) => {
            let error = Command::new(keystead_bin()).arg(ron).stdout(Stdio::null()).stderr(log).exec();
            eprintln!("keystead can't be started: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Settings {
    server: Vec<String>,
    sentinel: Vec<String>,
    monitors: BTreeMap<String, Vec<String>>,
    log: Option<PathBuf>,
    dir: PathBuf,
}

/// `--name value value …` groups, as lines of the file say them.
fn directives(options: &[String]) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for option in options {
        match (option.strip_prefix("--"), found.last_mut()) {
            (None, Some(last)) => last.push(option),
            (name, _) => found.push(name.unwrap_or(option).split_whitespace().collect()),
        }
    }
    found
}

/// Writes the RON file; its path, and where the log goes.
fn prepare(file: &Path, options: &[String]) -> Result<(PathBuf, Stdio), String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut settings = Settings { dir: ".".into(), ..Settings::default() };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
        settings.take(&words).ok_or_else(|| format!("directive not known to this wrapper: {line}"))?;
    }
    for words in directives(options) {
        settings.take(&words).ok_or_else(|| format!("option not known to this wrapper: --{}", words.join(" ")))?;
    }
    let dir = fs::canonicalize(&settings.dir).map_err(|error| format!("{}: {error}", settings.dir.display()))?;
    let log = match &settings.log {
        Some(name) => {
            let log = fs::File::options().create(true).append(true).open(dir.join(name));
            log.map_err(|error| format!("{}: {error}", name.display()))?.into()
        }
        None => Stdio::inherit(),
    };
    let ron = dir.join("keystead.ron");
    fs::write(&ron, settings.ron(&dir)).map_err(|error| format!("{}: {error}", ron.display()))?;
    Ok((ron, log))
}

impl Settings {
    /// One directive in its place; nothing if it isn't known.
    fn take(&mut self, words: &[&str]) -> Option<()> {
        let known =
            |table: &[(&str, &str)], name: &str| table.iter().find(|(n, _)| *n == name).map(|(_, f)| (*f).to_owned());
        match words {
            ["port", port] => {
                // Later lines win, as in Redis.
                self.sentinel.retain(|field| !field.starts_with("port:"));
                self.sentinel.push(format!("port: {port}"));
            }
            ["bind", addresses @ ..] => {
                let list: Vec<String> = addresses.iter().map(|address| ron_str(address)).collect();
                self.server.push(format!("bind: [{}]", list.join(", ")));
            }
            ["dir", dir] => self.dir = dir.into(),
            ["logfile", ""] => {}
            ["logfile", name] => self.log = Some(name.into()),
            ["loglevel", _] => {}
            ["requirepass", word] => self.sentinel.push(format!("password: {}", ron_str(word))),
            ["sentinel", "monitor", name, host, port, quorum] => {
                let monitor = self.monitors.entry((*name).to_owned()).or_default();
                monitor.extend([
                    format!("host: {}", ron_str(host)),
                    format!("port: {port}"),
                    format!("quorum: {quorum}"),
                ]);
            }
            ["sentinel", option, value] if known(SWITCHES, option).is_some() => {
                self.sentinel.push(format!("{}: {}", known(SWITCHES, option)?, *value == "yes"));
            }
            ["sentinel", option, name, value] => {
                let field = match (known(NUMBERS, option), known(TEXTS, option)) {
                    (Some(field), _) => format!("{field}: {value}"),
                    (_, Some(field)) => format!("{field}: {}", ron_str(value)),
                    _ => return None,
                };
                self.monitors.entry((*name).to_owned()).or_default().push(field);
            }
            [other, ..] if WITHOUT_MEANING.contains(other) => {}
            _ => return None,
        }
        Some(())
    }

    fn ron(&self, dir: &Path) -> String {
        let monitors: Vec<String> = self
            .monitors
            .iter()
            .filter(|(_, fields)| fields.iter().any(|field| field.starts_with("quorum:")))
            .map(|(name, fields)| format!("(name: {}, {})", ron_str(name), fields.join(", ")))
            .collect();
        let mut server = vec![format!("dir: {}", ron_str(&dir.display().to_string()))];
        server.extend(self.server.iter().cloned());
        let mut sentinel = self.sentinel.clone();
        sentinel.push(format!("monitors: [{}]", monitors.join(", ")));
        format!(
            "(server: ({}), plugin_dirs: [{}], plugins: [(name: \"sentinel\", config: ({}))])\n",
            server.join(", "),
            ron_str(&bin_dir().display().to_string()),
            sentinel.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_more_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("sentinel.conf");
        fs::write(&conf, format!("port 1\ndir {}\nsentinel monitor m 10.0.0.1 6379 2\n", dir.path().display()))
            .unwrap();
        let start = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
            prepare(&conf, &options).map(|(ron, _)| fs::read_to_string(ron).unwrap())
        };
        let text = start(&["--port", "26380", "--sentinel down-after-milliseconds", "m", "500"]).unwrap();
        assert!(text.contains("port: 26380") && !text.contains("port: 1,"), "{text}");
        assert!(text.contains("down_after_ms: 500"), "{text}");
        assert!(start(&["--frobnicate", "1"]).unwrap_err().contains("--frobnicate 1"));
    }
}
