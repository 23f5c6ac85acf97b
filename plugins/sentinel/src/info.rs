//! Reads what a data node says of itself in INFO.
//! Owns the field names; never judges a node by them (down.rs, select.rs and reconfigure.rs do).

use crate::accord;
use crate::types::Addr;

/// Replicas read of one INFO: each is compared with all that are known, and no more of them are remembered.
const MAX_LISTED: usize = crate::monitor::MAX_INSTANCES;

/// The role a data node reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `role:master`
    Primary,
    /// `role:slave`
    Replica,
}

impl Role {
    fn parse(word: &str) -> Option<Role> {
        match word {
            "master" => Some(Role::Primary),
            "slave" => Some(Role::Replica),
            _ => None,
        }
    }
}

/// One INFO answer, as far as a sentinel cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `run_id`, empty when absent.
    pub run_id: String,
    /// `role`, if it says one.
    pub role: Option<Role>,
    /// Replicas a primary lists.
    pub replicas: Vec<Addr>,
    /// A replica's primary, as an address.
    pub upstream: Option<Addr>,
    /// The same in the replica's own words: it may follow a name.
    pub upstream_said: Option<Addr>,
    /// `master_link_status:up`
    pub link_up: bool,
    /// How long the link to the primary has been down; nothing when it is up or never was.
    pub link_down_ms: Option<u64>,
    /// `slave_priority`
    pub priority: u32,
    /// `slave_repl_offset`; of a primary `master_repl_offset`
    pub offset: u64,
    /// `master_replid` and `master_replid2`: the history it goes on with, and the one it went on with before.
    pub history: String,
    /// See `history`.
    pub history_before: String,
    /// How long its process has been running, in whole seconds.
    pub uptime_ms: Option<u64>,
    /// `replica_announced`
    pub announced: bool,
    /// It is loading its data.
    pub loading: bool,
    /// It has keys.
    pub has_keys: bool,
    /// It is in the middle of a full sync.
    pub sync_in_progress: bool,
    /// It keeps its data because the primary it follows came back empty, or with less than it has.
    pub primary_lost_data: bool,
    /// The node it follows follows it, over any number of hops.
    pub looped: bool,
    /// It can't write its append-only file or its snapshot.
    pub disk_fails: bool,
    /// Clients may write to it only under a lease, and it has that now or it hasn't; nothing: it needs none.
    pub leased: Option<bool>,
    /// A sentinel's election strategies, in its words (`accord.rs`).
    pub elections: Option<String>,
    /// It is a Keystead (extensions of the wire may be used).
    pub keystead: bool,
}

impl Report {
    /// Reads INFO text. Unknown and malformed lines are skipped: other versions add fields.
    #[must_use]
    pub fn parse(text: &str) -> Report {
        let mut report = Report { priority: 100, announced: true, ..Report::default() };
        let (mut host, mut port) = (None, None);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key {
                "run_id" => report.run_id = value.to_owned(),
                "role" => report.role = Role::parse(value),
                "master_host" => host = Some(value.to_owned()),
                "master_port" => port = value.parse().ok(),
                "master_link_status" => report.link_up = value == "up",
                "master_link_down_since_seconds" => report.link_down_ms = seconds(value),
                "uptime_in_seconds" => report.uptime_ms = seconds(value),
                "master_replid" => value.clone_into(&mut report.history),
                "master_replid2" => value.clone_into(&mut report.history_before),
                "slave_priority" => report.priority = value.parse().unwrap_or(100),
                "master_repl_offset" if report.role == Some(Role::Primary) => {
                    report.offset = value.parse().unwrap_or(0)
                }
                "slave_repl_offset" => report.offset = value.parse().unwrap_or(0),
                "replica_announced" => report.announced = value != "0",
                "loading" => report.loading = value == "1",
                _ if key.strip_prefix("db").is_some_and(|n| n.parse::<u32>().is_ok()) => {
                    report.has_keys |= value.starts_with("keys=");
                }
                "master_sync_in_progress" => report.sync_in_progress = value == "1",
                "keystead_primary_came_back_empty" => report.primary_lost_data = value == "1",
                "keystead_replicaof_loop" => report.looped = value == "1",
                "aof_last_write_status" | "rdb_last_bgsave_status" => report.disk_fails |= value == "err",
                "lease_writes_allowed_ms" => report.leased = Some(value != "0"),
                "keystead_version" => report.keystead = true,
                accord::FIELD => report.elections = Some(value.to_owned()),
                _ if key.starts_with("slave") && report.replicas.len() < MAX_LISTED => {
                    report.replicas.extend(replica_line(key, value));
                }
                _ => {}
            }
        }
        if let (Some(Role::Replica), Some(host), Some(port)) = (report.role, host, port) {
            report.upstream = Some(Addr::new(host, port));
            report.upstream_said.clone_from(&report.upstream);
        }
        report
    }

    /// Between the report before and this one it began a history of its own, as whoever is told SLAVEOF NO ONE does: a new
    /// id, and the old one is the second. One that only says that it is a primary wasn't promoted by anybody. A server older
    /// than these ids (Redis 3) is taken by its word.
    #[must_use]
    pub fn began_history(&self, before: &Report) -> bool {
        if self.history.is_empty() && before.history.is_empty() {
            return true;
        }
        self.goes_on() && !self.history.is_empty() && self.history != before.history
    }

    /// It had a history before its present one: of a primary that was promoted, or began with data.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.history_before.bytes().any(|digit| digit != b'0')
    }
}

