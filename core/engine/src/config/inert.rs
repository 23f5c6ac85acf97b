//! Parameters of Redis that are accepted and change nothing here, each with the reason. `configs/PARAMETERS.md` lists them
//! for users; a test keeps the two in step. None of them is in a RON file.

use super::table::Param;
use super::value::Kind;

/// A parameter and why it changes nothing.
#[derive(Debug)]
pub struct Inert {
    /// Name, values, default.
    pub param: Param,
    /// The reason, as users read it.
    pub why: &'static str,
}

const fn inert(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Inert {
    Inert { param: Param { name, alias: None, kind, default, mutable: true, endpoint: false, process: false }, why }
}

/// CONFIG SET is refused, as for any parameter that is set at the start.
const fn fixed(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Inert {
    let mut row = inert(name, kind, default, why);
    row.param.mutable = false;
    row
}

const fn aliased(mut row: Inert, other: &'static str) -> Inert {
    row.param.alias = Some(other);
    row
}

const INT: i64 = i32::MAX as i64;
const BIG: i64 = i64::MAX;
const NO: Kind = Kind::Word(&["no"]);

const ALLOCATOR: &str = "mimalloc moves nothing that lives; whole free pages go back by themselves";
const CLUSTER: &str = "there is no cluster mode";
const DRIVER: &str = "one driver serves all sockets";
const HUGE_PAGES: &str = "huge pages are used, but for memory that is new while a snapshot is open";
const FORK: &str = "nothing forks";
const INIT: &str = "the service manager's business";
const LOG: &str = "the log goes to standard error or a file";
const TABLE: &str = "tables grow and shrink in small steps whatever it says";

/// All of them.
pub const INERT: &[Inert] = &[
    fixed("always-show-logo", Kind::Bool, "no", "there is no logo"),
    inert("activedefrag", NO, "no", ALLOCATOR),
    inert("active-defrag-cycle-max", Kind::Int(1, 99), "25", ALLOCATOR),
    inert("active-defrag-cycle-min", Kind::Int(1, 99), "1", ALLOCATOR),
    inert("active-defrag-ignore-bytes", Kind::Memory(1, BIG), "104857600", ALLOCATOR),
    inert("active-defrag-max-scan-fields", Kind::Int(1, BIG), "1000", ALLOCATOR),
    inert("active-defrag-threshold-lower", Kind::Int(0, 1000), "10", ALLOCATOR),
    inert("active-defrag-threshold-upper", Kind::Int(0, 1000), "100", ALLOCATOR),
    inert("activerehashing", Kind::Bool, "yes", TABLE),
    fixed("cluster-enabled", NO, "no", CLUSTER),
    inert("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes", CLUSTER),
    inert("cluster-allow-reads-when-down", Kind::Bool, "no", CLUSTER),
    inert("cluster-allow-replica-migration", Kind::Bool, "yes", CLUSTER),
    inert("cluster-announce-bus-port", Kind::Int(0, 65535), "0", CLUSTER),
    inert("cluster-announce-hostname", Kind::Hostname, "", CLUSTER),
    inert("cluster-announce-human-nodename", Kind::Nickname, "", CLUSTER),
    inert("cluster-announce-ip", Kind::Text, "", CLUSTER),
    inert("cluster-announce-port", Kind::Int(0, 65535), "0", CLUSTER),
    inert("cluster-announce-tls-port", Kind::Int(0, 65535), "0", CLUSTER),
    fixed("cluster-config-file", Kind::Text, "nodes.conf", CLUSTER),
    inert("cluster-link-sendbuf-limit", Kind::Memory(0, BIG), "0", CLUSTER),
    inert("cluster-migration-barrier", Kind::Int(0, INT), "1", CLUSTER),
    inert("cluster-node-timeout", Kind::Int(0, BIG), "15000", CLUSTER),
    fixed("cluster-port", Kind::Int(0, 65535), "0", CLUSTER),
    inert("cluster-preferred-endpoint-type", Kind::Word(&["ip", "hostname", "unknown-endpoint"]), "ip", CLUSTER),
    aliased(inert("cluster-replica-no-failover", Kind::Bool, "no", CLUSTER), "cluster-slave-no-failover"),
    aliased(
        inert("cluster-replica-validity-factor", Kind::Int(0, INT), "10", CLUSTER),
        "cluster-slave-validity-factor",
    ),
    inert("cluster-ping-interval", Kind::Int(0, INT), "1000", CLUSTER),
    inert("cluster-require-full-coverage", Kind::Bool, "yes", CLUSTER),
    inert("crash-log-enabled", Kind::Bool, "yes", "a panic is logged with its place"),
    inert("crash-memcheck-enabled", Kind::Bool, "yes", "there is no memory test"),
    fixed("disable-thp", Kind::Bool, "no", HUGE_PAGES),
    inert("dynamic-hz", Kind::Bool, "yes", "the background rounds wake when something is due"),
    fixed("enable-module-command", Kind::Word(&["no"]), "no", "plugins are listed in the RON file"),
    inert("ignore-warnings", Kind::Text, "", "it is for a bug of another system's kernel"),
    fixed("io-threads", Kind::Int(1, 128), "1", DRIVER),
    fixed("io-threads-do-reads", Kind::Bool, "no", DRIVER),
    inert("jemalloc-bg-thread", Kind::Bool, "yes", ALLOCATOR),
    inert("list-compress-depth", Kind::Int(0, INT), "0", "nodes of lists aren't compressed in memory"),
    inert(
        "loading-process-events-interval-bytes",
        Kind::Int(1, INT),
        "2097152",
        "clients are answered during every load",
    ),
    inert("locale-collate", Kind::Text, "", "SORT compares bytes"),
    inert("oom-score-adj", NO, "no", INIT),
    inert("oom-score-adj-values", Kind::OomScores, "0 200 800", INIT),
    inert("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}", INIT),
    inert("repl-disable-tcp-nodelay", Kind::Bool, "no", "the stream leaves in whole turns, not command by command"),
    aliased(
        inert("replica-lazy-flush", Kind::Bool, "no", "old data is freed beside the commands whatever it says"),
        "slave-lazy-flush",
    ),
    inert(
        "rdb-del-sync-files",
        Kind::Bool,
        "no",
        "a full sync's file stays where save points keep it fresh, and only there",
    ),
    inert(
        "sanitize-dump-payload",
        Kind::Word(&["no", "yes", "clients"]),
        "yes",
        "RESTORE checks its payload for everybody",
    ),
    fixed("server_cpulist", Kind::Text, "", INIT),
    fixed("bio_cpulist", Kind::Text, "", INIT),
    fixed("aof_rewrite_cpulist", Kind::Text, "", FORK),
    fixed("bgsave_cpulist", Kind::Text, "", FORK),
    fixed("set-proc-title", Kind::Word(&["no"]), "no", INIT),
    fixed("socket-mark-id", Kind::Int(0, 0), "0", "sockets carry no mark"),
    fixed(
        "supervised",
        NO,
        "no",
        "systemd is told of the start and the end whenever NOTIFY_SOCKET is set, as by `auto`",
    ),
    fixed("syslog-enabled", NO, "no", LOG),
    fixed("syslog-facility", Kind::Text, "local0", LOG),
    fixed("syslog-ident", Kind::Text, "keystead", LOG),
    inert("tls-cluster", NO, "no", CLUSTER),
    inert(
        "tls-dh-params-file",
        Kind::Word(&[""]),
        "",
        "keys are agreed on by elliptic curves, which need no parameters",
    ),
    inert("use-exit-on-panic", Kind::Bool, "no", "a panic becomes an error, or ends the process at once"),
    inert("watchdog-period", Kind::Int(0, 0), "0", "slow commands are in SLOWLOG and LATENCY"),
];

#[cfg(test)]
mod tests {
    use super::super::PARAMS;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_parameter_is_there_twice_and_defaults_are_allowed() {
        let mut seen = BTreeSet::new();
        for param in PARAMS.iter().chain(INERT.iter().map(|row| &row.param)) {
            assert!(seen.insert(param.name), "{} is there twice", param.name);
            let normal = super::super::value::normalise(param.kind, param.default, param.default);
            let fine = normal.is_ok() || param.name == "client-output-buffer-limit" || param.name == "maxmemory-policy";
            assert!(fine, "{}: {normal:?}", param.name);
        }
    }

    #[test]
    fn users_can_read_the_reasons() {
        let rows: String = INERT.iter().map(|row| format!("| `{}` | {} |\n", row.param.name, row.why)).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/PARAMETERS.md");
        let head = "# Parameters that change nothing\n\nCONFIG GET and SET know these names of Redis, so that scripts and \
                    tools go on working; here they have no effect, for the\nreason beside each. This list is made by a test \
                    of the engine.\n\n| parameter | why |\n|---|---|\n";
        let text = format!("{head}{rows}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).expect("writable");
        }
        assert_eq!(std::fs::read_to_string(path).expect("there"), text, "UPDATE=1 rewrites it");
    }
}
