//! What a person sees of the cluster: who is who, and the lines to try. Text only; it never writes any.

use super::layout::{Layout, MONITOR_NAME, Node, Role};
use std::ffi::OsStr;

/// What a node said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `Some("master")`, `Some("slave")`, `Some("sentinel")`, or nothing when it doesn't answer.
    pub role: Option<String>,
    /// Its replication offset.
    pub offset: u64,
    /// Whether a replica's link is up.
    pub link_up: bool,
    /// The port of the primary it follows.
    pub follows: Option<u16>,
}

impl Seen {
    /// Whether it says that it is the primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.role.as_deref() == Some("master")
    }

    /// The role in our words.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.role.as_deref() {
            Some("master") => Role::Primary.word(),
            Some("slave") => Role::Replica.word(),
            Some("sentinel") => Role::Sentinel.word(),
            Some(_) => "unknown",
            None => "down",
        }
    }

    /// One line about it, `lag` counted from the primary's offset.
    #[must_use]
    pub fn line(&self, primary_offset: Option<u64>) -> String {
        match self.role.as_deref() {
            Some("slave") if !self.link_up => format!("link down, offset {}", self.offset),
            Some("slave") => {
                let lag = primary_offset.map_or(0, |offset| offset.saturating_sub(self.offset));
                format!("follows {}, offset {}, lag {lag} bytes", self.follows.unwrap_or(0), self.offset)
            }
            Some("master") => format!("offset {}", self.offset),
            Some("sentinel") => format!("watches {MONITOR_NAME}"),
            _ => String::from("does not answer"),
        }
    }
}

/// The table of who is who.
#[must_use]
pub fn who_is_who(layout: &Layout, seen: &[Seen], pids: &[u32]) -> String {
    let primary_offset = seen.iter().find(|s| s.is_primary()).map(|s| s.offset);
    let mut text = String::new();
    for ((node, seen), pid) in layout.nodes.iter().zip(seen).zip(pids) {
        let sentinel = node.sentinel_port.map(|port| format!("  + sentinel on {port}")).unwrap_or_default();
        text.push_str(&format!(
            "  {role:<8}  127.0.0.1:{port:<5}  pid {pid:<7}  {line}{sentinel}\n",
            role = seen.word(),
            port = node.port,
            line = seen.line(primary_offset),
        ));
    }
    text
}

/// What to try next, with the ports filled in.
#[must_use]
pub fn lines_to_try(layout: &Layout, program: &str, primary: u16, primary_pid: u32) -> String {
    // One that still answers when the primary is killed.
    let stays = layout.nodes.iter().filter(|node| node.port != primary).find_map(Node::sentinel);
    let sentinel = stays.or_else(|| layout.nodes.iter().find_map(Node::sentinel)).unwrap_or(0);
    let replica = layout.nodes.iter().find(|n| n.has_data() && n.port != primary).map(|n| n.port);
    let mut text = format!("  redis-cli -p {primary} SET greeting hello\n");
    if let Some(replica) = replica {
        text.push_str(&format!("  redis-cli -p {replica} GET greeting\n"));
    }
    text.push_str(&format!("  redis-cli -p {sentinel} SENTINEL GET-MASTER-ADDR-BY-NAME {MONITOR_NAME}\n"));
    let then = if replica.is_some() { "and watch a replica take over here" } else { "nobody takes over: no replicas" };
    text.push_str(&format!("  kill -9 {primary_pid}    # {then}\n"));
    text.push_str(&format!("  {program} sentinel timeline --port {sentinel}    # what happened, and why\n"));
    text
}

/// Where `redis-cli` is to be had, if none is on this `PATH`.
#[must_use]
pub fn without_redis_cli(path: Option<&OsStr>) -> Option<&'static str> {
    let found = path.is_some_and(|path| std::env::split_paths(path).any(|dir| dir.join("redis-cli").is_file()));
    (!found).then_some("There is no redis-cli in PATH: the package redis-tools has it.\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_machine_without_redis_cli_is_told_where_it_is() {
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(with.path().join("redis-cli"), "").unwrap();
        let path = std::env::join_paths([without.path(), with.path()]).unwrap();
        assert_eq!(without_redis_cli(Some(&path)), None);
        for path in [Some(without.path().as_os_str()), Some(OsStr::new("")), None] {
            assert!(without_redis_cli(path).is_some_and(|told| told.contains("redis-tools")));
        }
    }

    #[test]
    fn the_picture_shows_roles_and_lag() {
        let layout = Layout::new(Path::new("/d"), 6380, 1, 1, false).unwrap();
        let seen = [
            Seen { role: Some("master".into()), offset: 100, ..Seen::default() },
            Seen { role: Some("slave".into()), offset: 90, link_up: true, follows: Some(6380) },
            Seen::default(),
        ];
        let text = who_is_who(&layout, &seen, &[1, 2, 3]);
        assert!(text.contains("primary   127.0.0.1:6380"), "{text}");
        assert!(text.contains("follows 6380, offset 90, lag 10 bytes"), "{text}");
        assert!(text.contains("down      127.0.0.1:26380"), "{text}");
    }

    #[test]
    fn the_sentinel_to_ask_outlives_the_primary() {
        for (embedded, sentinel) in [(true, 26381), (false, 26380)] {
            let layout = Layout::new(Path::new("/d"), 6380, 2, 3, embedded).unwrap();
            let text = lines_to_try(&layout, "keystead", 6380, 7);
            assert!(text.contains(&format!("redis-cli -p {sentinel} SENTINEL")), "{text}");
        }
    }

    #[test]
    fn without_replicas_nobody_is_promised() {
        for (replicas, promised) in [(0, false), (1, true)] {
            let layout = Layout::new(Path::new("/d"), 6380, replicas, 1, false).unwrap();
            let text = lines_to_try(&layout, "keystead", 6380, 7);
            assert!(text.contains("keystead sentinel timeline --port 26380"), "{text}");
            assert_eq!(text.contains("watch a replica take over"), promised, "{text}");
        }
    }
}
