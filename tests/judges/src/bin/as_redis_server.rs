//! Takes redis-server's arguments, writes the RON file and overlay they mean, and becomes keystead.
//!
//! Only Redis' own suite uses it, to start servers as it always does. It owns the translation; what a directive does is
//! the server's business, and one that it doesn't know is told on standard error by the server itself. With `--sentinel`
//! it hands over to the other wrapper, which lies beside it.
#![forbid(unsafe_code)]

use keystead_harness::{keystead_bin, ron_str};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Plugins such a server loads, with what redis-server has by default and a plugin that is listed hasn't.
const PLUGINS: &[(&str, &str)] =
    &[("replication", ""), ("persistence-rdb", ""), ("persistence-aof", "enabled: false, "), ("scripting", "")];
/// The overlay as this wrapper wrote it last: what differs from it was written by CONFIG REWRITE.
const GIVEN: &str = "keystead.overlay.given";
/// Directives that are fields of the RON file's `server` and `log` sections: name, section, field, and whether it is text.
const FIELDS: &[(&str, &str, &str, bool)] = &[
    ("port", "server", "port", false),
    ("databases", "server", "databases", false),
    ("unixsocket", "server", "unixsocket", true),
    ("unixsocketperm", "server", "unixsocketperm", true),
    ("enable-debug-command", "server", "enable_debug_command", true),
    ("enable-protected-configs", "server", "enable_protected_configs", true),
    ("aclfile", "server", "aclfile", true),
    ("acl-pubsub-default", "server", "acl_pubsub_default", true),
    ("logfile", "log", "file", true),
    ("loglevel", "log", "level", true),
];
/// Directives that only the file can set, as text in a plugin's part: name, plugin, field.
const PLUGIN_FIELDS: &[(&str, &str, &str)] =
    &[("appendfilename", "persistence-aof", "file_name"), ("appenddirname", "persistence-aof", "dir_name")];
/// Directives that mean nothing to an instance started by a test.
const WITHOUT_MEANING: &[&str] = &["daemonize", "pidfile", "always-show-logo", "enable-module-command"];

/// The wrapper that makes a sentinel.
const SENTINEL: &str = "keystead-as-redis-sentinel";

