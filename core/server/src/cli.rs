//! The command line: what the binary can be asked for, as types. Decides nothing; `main.rs` does what it says.

use crate::config::load::Edit;
use crate::config::report::nearest;
use crate::config::{ConfigError, directives, document};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Error, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A Redis-compatible, modular server.
#[derive(Debug, Parser)]
#[command(name = "keystead", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// What the binary does beside running an instance.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a primary, replicas and sentinels on this machine and follow them live
    Cluster(crate::cluster::Options),
    /// Ask a running sentinel what it believes, what it did and what it would do
    Sentinel(crate::ask::Options),
    /// Check a configuration file and every plugin's part of it without starting anything
    Check {
        /// The configuration file
        file: PathBuf,
        /// See [`crate::check::HERE`]
        #[arg(long, hide = true)]
        here: bool,
    },
    /// Look at plugin libraries
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
}

/// What can be asked of a plugin library.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Say what a library tells of itself, whether this host would load it, and why not
    Inspect {
        /// The library
        file: PathBuf,
        /// See [`crate::check::HERE`]
        #[arg(long, hide = true)]
        here: bool,
    },
}

/// How an instance is run.
#[derive(Debug, Default, Args)]
pub(crate) struct Run {
    /// The instance's configuration; without one a standalone server runs on port 6379 of this machine
    pub(crate) file: Option<PathBuf>,
    /// TCP port of the data server
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on; may be given several times
    #[arg(long)]
    bind: Vec<String>,
    /// Folder for everything the instance writes
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Change one setting: server.port=7000, or PLUGIN.FIELD=value; values in RON, a bare word is a string
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
}

impl Cli {
    /// The command line of this process; one that can't be understood ends it with a word of what may have been meant.
    pub(crate) fn read() -> Cli {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        Cli::understand(&arguments).unwrap_or_else(|error| error.exit())
    }