/// Whole seconds, in milliseconds; nothing of -1, which says that there is no such time.
fn seconds(value: &str) -> Option<u64> {
    Some(value.parse::<u64>().ok()?.saturating_mul(1000))
}

/// `slave0:ip=127.0.0.1,port=6380,state=online,offset=42,lag=0`
fn replica_line(key: &str, value: &str) -> Option<Addr> {
    key.strip_prefix("slave")?.parse::<u32>().ok()?;
    let field = |name: &str| value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let port = field("port")?.parse().ok().filter(|port| *port != 0)?;
    Some(Addr::new(field("ip")?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_with_its_replicas() {
        let report = Report::parse(
            "# Server\r\nrun_id:abc\r\nkeystead_version:0.1.0\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=127.0.0.1,port=6380,state=online,offset=42,lag=0\r\nslave1:ip=10.0.0.2,port=1,state=wait_bgsave\r\n\
             slave_expires_tracked_keys:0\r\nslavex:ip=1,port=2\r\nslave2:ip=10.0.0.3,port=0\r\n",
        );
        assert_eq!(report.run_id, "abc");
        assert!(report.keystead);
        assert_eq!(report.replicas, vec![Addr::new("127.0.0.1", 6380), Addr::new("10.0.0.2", 1)]);
        assert_eq!((report.role, report.upstream), (Some(Role::Primary), None));
        assert!(!report.has_keys && Report::parse("db3:keys=1,expires=0,avg_ttl=0\r\n").has_keys);
    }

    #[test]
    fn a_replica_whose_link_is_down_and_one_that_never_had_one() {
        let text = "role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nmaster_link_status:down\r\n\
                    master_link_down_since_seconds:7\r\nslave_repl_offset:99\r\nslave_priority:0\r\nloading:1\r\n";
        let report = Report::parse(text);
        assert_eq!((report.link_down_ms, report.priority, report.offset), (Some(7000), 0, 99));
        assert!(report.loading && !report.link_up);
        assert_eq!(report.upstream, Some(Addr::new("h", 1)));
        assert_eq!(Report::parse(&text.replace(":7", ":-1")).link_down_ms, None);
    }

    #[test]
    fn who_says_no_role_has_none() {
        for text in ["run_id:abc\r\n", "", "role:sentinel\r\n", "roles:master\r\n"] {
            assert_eq!(Report::parse(text).role, None, "{text:?}");
        }
    }

    #[test]
    fn a_promotion_moves_the_history() {
        let of = |id: &str, second: &str| Report::parse(&format!("master_replid:{id}\r\nmaster_replid2:{second}\r\n"));
        let none = "0000000000000000000000000000000000000000";
        let before = of("a", none);
        assert!(of("b", "a").began_history(&before));
        assert!(of("b", "x").began_history(&before), "it followed another history in between");
        assert!(!of("a", none).began_history(&before), "it says another role, and goes on with what it had");
        assert!(!of("b", none).began_history(&before), "an empty one's");
        assert!(!Report::parse("role:master\r\n").began_history(&before), "it says nothing any more");
        assert!(Report::default().began_history(&Report::default()), "Redis 3 has no ids");
    }
}
