//! Comparing what two servers hold, and saying where they differ.

use std::collections::BTreeMap;

use keystead_harness::{Client, DEADLINE, eventually};

/// An offset and the digest of all keys at that offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// `master_repl_offset`.
    pub offset: u64,
    /// DEBUG DIGEST.
    pub digest: String,
}

/// The primary's mark: the digest between two equal readings of the offset.
#[track_caller]
pub fn mark_of_primary(client: &mut Client) -> Mark {
    let mark = eventually(DEADLINE, || {
        let before = offset(client, "master_repl_offset")?;
        let digest = digest(client);
        (offset(client, "master_repl_offset")? == before).then_some(Mark { offset: before, digest })
    });
    mark.expect("the primary comes to rest")
}

/// The replica's mark once it has applied everything up to `offset`.
#[track_caller]
pub fn mark_of_replica(client: &mut Client, until: u64) -> Mark {
    let reached = eventually(DEADLINE, || {
        let info = client.info("replication");
        let applied = info.get("slave_repl_offset")?.parse().ok()?;
        (info.get("master_link_status")? == "up" && applied >= until).then_some(applied)
    });
    let offset =
        reached.unwrap_or_else(|| panic!("the replica doesn't reach {until}: {:?}", client.info("replication")));
    Mark { offset, digest: digest(client) }
}

fn offset(client: &mut Client, field: &str) -> Option<u64> {
    client.info("replication").get(field)?.parse().ok()
}

/// DEBUG DIGEST.
#[track_caller]
pub fn digest(client: &mut Client) -> String {
    let reply = client.cmd("DEBUG DIGEST");
    reply.as_text().unwrap_or_else(|| panic!("DEBUG DIGEST: {reply:?}"))
}

/// Keys that two servers hold differently, one line each.
pub fn differences(a: &mut Client, b: &mut Client, databases: &[u32]) -> String {
    let mut lines = Vec::new();
    for db in databases {
        let (left, right) = (keys(a, *db), keys(b, *db));
        for key in left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (l, r) = (left.get(key), right.get(key));
            if l != r {
                lines.push(format!("db {db}, {key}: {} | {}", show(l), show(r)));
            }
        }
    }
    lines.join("\n")
}

/// What the groups of all streams have pending, one line each: the digest knows nothing of them. Times are left out, and
/// how many entries a group has read, which Redis doesn't tell replicas of every read.
pub fn groups(client: &mut Client, databases: &[u32]) -> Vec<String> {
    let mut lines = Vec::new();
    for db in databases {
        client.cmd(&format!("SELECT {db}"));
        for key in client.cmd("KEYS *").texts() {
            if client.command(&["TYPE", &key]) != "stream" {
                continue;
            }
            for group in client.command(&["XINFO", "GROUPS", &key]).items() {
                let about = group.items();
                let name = about[1].as_text().unwrap_or_default();
                lines.push(format!("{db} {key} {name}: {:?}", &about[2..8]));
                for pending in client.command(&["XPENDING", &key, &name, "-", "+", "1000"]).items() {
                    let [id, owner, _, count] = &pending.items()[..] else { panic!("XPENDING: {pending:?}") };
                    lines.push(format!("{db} {key} {name}: {id:?} {owner:?} {count:?}"));
                }
            }
        }
    }
    lines.sort();
    lines
}

fn show(state: Option<&String>) -> &str {
    state.map_or("(no such key)", String::as_str)
}

/// Every key with its type, expiry and value as text.
fn keys(client: &mut Client, db: u32) -> BTreeMap<String, String> {
    client.cmd(&format!("SELECT {db}"));
    let names = client.cmd("KEYS *").texts();
    names.into_iter().map(|name| (name.clone(), state(client, &name))).collect()
}

fn state(client: &mut Client, key: &str) -> String {
    let kind = client.command(&["TYPE", key]).as_text().unwrap_or_default();
    let expiry = client.command(&["PEXPIRETIME", key]);
    let value = match kind.as_str() {
        "string" => client.command(&["GET", key]),
        "list" => client.command(&["LRANGE", key, "0", "-1"]),
        "set" => client.command(&["SMEMBERS", key]),
        "hash" => client.command(&["HGETALL", key]),
        "zset" => client.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
        "stream" => client.command(&["XRANGE", key, "-", "+"]),
        other => return format!("type {other}"),
    };
    let mut shown = if kind == "set" || kind == "hash" {
        let mut words = value.texts();
        if kind == "set" {
            words.sort();
        }
        format!("{words:?}")
    } else {
        format!("{value:?}")
    };
    if shown.len() > 600 {
        let mut end = 600;
        while !shown.is_char_boundary(end) {
            end -= 1;
        }
        shown.truncate(end);
    }
    format!("{kind} until {expiry:?}: {shown}")
}
