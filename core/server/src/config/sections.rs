//! The core's settings: one row a setting with its field, type, default and Redis' name. Types only; reading files is
//! `load.rs`, and what a setting does is the business of whoever asks for it.

use super::bytes::{Bytes, BytesOrShare};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The sections of a file, as `--set` and "did you mean" know them.
pub(crate) const TOP_LEVEL: &[&str] = &[
    "server",
    "tls",
    "limits",
    "memory",
    "encoding",
    "expire",
    "slowlog",
    "log",
    "plugin_dirs",
    "plugins",
    "services",
];

/// Whether a path of `--set` begins with a section rather than with a plugin's name.
pub(crate) fn is_top_level(word: &str) -> bool {
    TOP_LEVEL.contains(&word)
}

/// A value in the words of CONFIG GET.
pub(crate) trait RedisText {
    /// The text; `None` if the setting is absent and Redis has no word for that.
    fn redis_text(&self) -> String;
}

impl RedisText for bool {
    fn redis_text(&self) -> String {
        if *self { "yes" } else { "no" }.into()
    }
}

impl RedisText for String {
    fn redis_text(&self) -> String {
        self.clone()
    }
}

impl<T: RedisText> RedisText for Option<T> {
    fn redis_text(&self) -> String {
        self.as_ref().map(RedisText::redis_text).unwrap_or_default()
    }
}

impl RedisText for Vec<String> {
    fn redis_text(&self) -> String {
        self.join(" ")
    }
}

impl RedisText for BTreeMap<String, Vec<String>> {
    fn redis_text(&self) -> String {
        self.iter().map(|(name, lines)| format!("{name}: {}", lines.join(", "))).collect::<Vec<_>>().join("; ")
    }
}

