//! For people who come from Redis: where a directive of redis.conf or sentinel.conf, or a flag of redis-server, is set here.
//! Only tells; nothing of Redis' form is ever read as a setting. `configs/DIRECTIVES.md` is made from it by a test.

use super::load::default_settings;
use keystead_engine::config::{INERT, PARAMS, parse_memory};

/// Those of plugins, with the path for `--set`: the plugin's name and the field of its configuration.
const OF_PLUGINS: &[(&str, &str)] = &[
    ("replicaof", "replication.replicaof"),
    ("replica-priority", "replication.priority"),
    ("replica-read-only", "replication.read_only"),
    ("replica-serve-stale-data", "replication.serve_stale_data"),
    ("replica-announced", "replication.announced"),
    ("replica-announce-ip", "replication.announce_ip"),
    ("replica-announce-port", "replication.announce_port"),
    ("masteruser", "replication.auth_user"),
    ("masterauth", "replication.auth_password"),
    ("repl-timeout", "replication.timeout_s"),
    ("repl-ping-replica-period", "replication.ping_period_s"),
    ("repl-backlog-size", "replication.backlog_size"),
    ("repl-backlog-ttl", "replication.backlog_ttl_s"),
    ("min-replicas-to-write", "replication.min_replicas_to_write"),
    ("min-replicas-max-lag", "replication.min_replicas_max_lag_s"),
    ("repl-diskless-sync", "replication.diskless_sync"),
    ("repl-diskless-sync-delay", "replication.diskless_sync_delay_s"),
    ("repl-diskless-sync-max-replicas", "replication.diskless_sync_max_replicas"),
    ("repl-diskless-load", "replication.diskless_load"),
    ("replica-ignore-disk-write-errors", "replication.ignore_disk_write_errors"),
    ("propagation-error-behavior", "replication.propagation_errors"),
    ("save", "persistence-rdb.save"),
    ("dbfilename", "persistence-rdb.dbfilename"),
    ("rdbcompression", "persistence-rdb.rdbcompression"),
    ("rdbchecksum", "persistence-rdb.rdbchecksum"),
    ("rdb-save-incremental-fsync", "persistence-rdb.rdb_save_incremental_fsync"),
    ("stop-writes-on-bgsave-error", "persistence-rdb.stop_writes_on_bgsave_error"),
    ("rdb-key-save-delay", "persistence-rdb.rdb_key_save_delay"),
    ("key-load-delay", "persistence-rdb.key_load_delay"),
    ("appendonly", "persistence-aof.enabled"),
    ("appendfsync", "persistence-aof.fsync"),
    ("appenddirname", "persistence-aof.dir_name"),
    ("appendfilename", "persistence-aof.file_name"),
    ("no-appendfsync-on-rewrite", "persistence-aof.no_fsync_on_rewrite"),
    ("auto-aof-rewrite-percentage", "persistence-aof.rewrite_percentage"),
    ("auto-aof-rewrite-min-size", "persistence-aof.rewrite_min_size"),
    ("aof-rewrite-incremental-fsync", "persistence-aof.rewrite_incremental_fsync"),
    ("aof-load-truncated", "persistence-aof.load_truncated"),
    ("aof-use-rdb-preamble", "persistence-aof.rdb_preamble"),
    ("aof-timestamp-enabled", "persistence-aof.timestamps"),
    ("busy-reply-threshold", "scripting.busy_reply_threshold_ms"),
    ("lua-time-limit", "scripting.busy_reply_threshold_ms"),
];

/// Those that are no parameters, in words.
const OTHERS: &[(&str, &str)] = &[
    ("sentinel", "a sentinel is an instance whose file lists only the plugin 'sentinel', as configs/sentinel.ron does"),
    ("user", "users are the lines of server.users, or those of the file server.aclfile"),
    ("include", "there is one RON file an instance; the command line changes it by --set"),
    ("loadmodule", "plugins are listed in the RON file"),
    ("rename-command", "commands keep their names; server.users says who may use them"),
];

/// Where a directive is set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// By this path of the file; `--set` knows it too.
    Path(String),
    /// Nowhere, or in another way.
    Words(String),
}

fn place(name: &str) -> Option<Place> {
    let name = today(&name.to_ascii_lowercase());
    let of_plugin = OF_PLUGINS.iter().find(|(redis, _)| *redis == name).map(|(_, path)| (*path).to_owned());
    let own = || default_settings().into_iter().find(|row| row.redis == Some(&name)).map(|row| row.path.to_owned());
    if let Some(path) = of_plugin.or_else(own) {
        return Some(Place::Path(path));
    }
    let other = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, words)| (*words).to_owned());
    let inert = || INERT.iter().find(|row| row.param.name == name);
    let live = || PARAMS.iter().find(|param| param.name == name);
    let words = other
        .or_else(|| inert().map(|row| format!("it has no effect here: {}", row.why)))
        .or_else(|| live().map(|_| "CONFIG SET sets it, CONFIG REWRITE keeps it".to_owned()));
    words.map(Place::Words)
}

