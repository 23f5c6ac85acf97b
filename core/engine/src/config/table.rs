//! One row per parameter of the core: Redis' name, its other spelling, what it may hold, its default. Parameters of
//! plugins join at run time.

use keystead_keyspace::Policy;

use super::value::Kind;

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Redis' name.
    pub name: &'static str,
    /// The other spelling, if there is one.
    pub alias: Option<&'static str>,
    /// What it may hold.
    pub kind: Kind,
    /// Redis' default.
    pub default: &'static str,
    /// CONFIG SET may change it.
    pub mutable: bool,
    /// An endpoint (a sentinel's port) has it too.
    pub endpoint: bool,
    /// It concerns the whole process, or what its operator gave it: an endpoint beside a data port can't change it.
    pub process: bool,
}

const fn live(name: &'static str, kind: Kind, default: &'static str) -> Param {
    Param { name, alias: None, kind, default, mutable: true, endpoint: false, process: false }
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str) -> Param {
    Param { name, alias: None, kind, default, mutable: false, endpoint: false, process: false }
}

const fn alias(mut param: Param, other: &'static str) -> Param {
    param.alias = Some(other);
    param
}

/// A parameter that endpoints have too.
const fn both(mut param: Param) -> Param {
    param.endpoint = true;
    param
}

/// The same, and not to be changed there if the process serves data.
const fn shared(mut param: Param) -> Param {
    param.process = true;
    both(param)
}

const INT: i64 = i32::MAX as i64;
const BIG: i64 = i64::MAX;
const LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];