    fn understand(arguments: &[OsString]) -> Result<Cli, Error> {
        Cli::try_parse_from(arguments).map_err(|mut error| {
            if let Some(tip) = tip(&error, arguments) {
                error.remove(ContextKind::SuggestedArg);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }
}

/// What was meant by an argument that isn't one: a flag of redis-server, or a subcommand's name was written wrongly and
/// taken for the file.
fn tip(error: &Error, arguments: &[OsString]) -> Option<String> {
    let texts: Vec<String> = arguments.iter().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let wrong_command = || {
        let word = texts.first()?;
        nearest_command(word).filter(|name| name != word).and_then(|_| meant_command(Path::new(word)))
    };
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => {
            let name = unknown.strip_prefix("--").and_then(|text| text.split('=').next());
            let behind = texts.iter().skip_while(|text| *text != unknown).skip(1);
            let values: Vec<String> = behind.take_while(|text| !text.starts_with("--")).cloned().collect();
            name.and_then(|name| directives::flag(name, &values)).or_else(wrong_command)
        }
        (ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict, _) => wrong_command(),
        _ => None,
    }
}

/// The subcommand that a word is nearest to.
fn nearest_command(word: &str) -> Option<String> {
    let cli = Cli::command();
    nearest(word, cli.get_subcommands().map(|command| command.get_name())).map(str::to_owned)
}

/// A hint for somebody who may have meant a subcommand: the file isn't there, and it is called like one.
fn meant_command(file: &Path) -> Option<String> {
    let word = Some(file).filter(|file| !file.exists())?.to_str()?;
    if word.contains(['/', '.']) {
        return None;
    }
    let cli = Cli::command();
    let all = cli.get_subcommands().map(|command| command.get_name()).collect::<Vec<_>>().join(", ");
    let meant = nearest_command(word).map(|name| format!("did you mean '{name}'? ")).unwrap_or_default();
    Some(format!("{meant}subcommands are {all}; keystead --help tells more"))
}

impl Run {
    /// All changes the command line asks for, in the order in which they are applied.
    pub(crate) fn edits(&self) -> Result<Vec<Edit>, ConfigError> {
        let mut edits = Vec::new();
        let mut push = |path: &str, value: String, argument: String| {
            edits.push(Edit { path: path.into(), value, argument });
        };
        if let Some(port) = self.port {
            push("server.port", port.to_string(), format!("--port {port}"));
        }
        if !self.bind.is_empty() {
            let quoted: Vec<String> = self.bind.iter().map(|b| document::quote(b)).collect();
            push("server.bind", format!("[{}]", quoted.join(", ")), format!("--bind {}", self.bind.join(" --bind ")));
        }
        if let Some(dir) = &self.dir {
            let shown = dir.display().to_string();
            let Some(text) = dir.to_str() else {
                return Err(ConfigError::plain(&format!("--dir {shown}"), "the folder's name isn't UTF-8"));
            };
            push("server.dir", document::quote(text), format!("--dir {text}"));
        }
        for text in &self.set {
            edits.push(Edit::parse(text)?);
        }
        Ok(edits)
    }

    /// See [`meant_command`].
    pub(crate) fn meant_command(&self) -> Option<String> {
        self.file.as_deref().and_then(meant_command).map(|hint| format!("help: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_word_that_is_no_file_may_have_been_meant_as_a_command() {
        let hint = |word| Cli::parse_from(["keystead", word]).run.meant_command();
        assert!(hint("clustre").is_some_and(|hint| hint.contains("did you mean 'cluster'?")));
        assert!(
            hint("frobnicate").is_some_and(|hint| hint.contains("subcommands are cluster, sentinel, check, plugin"))
        );
        assert_eq!(hint("nowhere.ron"), None);
        let apart = Cli::try_parse_from(["keystead", "cluster", "--embedded", "--sentinels", "5"]);
        assert!(apart.is_err_and(|error| error.to_string().contains("cannot be used with")));
        assert!(Cli::try_parse_from(["keystead", "cluster", "--embedded"]).is_ok());
    }

    #[test]
    fn what_was_meant_by_an_unknown_argument_is_said() {
        let cases = [
            ("--requirepass x", "tip: '--set server.requirepass=x' sets it"),
            ("a.ron --port 7 --save 60 1 --appendonly yes", "tip: '--set persistence-rdb.save='[(60, 1)]'' sets it"),
            ("--maxmemory 1gb --bind ::1", "tip: '--set memory.maxmemory=1gb' sets it"),
            ("sentinel.conf --sentinel", "the plugin 'sentinel'"),
            ("sentinal watch", "did you mean 'sentinel'?"),
            ("chek a.ron", "did you mean 'check'?"),
            ("plugins inspect x.so", "did you mean 'plugin'?"),
            ("clutser --replicas 3", "did you mean 'cluster'?"),
            ("--prot 7", "'--port'"),
        ];
        for (line, words) in cases {
            let arguments: Vec<OsString> = std::iter::once("keystead").chain(line.split(' ')).map(Into::into).collect();
            let told = Cli::understand(&arguments).expect_err(line).to_string();
            assert!(told.contains(words) && !told.contains("-- --"), "{line}: {told}");
        }
    }

    #[test]
    fn arguments_become_edits_in_order() {
        let cli = Cli::parse_from(["keystead", "a.ron", "--port", "7000", "--bind", "::1", "--set", "log.level=debug"]);
        let edits = cli.run.edits().expect("well formed");
        let shown: Vec<_> = edits.iter().map(|e| format!("{}={}", e.path, e.value)).collect();
        assert_eq!(shown, ["server.port=7000", "server.bind=[\"::1\"]", "log.level=\"debug\""]);
        assert!(matches!(Cli::parse_from(["keystead", "check", "x.ron"]).command, Some(Command::Check { .. })));
        let inspect = Cli::parse_from(["keystead", "plugin", "inspect", "x.so"]).command;
        assert!(matches!(inspect, Some(Command::Plugin { command: PluginCommand::Inspect { .. } })));
        assert!(Cli::parse_from(["keystead"]).command.is_none());
    }
}