/// A directive's name of today for one of before: `slaveof`, `hash-max-ziplist-value`.
fn today(name: &str) -> String {
    let aliased = PARAMS.iter().chain(INERT.iter().map(|row| &row.param)).find(|param| param.alias == Some(name));
    aliased.map_or_else(|| name.replace("slave", "replica"), |param| param.name.to_owned())
}

/// A text that is a redis.conf or a sentinel.conf: where its first directive stands, or its first comment if it has none,
/// and where that directive is set here.
pub(super) fn redis_conf(text: &str) -> Option<(usize, Option<String>)> {
    let mut start = 0;
    let mut comment = None;
    for line in text.split_inclusive('\n') {
        let (at, line) = (start + line.len() - line.trim_start().len(), line.trim());
        start += text[start..].find('\n').map_or(0, |end| end + 1);
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') && !line.starts_with("#!") {
            comment.get_or_insert(at);
            continue;
        }
        let name = line.split_once(char::is_whitespace).map(|(name, _)| name)?;
        let shown = if is_sentinels(text) { "sentinel" } else { name };
        return place(name).and(place(shown)).map(|place| (at, Some(told(shown, place))));
    }
    comment.map(|at| (at, None))
}

/// A sentinel.conf may begin with directives that a redis.conf has too.
fn is_sentinels(text: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("sentinel")))
}

fn told(name: &str, place: Place) -> String {
    match place {
        Place::Path(path) => format!("'{name}' is set by {path}"),
        Place::Words(words) => format!("'{name}': {words}"),
    }
}

/// Where a field is set that stands somewhere else, or why nowhere.
pub(super) fn set_by(field: &str) -> Option<String> {
    match place(&field.replace('_', "-"))? {
        Place::Path(path) => Some(format!("it is set by {path}")),
        Place::Words(words) => Some(words),
    }
}

/// What somebody wants who gives the flag `--name` of redis-server, with these values.
pub(crate) fn flag(name: &str, values: &[String]) -> Option<String> {
    match place(name)? {
        Place::Words(words) => Some(words),
        Place::Path(path) if values.is_empty() => Some(format!("'--set {path}=…' sets it")),
        Place::Path(path) => {
            let value = ron(&path, values);
            let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:%".contains(c)) && !value.is_empty();
            let value = if plain { value } else { format!("'{}'", value.replace('\'', "'\\''")) };
            Some(format!("'--set {path}={value}' sets it{}", needs(&path)))
        }
    }
}

/// Which plugin a start without a file doesn't list.
fn needs(path: &str) -> &'static str {
    if path.starts_with("persistence-aof.") { " where the file lists the plugin, as configs/aof.ron does" } else { "" }
}

/// The value as `--set` takes it.
fn ron(path: &str, values: &[String]) -> String {
    let bytes = |text: &str| parse_memory(text).filter(|_| text.starts_with(|c: char| c.is_ascii_digit()));
    let words: Vec<&str> = values.iter().flat_map(|value| value.split_whitespace()).collect();
    match (path, values) {
        ("replication.replicaof", _) if words.len() == 2 => format!("(\"{}\", {})", words[0], words[1]),
        ("persistence-rdb.save", _) => {
            let points: Vec<String> = words.chunks_exact(2).map(|point| format!("({})", point.join(", "))).collect();
            format!("[{}]", points.join(", "))
        }
        ("server.bind", all) => {
            let all: Vec<String> = all.iter().map(|address| format!("\"{address}\"")).collect();
            format!("[{}]", all.join(", "))
        }
        // Words of their own.
        ("persistence-aof.fsync", all) => all.join(" "),
        (_, [word]) if *word == "yes" && is_flag(path) => "true".to_owned(),
        (_, [word]) if *word == "no" && is_flag(path) => "false".to_owned(),
        // Plugins count in bytes.
        ("replication.backlog_size" | "persistence-aof.rewrite_min_size", [word]) => {
            bytes(word).map_or_else(|| word.clone(), |bytes| bytes.to_string())
        }
        (_, all) => all.join(" "),
    }
}

/// These have `yes` and `no` among other words.
const WORDS: &[&str] = &["server.enable_debug_command", "server.enable_protected_configs", "tls.auth_clients"];