macro_rules! redis_text_of_numbers {
    ($($number:ty),*) => {$(
        impl RedisText for $number {
            fn redis_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
redis_text_of_numbers!(u16, u32, u64, i64, usize);

/// One setting as seen from outside its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its path in RON, `server.port`.
    pub(crate) path: &'static str,
    /// Its name in CONFIG; `None` for settings that Redis doesn't have.
    pub(crate) redis: Option<&'static str>,
    /// Its value in CONFIG's words.
    pub(crate) value: String,
}

macro_rules! section {
    ($(#[$meta:meta])* $section:ident $name:literal {
        $($(#[$doc:meta])* $field:ident : $type:ty = $default:expr $(=> $redis:literal)?;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $section {
            $($(#[$doc])* pub(crate) $field: $type,)*
        }

        impl Default for $section {
            fn default() -> Self {
                $section { $($field: $default,)* }
            }
        }

        impl $section {
            /// All settings of the section in the file's order.
            pub(crate) fn settings(&self) -> Vec<Setting> {
                vec![$(Setting {
                    path: concat!($name, ".", stringify!($field)),
                    redis: section!(@redis $($redis)?),
                    value: self.$field.redis_text(),
                },)*]
            }
        }
    };
    (@redis) => { None };
    (@redis $redis:literal) => { Some($redis) };
}

section! {
    /// Where the instance listens and lives.
    Server "server" {
        /// Addresses to listen on; a leading `-` makes one optional.
        bind: Vec<String> = vec!["127.0.0.1".into()] => "bind";
        /// TCP port; 0 opens none.
        port: u16 = 6379 => "port";
        /// Path of a unix socket.
        unixsocket: Option<String> = None => "unixsocket";
        /// Its mode, octal digits as text; without it, what the umask leaves.
        unixsocketperm: Option<String> = None => "unixsocketperm";
        /// Length of the queue of connections not yet accepted.
        tcp_backlog: u32 = 511 => "tcp-backlog";
        /// Own address from which links to other nodes are made.
        bind_source_addr: Option<String> = None => "bind-source-addr";
        /// Refuse other machines while there is no password and no explicit bind.
        protected_mode: bool = true => "protected-mode";
        /// Number of databases.
        databases: u32 = 16 => "databases";
        /// Password of the default user.
        requirepass: Option<String> = None => "requirepass";
        /// Users, as `name rules…` in the words of ACL SETUSER.
        users: Vec<String> = Vec::new();
        /// The same for ports of plugins, by the port's name.
        endpoint_users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        /// File with the users instead, from `dir`; ACL LOAD and SAVE read and write it.
        aclfile: Option<String> = None => "aclfile";
        /// Refusals that ACL LOG keeps.
        acllog_max_len: u64 = 128 => "acllog-max-len";
        /// What new users may do with channels: `resetchannels` (nothing) or `allchannels`.
        acl_pubsub_default: String = "resetchannels".into() => "acl-pubsub-default";
        /// Who may use DEBUG: `no`, `local` (connections from this machine) or `yes`.
        enable_debug_command: String = "local".into() => "enable-debug-command";
        /// Who may CONFIG SET `dir` and `dbfilename`: `no` (nobody), `local` or `yes`.
        enable_protected_configs: String = "no".into() => "enable-protected-configs";
        /// Seconds a stop waits for replicas that lag.
        shutdown_timeout: u32 = 10 => "shutdown-timeout";
        /// What SIGINT means: `default`, or options of SHUTDOWN such as `nosave now`.
        shutdown_on_sigint: String = "default".into() => "shutdown-on-sigint";
        /// What SIGTERM means.
        shutdown_on_sigterm: String = "default".into() => "shutdown-on-sigterm";
        /// Which keyspace events are published, in Redis' letters; empty: none.
        notify_keyspace_events: String = String::new() => "notify-keyspace-events";
        /// Folder for everything the instance writes.
        dir: String = ".".into() => "dir";
        /// Detach from the terminal.
        daemonize: bool = false => "daemonize";
        /// File that holds the process id while the instance runs.
        pidfile: Option<String> = None => "pidfile";
    }
}

section! {
    /// Encrypted connections. Files are PEM; their paths are from `dir`.
    Tls "tls" {
        /// Port for TLS, beside or instead of `server.port`; 0 opens none.
        port: u16 = 0 => "tls-port";
        /// The server's certificate, with those between it and the authority behind it.
        cert_file: Option<String> = None => "tls-cert-file";
        /// Its key.
        key_file: Option<String> = None => "tls-key-file";
        /// What the key is encrypted with (PKCS#8).
        key_file_pass: Option<String> = None => "tls-key-file-pass";
        /// Certificate shown on connections that this server makes; none: the server's.
        client_cert_file: Option<String> = None => "tls-client-cert-file";
        /// Its key.
        client_key_file: Option<String> = None => "tls-client-key-file";
        /// What that key is encrypted with.
        client_key_file_pass: Option<String> = None => "tls-client-key-file-pass";
        /// The authorities whose certificates are accepted.
        ca_cert_file: Option<String> = None => "tls-ca-cert-file";
        /// A folder with more of them; every file in it is read.
        ca_cert_dir: Option<String> = None => "tls-ca-cert-dir";
        /// Must clients show a certificate: `yes`, `no`, or `optional` (if they show one it must be good).
        auth_clients: String = "yes".into() => "tls-auth-clients";
        /// Links to a primary and a sentinel's links use TLS.
        replication: bool = false => "tls-replication";
        /// `TLSv1.2`, `TLSv1.3`; empty: both.
        protocols: String = String::new() => "tls-protocols";
        /// Ciphers of TLS 1.2 in OpenSSL's names, separated by colons; empty: all.
        ciphers: String = String::new() => "tls-ciphers";
        /// The same for TLS 1.3.
        ciphersuites: String = String::new() => "tls-ciphersuites";
        /// The server's order of ciphers counts, not the client's.
        prefer_server_ciphers: bool = false => "tls-prefer-server-ciphers";
        /// Clients may resume sessions.
        session_caching: bool = true => "tls-session-caching";
        /// How many sessions are kept for that.
        session_cache_size: u32 = 20 * 1024 => "tls-session-cache-size";
        /// Seconds for which.
        session_cache_timeout: u32 = 300 => "tls-session-cache-timeout";
    }
}

section! {
    /// What a client may take.
    Limits "limits" {
        /// Connections at once. A plugin's port beside the data port has 1000 at most, unless CONFIG SET there says otherwise.
        maxclients: u32 = 10_000 => "maxclients";
        /// Seconds after which an idle client is closed; 0 never.
        timeout: u32 = 0 => "timeout";
        /// Seconds a client has to authenticate; 0 for ever.
        auth_timeout: u32 = 0 => "auth-timeout";
        /// Seconds between TCP keep-alive probes; 0 none.
        tcp_keepalive: u32 = 300 => "tcp-keepalive";
        /// Bytes of the largest argument.
        proto_max_bulk_len: Bytes = Bytes(512 << 20) => "proto-max-bulk-len";
        /// Bytes a client may have sent that aren't executed yet.
        client_query_buffer_limit: Bytes = Bytes(1 << 30) => "client-query-buffer-limit";
        /// Bytes of all clients' buffers, or a share of maxmemory ("5%"): beyond, the largest clients are closed. 0: no limit.
        maxmemory_clients: BytesOrShare = BytesOrShare("0".into()) => "maxmemory-clients";
        /// Keys whose readers are remembered for client-side caching; 0: no limit.
        tracking_table_max_keys: u64 = 1_000_000 => "tracking-table-max-keys";
        /// Bytes a client may leave unread: class, hard limit, soft limit, seconds above the soft limit.
        client_output_buffer_limit: String =
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60".into() => "client-output-buffer-limit";
    }
}

section! {
    /// How much memory may be used, and what goes when that is not enough.
    Memory "memory" {
        /// Bytes; 0: no limit.
        maxmemory: Bytes = Bytes(0) => "maxmemory";
        /// `noeviction`, or `allkeys-` or `volatile-` with `lru`, `lfu` or `random`, or `volatile-ttl`.
        policy: String = "noeviction".into() => "maxmemory-policy";
        /// Keys looked at before one is chosen.
        samples: u32 = 5 => "maxmemory-samples";
        /// 0 to 100: how much one command waits for; 100: until there is room.
        eviction_tenacity: u32 = 10 => "maxmemory-eviction-tenacity";
        /// A replica leaves eviction to its primary.
        replica_ignores: bool = true => "replica-ignore-maxmemory";
        /// How much harder each step of the counter of uses is.
        lfu_log_factor: u32 = 10 => "lfu-log-factor";
        /// Minutes after which that counter loses one; 0: never.
        lfu_decay_time: u32 = 1 => "lfu-decay-time";
        /// Replicas are told UNLINK instead of DEL of evicted keys; big values are always freed in the background.
        lazyfree_lazy_eviction: bool = false => "lazyfree-lazy-eviction";
        /// The same of expired keys.
        lazyfree_lazy_expire: bool = false => "lazyfree-lazy-expire";
    }
}

section! {
    /// Up to which size collections stay in their compact form, and in which version values are written.
    Encoding "encoding" {
        /// The version of RDB files, of full syncs and of DUMP: 10 is what Redis 7.0 reads, 12 carries hash fields that expire.
        /// Files that need it are written in 12 in place of 10, unless CONFIG SET chose 10.
        rdb_version: u32 = 10 => "rdb-version";
        /// Fields of a hash.
        hash_max_listpack_entries: u32 = 512 => "hash-max-listpack-entries";
        /// Bytes of a hash's longest field or value.
        hash_max_listpack_value: Bytes = Bytes(64) => "hash-max-listpack-value";
        /// Elements of a list, or its bytes: -1 to -5 for 4 to 64 KiB.
        list_max_listpack_size: i64 = -2 => "list-max-listpack-size";
        /// Bytes of a sparse HyperLogLog.
        hll_sparse_max_bytes: Bytes = Bytes(3000) => "hll-sparse-max-bytes";
        /// Members of a set of integers.
        set_max_intset_entries: u32 = 512 => "set-max-intset-entries";
        /// Members of a set of other strings.
        set_max_listpack_entries: u32 = 128 => "set-max-listpack-entries";
        /// Bytes of such a set's longest member.
        set_max_listpack_value: u32 = 64 => "set-max-listpack-value";
        /// Bytes of a stream's block of entries; 0 is no limit of its own.
        stream_node_max_bytes: Bytes = Bytes(4096) => "stream-node-max-bytes";
        /// Entries of such a block; 0 is no limit.
        stream_node_max_entries: u32 = 100 => "stream-node-max-entries";
        /// Members of a sorted set.
        zset_max_listpack_entries: u32 = 128 => "zset-max-listpack-entries";
        /// Bytes of a sorted set's longest member.
        zset_max_listpack_value: Bytes = Bytes(64) => "zset-max-listpack-value";
    }
}

section! {
    /// How eagerly expired keys are looked for.
    Expire "expire" {
        /// Rounds of background work a second.
        hz: u32 = 10 => "hz";
        /// 1 to 10: the share of time spent on it.
        active_expire_effort: u32 = 1 => "active-expire-effort";
    }
}

section! {
    /// Which commands SLOWLOG and LATENCY keep.
    Slowlog "slowlog" {
        /// Microseconds; negative keeps none, 0 keeps all.
        log_slower_than: i64 = 10_000 => "slowlog-log-slower-than";
        /// How many it keeps.
        max_len: u64 = 128 => "slowlog-max-len";
        /// Milliseconds from which LATENCY keeps an event; 0 keeps none.
        latency_monitor_threshold: u64 = 0 => "latency-monitor-threshold";
        /// Keep a histogram of each command's times, for LATENCY HISTOGRAM and INFO latencystats.
        latency_tracking: bool = true => "latency-tracking";
        /// The percentiles that INFO latencystats shows.
        latency_tracking_info_percentiles: String = "50 99 99.9".into() => "latency-tracking-info-percentiles";
    }
}

section! {
    /// Where log lines go.
    Log "log" {
        /// `warning`, `notice` (`info`), `verbose` or `debug`.
        level: String = "notice".into() => "loglevel";
        /// File to append to; none is standard error.
        file: Option<String> = None => "logfile";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_know_their_path_name_and_text() {
        let all = Server { requirepass: Some("x".into()), ..Server::default() }.settings();
        assert_eq!(all[1], Setting { path: "server.port", redis: Some("port"), value: "6379".into() });
        assert!(all.iter().any(|s| s.path == "server.requirepass" && s.value == "x"));
        assert!(all.iter().any(|s| s.redis == Some("daemonize") && s.value == "no"));
        assert!(all.iter().any(|s| s.redis == Some("unixsocket") && s.value.is_empty()));
    }
}