/// Directive → its values in the order given.
type Directives = BTreeMap<String, Vec<String>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "-v" || a == "--version") {
        println!("Redis server v=7.2.4 sha=00000000:0 malloc=mimalloc bits=64 build=0");
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|a| a == "--sentinel") {
        let error = sentinel(&args).exec();
        eprintln!("{SENTINEL} can't be started: {error}");
        return ExitCode::FAILURE;
    }
    match prepare(&args) {
        Ok(file) => {
            // The suite reads the log from standard output, where redis-server writes it.
            let log =
                std::io::stdout().as_fd().try_clone_to_owned().map(Stdio::from).unwrap_or_else(|_| Stdio::inherit());
            let error = Command::new(keystead_bin()).arg(file).stderr(log).exec();
            eprintln!("keystead can't be started: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What `redis-server FILE --sentinel` means.
fn sentinel(args: &[String]) -> Command {
    let beside = std::env::current_exe().map_or_else(|_| SENTINEL.into(), |own| own.with_file_name(SENTINEL));
    let mut command = Command::new(beside);
    command.args(args.iter().filter(|a| *a != "--sentinel"));
    command
}

/// Writes the files; the RON file's path.
fn prepare(args: &[String]) -> Result<PathBuf, String> {
    let mut directives = Directives::new();
    let mut rest = args;
    if let Some(file) = args.first().filter(|a| !a.starts_with("--")) {
        let text =
            fs::read_to_string(file).map_err(|e| format!("Fatal error, can't open config file '{file}': {e}"))?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(&mut directives, &words(line));
        }
        rest = &args[1..];
    }
    let mut said = BTreeSet::new();
    for option in options(rest) {
        let name = option[0].to_lowercase();
        // The first one on the command line takes the place of what the file says; users of both are there.
        if name != "user" && said.insert(name.clone()) {
            directives.remove(&name);
        }
        add(&mut directives, &option);
    }
    let dir = directives.get("dir").and_then(|d| d.last()).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = dir.canonicalize().map_err(|e| format!("can't work in {}: {e}", dir.display()))?;
    let file = dir.join("keystead.ron");
    fs::write(&file, ron(&directives, &dir)).map_err(|e| format!("{}: {e}", file.display()))?;
    let (overlay, given) = (dir.join("keystead.overlay.ron"), dir.join(GIVEN));
    let text = overlay_text(&directives);
    // redis-server finds in its file what it rewrote there itself; as long as nobody else has written other directives
    // since, that is so here as well.
    let rewritten = fs::read_to_string(&given).is_ok_and(|given| given == text) && overlay.exists();
    if !rewritten {
        for path in [&overlay, &given] {
            fs::write(path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(file)
}

/// `--name value value …` groups; `"--name value"` as one word too.
fn options(args: &[String]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for arg in args {
        match arg.strip_prefix("--") {
            Some(option) => found.push(words(option)),
            None => {
                if let Some(last) = found.last_mut() {
                    last.push(arg.clone());
                }
            }
        }
    }
    found.retain(|option| !option.is_empty());
    found
}

/// A line's words; quotes hold one together, and between double ones there are escapes.
fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('"'), '\\') => word.extend(letters.next().map(|escape| match escape {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            })),
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if open || !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (_, c) => word.push(c),
        }
    }
    if open || !word.is_empty() {
        found.push(word);
    }
    found
}

/// Adds a directive; `save` and the like collect, others are replaced.
fn add(directives: &mut Directives, words: &[String]) {
    let [name, values @ ..] = words else { return };
    let name = match name.to_lowercase().as_str() {
        "slaveof" => "replicaof".to_owned(),
        other => other.to_owned(),
    };
    let value = values.join(" ");
    let known = directives.entry(name.clone()).or_default();
    match name.as_str() {
        "save" if value.is_empty() => *known = vec![value],
        "save" => {
            known.retain(|v| !v.is_empty());
            known.push(value);
        }
        "user" | "rename-command" | "client-output-buffer-limit" => known.push(value),
        _ => *known = vec![value],
    }
}

fn ron(directives: &Directives, dir: &Path) -> String {
    let last = |name: &str| directives.get(name).and_then(|v| v.last());
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    sections.entry("server").or_default().push(format!("dir: {}", ron_str(&dir.display().to_string())));
    if let Some(bind) = last("bind") {
        let addresses: Vec<String> = bind.split_whitespace().map(ron_str).collect();
        sections.entry("server").or_default().push(format!("bind: [{}]", addresses.join(", ")));
    }
    if let Some(users) = directives.get("user") {
        let users: Vec<String> = users.iter().map(|user| ron_str(user)).collect();
        sections.entry("server").or_default().push(format!("users: [{}]", users.join(", ")));
    }
    for (name, section, field, text) in FIELDS {
        if let Some(value) = last(name).filter(|v| !v.is_empty()) {
            let value = if *text { ron_str(value) } else { value.clone() };
            sections.entry(section).or_default().push(format!("{field}: {value}"));
        }
    }
    let sections: String =
        sections.iter().map(|(name, fields)| format!("    {name}: ({}),\n", fields.join(", "))).collect();
    let fields = |plugin: &str| -> String {
        let own = PLUGIN_FIELDS.iter().filter(|(_, of, _)| *of == plugin);
        own.filter_map(|(name, _, field)| Some(format!("{field}: {}, ", ron_str(last(name)?)))).collect()
    };
    let plugins: Vec<String> = PLUGINS
        .iter()
        .map(|(name, usual)| format!("        (name: {}, config: ({usual}{})),\n", ron_str(name), fields(name)))
        .collect();
    format!("(\n{sections}    plugins: [\n{}    ],\n)\n", plugins.join(""))
}

/// Everything that has no field here is a parameter under Redis' name.
fn overlay_text(directives: &Directives) -> String {
    let with_a_field = |name: &str| {
        ["dir", "bind", "user"].contains(&name)
            || FIELDS.iter().any(|(n, ..)| *n == name)
            || PLUGIN_FIELDS.iter().any(|(n, ..)| *n == name)
            || WITHOUT_MEANING.contains(&name)
    };
    let rows: String = directives
        .iter()
        .filter(|(name, _)| !with_a_field(name))
        .map(|(name, values)| format!("        {}: {},\n", ron_str(name), ron_str(&values.join(" "))))
        .collect();
    format!("(\n    params: {{\n{rows}    }},\n    endpoints: {{}},\n)\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_rewrote_stays_until_other_directives_come() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, overlay) = (dir.path().join("redis.conf"), dir.path().join("keystead.overlay.ron"));
        fs::write(&conf, format!("port 1\ntimeout 7\ndir {}\n", dir.path().display())).unwrap();
        let start = |more: &[&str]| {
            let args: Vec<String> =
                std::iter::once(conf.display().to_string()).chain(more.iter().map(|w| (*w).to_owned())).collect();
            prepare(&args).unwrap();
            fs::read_to_string(&overlay).unwrap()
        };
        assert!(start(&[]).contains("\"timeout\": \"7\""));
        fs::write(&overlay, "rewritten").unwrap();
        assert_eq!(start(&[]), "rewritten");
        assert!(start(&["--timeout", "8"]).contains("\"timeout\": \"8\""));
        assert!(start(&[]).contains("\"timeout\": \"7\""), "that was said for one start");
    }

    #[test]
    fn what_is_said_again_on_the_command_line_is_added_to_what_was_said_there() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("redis.conf");
        fs::write(&conf, format!("dir {}\nuser a on\nsave 1 1\n", dir.path().display())).unwrap();
        let words = ["--user", "b on +get", "--user", "c", "off", "--save", "5", "6", "--save", "7", "8"];
        let args: Vec<String> = std::iter::once(conf.display().to_string()).chain(words.map(str::to_owned)).collect();
        let file = fs::read_to_string(prepare(&args).unwrap()).unwrap();
        assert!(file.contains(r#"users: ["a on", "b on +get", "c off"]"#), "{file}");
        let overlay = fs::read_to_string(dir.path().join("keystead.overlay.ron")).unwrap();
        assert!(overlay.contains(r#""save": "5 6 7 8""#), "{overlay}");
    }

    #[test]
    fn a_sentinel_is_the_other_wrapper_s() {
        let args = ["s.conf", "--sentinel", "--port", "26380"].map(str::to_owned);
        let command = sentinel(&args);
        assert!(Path::new(command.get_program()).ends_with(SENTINEL), "{command:?}");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["s.conf", "--port", "26380"]);
    }

    #[test]
    fn nothing_is_appended_unless_asked_for_as_in_redis() {
        assert!(
            ron(&Directives::new(), Path::new("/")).contains("(name: \"persistence-aof\", config: (enabled: false, ))")
        );
    }
}