/// Yes is true there.
fn is_flag(path: &str) -> bool {
    !WORDS.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::super::load::parse;
    use super::super::scan::{Found, field, root};
    use super::*;

    #[test]
    fn every_path_is_one_of_the_file_of_all_keys() {
        let text = include_str!("../../../../configs/all-keys.ron");
        let document = Document::new(text.into());
        for (name, path) in OF_PLUGINS {
            let (plugin, key) = path.split_once('.').expect("plugin.field");
            let index = document.plugin_names().iter().position(|name| name == plugin).expect("it is listed");
            let at = document.place_of_entry(index);
            assert!(at > root(text).start, "{plugin}");
            let section = &text[at..at + text[at..].find("\n        ),").expect("it ends")];
            assert!(section.contains(&format!("\n                {key}: ")), "{name}: {path}");
        }
        for row in default_settings() {
            let (section, key) = row.path.split_once('.').expect("section.field");
            let Found::Value(range) = field(text, root(text), section) else { panic!("no {section}") };
            assert!(matches!(field(text, range, key), Found::Value(_)), "{}", row.path);
        }
    }

    #[test]
    fn every_parameter_of_redis_has_its_place() {
        let all = PARAMS.iter().chain(INERT.iter().map(|row| &row.param));
        for param in all {
            assert!(place(param.name).is_some(), "{}", param.name);
            assert!(param.alias.is_none_or(|alias| place(alias) == place(param.name)), "{}", param.name);
        }
        assert_eq!(place("slaveof"), place("replicaof"));
        assert_eq!(place("min-slaves-max-lag"), Some(Place::Path("replication.min_replicas_max_lag_s".into())));
        assert_eq!(place("MaxMemory"), Some(Place::Path("memory.maxmemory".into())));
        assert_eq!(place("frobnicate"), None);
    }

    #[test]
    fn a_redis_conf_is_known_by_its_first_line() {
        let told = |text: &str| redis_conf(text).map(|(at, told)| (at, told.unwrap_or_default()));
        assert_eq!(told("# c\n\n  port 7\nbind ::1"), Some((7, "'port' is set by server.port".into())));
        assert_eq!(told("\r\nSAVE 60 1\r\n"), Some((2, "'SAVE' is set by persistence-rdb.save".into())));
        for text in ["sentinel monitor m ::1 1 1", "port 7\nsentinel monitor m ::1 1 1"] {
            assert!(told(text).is_some_and(|(at, told)| at == 0 && told.contains("configs/sentinel.ron")), "{text}");
        }
        assert!(told("io-threads 4").is_some_and(|(_, told)| told.contains("no effect here")));
        assert_eq!(told("# only\n# comments\n"), Some((0, String::new())));
        for ron in ["", "(port 7)", "// port\n()", "#![enable(implicit_some)]\n()", "port", "port: 7", "frobnicate 7"] {
            assert_eq!(told(ron), None, "{ron}");
        }
    }

    #[test]
    fn flags_of_redis_server_are_said_as_set_takes_them() {
        let cases: &[(&[&str], &str)] = &[
            (&["requirepass", "x"], "--set server.requirepass=x"),
            (&["requirepass", "it's (odd)"], "--set server.requirepass='it'\\''s (odd)'"),
            (&["protected-mode", "no"], "--set server.protected_mode=false"),
            (&["tls-auth-clients", "no"], "--set tls.auth_clients=no"),
            (&["daemonize", "yes"], "--set server.daemonize=true"),
            (&["maxmemory", "1gb"], "--set memory.maxmemory=1gb"),
            (&["save", ""], "--set persistence-rdb.save='[]'"),
            (&["save", "60 1 300", "10"], "--set persistence-rdb.save='[(60, 1), (300, 10)]'"),
            (&["replicaof", "10.0.0.1", "6379"], "--set replication.replicaof='(\"10.0.0.1\", 6379)'"),
            (&["slaveof", "h 6379"], "--set replication.replicaof='(\"h\", 6379)'"),
            (&["repl-backlog-size", "1mb"], "--set replication.backlog_size=1048576"),
            (&["appendonly", "yes"], "--set persistence-aof.enabled=true' sets it where the file lists the plugin"),
            (&["appendfsync", "no"], "--set persistence-aof.fsync=no"),
            (&["sentinel"], "lists only the plugin 'sentinel'"),
            (&["supervised", "systemd"], "NOTIFY_SOCKET"),
            (&["logfile"], "--set log.file=…"),
        ];
        for (words, told) in cases {
            let values: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
            let tip = flag(words[0], &values).expect("known");
            assert!(tip.contains(told), "{words:?}\n  told: {tip}\n  not:  {told}");
        }
        assert_eq!(flag("frobnicate", &[]), None);
    }

    #[test]
    fn a_redis_conf_is_refused_in_words() {
        let edits = [super::super::load::Edit::parse("server.port=7").expect("path=value")];
        for edits in [&edits[..], &[]] {
            let told = parse("redis.conf", "# mine\nbind 127.0.0.1\n".into(), edits).expect_err("no RON").to_string();
            assert!(told.starts_with("redis.conf:2:1: this looks like a configuration of Redis"), "{told}");
            assert!(told.contains("'bind' is set by server.bind") && told.contains("configs/all-keys.ron"), "{told}");
        }
    }

    /// Names that directives of plugins had before Redis 5.
    const BEFORE: &[&str] = &[
        "slaveof",
        "slave-priority",
        "slave-read-only",
        "slave-serve-stale-data",
        "slave-announce-ip",
        "slave-announce-port",
        "repl-ping-slave-period",
        "min-slaves-to-write",
        "min-slaves-max-lag",
    ];

    /// What a sentinel.conf has, and the field of the plugin's configuration or of an entry of its monitors.
    const OF_SENTINELS: &[(&str, &str)] = &[
        ("port", "port"),
        ("tls-port", "tls_port"),
        ("requirepass", "password"),
        ("sentinel announce-ip", "announce_ip"),
        ("sentinel announce-port", "announce_port"),
        ("sentinel resolve-hostnames", "resolve_hostnames"),
        ("sentinel announce-hostnames", "announce_hostnames"),
        ("sentinel deny-scripts-reconfig", "deny_scripts_reconfig"),
        ("sentinel sentinel-user", "sentinel_user"),
        ("sentinel sentinel-pass", "sentinel_pass"),
        ("sentinel monitor NAME HOST PORT QUORUM", "monitors"),
        ("sentinel down-after-milliseconds", "monitors: down_after_ms"),
        ("sentinel parallel-syncs", "monitors: parallel_syncs"),
        ("sentinel failover-timeout", "monitors: failover_timeout_ms"),
        ("sentinel master-reboot-down-after-period", "monitors: reboot_down_after_ms"),
        ("sentinel auth-user", "monitors: auth_user"),
        ("sentinel auth-pass", "monitors: auth_pass"),
        ("sentinel notification-script", "monitors: notification_script"),
        ("sentinel client-reconfig-script", "monitors: client_reconfig_script"),
        ("sentinel rename-command", "monitors: renamed_commands"),
    ];

    fn of_sentinels() -> String {
        let keys = include_str!("../../../../configs/all-keys.ron");
        let keys = &keys[keys.find("name: \"sentinel\"").expect("it is listed")..];
        let rows = OF_SENTINELS.iter().map(|(name, path)| {
            let (monitor, field) =
                path.split_once(": ").map_or(("", *path), |(_, field)| ("an entry of `monitors`: ", field));
            assert!(keys.contains(&format!(" {field}: ")), "{field}");
            let path = if monitor.is_empty() { format!("sentinel.{field}") } else { field.to_owned() };
            format!("| `{name}` | {monitor}`{path}` |\n")
        });
        let head = "\n## sentinel.conf\n\nA sentinel is an instance whose file lists only the plugin `sentinel`, as \
                    [sentinel.ron](sentinel.ron) does. What a sentinel of Redis notes in its file by itself\n(`myid`, epochs, \
                    known replicas and sentinels) is found again and needs no place.\n\n| directive | here |\n|---|---|\n";
        head.to_owned() + &rows.collect::<String>()
    }

    #[test]
    fn users_can_read_where_directives_are_set() {
        let row = |name: &str, place: &str| format!("| `{name}` | {place} |\n");
        let own = default_settings().into_iter().filter_map(|s| Some(row(s.redis?, &format!("`{}`", s.path))));
        let plugins = OF_PLUGINS.iter().map(|(name, path)| row(name, &format!("`{path}`")));
        let others = OTHERS.iter().map(|(name, words)| row(name, words));
        let tabled: Vec<String> = own.chain(plugins).chain(others).collect();
        let said = |name: &str| match place(name).expect("known") {
            Place::Path(path) => format!("`{path}`"),
            Place::Words(words) => words,
        };
        let placed = |name: &str| tabled.iter().any(|line| line.starts_with(&format!("| `{name}` |")));
        let unplaced = PARAMS.iter().map(|param| param.name).filter(|name| !placed(name) && place(name).is_some());
        let before = PARAMS.iter().filter_map(|param| param.alias).chain(BEFORE.iter().copied());
        let rows: String =
            tabled.iter().cloned().chain(unplaced.chain(before).map(|name| row(name, &said(name)))).collect();
        let head = "# Where the directives of redis.conf are set\n\nKeystead reads RON: [all-keys.ron](all-keys.ron) shows every \
                    setting in its place, with its default. A path begins with a section of the file or with\na plugin's \
                    name; `--set PATH=VALUE` takes the same. What isn't here changes nothing ([PARAMETERS.md](PARAMETERS.md)). \
                    This list is made by a test of\ncore/server.\n\n\
                    | directive | here |\n|---|---|\n";
        let text = format!("{head}{rows}{}", of_sentinels());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/DIRECTIVES.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).expect("writable");
        }
        assert_eq!(std::fs::read_to_string(path).expect("there"), text, "UPDATE=1 rewrites it");
    }
}