/// All parameters of the core.
pub const PARAMS: &[Param] = &[
    // network
    both(live("bind", Kind::Text, "127.0.0.1 -::1")),
    both(live("port", Kind::Int(0, 65535), "6379")),
    both(live("bind-source-addr", Kind::Text, "")),
    both(fixed("tcp-backlog", Kind::Int(0, INT), "511")),
    both(fixed("unixsocket", Kind::Text, "")),
    both(fixed("unixsocketperm", Kind::Text, "0")),
    both(live("protected-mode", Kind::Bool, "yes")),
    both(live("timeout", Kind::Int(0, INT), "0")),
    both(live("tcp-keepalive", Kind::Int(0, INT), "300")),
    both(live("maxclients", Kind::Int(1, 0xffff_ffff), "10000")),
    // TLS
    shared(live("tls-port", Kind::Int(0, 65535), "0")),
    shared(live("tls-cert-file", Kind::Text, "")),
    shared(live("tls-key-file", Kind::Text, "")),
    shared(live("tls-key-file-pass", Kind::Text, "")),
    shared(live("tls-client-cert-file", Kind::Text, "")),
    shared(live("tls-client-key-file", Kind::Text, "")),
    shared(live("tls-client-key-file-pass", Kind::Text, "")),
    shared(live("tls-ca-cert-file", Kind::Text, "")),
    shared(live("tls-ca-cert-dir", Kind::Text, "")),
    shared(live("tls-auth-clients", Kind::Word(&["no", "yes", "optional"]), "yes")),
    shared(live("tls-replication", Kind::Bool, "no")),
    shared(live("tls-protocols", Kind::Text, "")),
    shared(live("tls-ciphers", Kind::Text, "")),
    shared(live("tls-ciphersuites", Kind::Text, "")),
    shared(live("tls-prefer-server-ciphers", Kind::Bool, "no")),
    shared(live("tls-session-caching", Kind::Bool, "yes")),
    shared(live("tls-session-cache-size", Kind::Int(0, INT), "20480")),
    shared(live("tls-session-cache-timeout", Kind::Int(0, INT), "300")),
    // general
    both(fixed("daemonize", Kind::Bool, "no")),
    both(fixed("pidfile", Kind::Text, "")),
    both(fixed("dir", Kind::Text, ".")),
    shared(live("loglevel", Kind::Word(LEVELS), "notice")),
    both(fixed("logfile", Kind::Text, "")),
    fixed("databases", Kind::Int(1, INT), "16"),
    both(live("hz", Kind::Nearest(1, 500), "10")),
    shared(live("shutdown-timeout", Kind::Int(0, INT), "10")),
    shared(live("shutdown-on-sigint", Kind::EndOptions, "default")),
    shared(live("shutdown-on-sigterm", Kind::EndOptions, "default")),
    // security
    both(live("requirepass", Kind::Text, "")),
    both(fixed("aclfile", Kind::Text, "")),
    both(live("acllog-max-len", Kind::Int(0, BIG), "128")),
    both(live("acl-pubsub-default", Kind::Word(&["allchannels", "resetchannels"]), "resetchannels")),
    both(live("auth-timeout", Kind::Int(0, INT), "0")),
    both(fixed("enable-protected-configs", Kind::Word(&["no", "yes", "local"]), "no")),
    both(fixed("enable-debug-command", Kind::Word(&["no", "yes", "local"]), "local")),
    // limits
    both(live("client-output-buffer-limit", Kind::OutputLimits, DEFAULT_OUTPUT_LIMITS)),
    both(live("maxmemory-clients", Kind::MemoryOrPercent, "0")),
    both(live("client-query-buffer-limit", Kind::Memory(1 << 20, BIG), "1073741824")),
    both(live("proto-max-bulk-len", Kind::Memory(1 << 20, BIG), "536870912")),
    // memory
    live("maxmemory", Kind::Memory(0, BIG), "0"),
    live("maxmemory-policy", Kind::Word(Policy::WORDS), "noeviction"),
    live("maxmemory-samples", Kind::Int(1, INT), "5"),
    live("maxmemory-eviction-tenacity", Kind::Int(0, 100), "10"),
    alias(live("replica-ignore-maxmemory", Kind::Bool, "yes"), "slave-ignore-maxmemory"),
    live("lfu-log-factor", Kind::Int(0, INT), "10"),
    live("lfu-decay-time", Kind::Int(0, INT), "1"),
    live("lazyfree-lazy-eviction", Kind::Bool, "no"),
    live("lazyfree-lazy-expire", Kind::Bool, "no"),
    live("lazyfree-lazy-server-del", Kind::Bool, "no"),
    live("lazyfree-lazy-user-del", Kind::Bool, "no"),
    live("lazyfree-lazy-user-flush", Kind::Bool, "no"),
    // collections
    alias(live("hash-max-listpack-entries", Kind::Int(0, BIG), "512"), "hash-max-ziplist-entries"),
    alias(live("hash-max-listpack-value", Kind::Memory(0, BIG), "64"), "hash-max-ziplist-value"),
    alias(live("list-max-listpack-size", Kind::Int(-INT - 1, INT), "-2"), "list-max-ziplist-size"),
    live("hll-sparse-max-bytes", Kind::Memory(0, BIG), "3000"),
    live("set-max-intset-entries", Kind::Int(0, BIG), "512"),
    live("set-max-listpack-entries", Kind::Int(0, BIG), "128"),
    live("set-max-listpack-value", Kind::Int(0, BIG), "64"),
    alias(live("zset-max-listpack-entries", Kind::Int(0, BIG), "128"), "zset-max-ziplist-entries"),
    live("stream-node-max-bytes", Kind::Memory(0, BIG), "4096"),
    live("stream-node-max-entries", Kind::Int(0, BIG), "100"),
    alias(live("zset-max-listpack-value", Kind::Memory(0, BIG), "64"), "zset-max-ziplist-value"),
    // Keystead's own: what is written for peers that said nothing of themselves
    live("rdb-version", Kind::Int(10, 12), "10"),
    // expiry
    live("active-expire-effort", Kind::Int(1, 10), "1"),
    // client-side caching
    live("tracking-table-max-keys", Kind::Int(0, BIG), "1000000"),
    // watching
    live("notify-keyspace-events", Kind::Events, ""),
    live("latency-tracking", Kind::Bool, "yes"),
    live("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9"),
    both(live("slowlog-log-slower-than", Kind::Int(-1, BIG), "10000")),
    both(live("slowlog-max-len", Kind::Int(0, BIG), "128")),
    both(live("latency-monitor-threshold", Kind::Int(0, BIG), "0")),
    // persistence and replication, as long as no plugin takes these over
    live("save", Kind::Save, ""),
    live("appendonly", Kind::Word(&["no"]), "no"),
    live("stop-writes-on-bgsave-error", Kind::Bool, "yes"),
    live("propagation-error-behavior", Kind::Word(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    live("replica-ignore-disk-write-errors", Kind::Bool, "yes"),
];

const DEFAULT_OUTPUT_LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
