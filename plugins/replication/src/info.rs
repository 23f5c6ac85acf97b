//! INFO replication and ROLE, field by field as Redis 7.2 prints them.
//!
//! Pure: a `View` gathered by the shell → lines. Monitoring tools, sentinels and the test suites parse these, so
//! names and order are Redis'; our own fields carry a `keystead_` prefix and come last.

use crate::history::History;
use crate::link::{Phase, Status, Target};
use crate::primary::Shared;
use crate::psync::Backlog;
use crate::units::{Offset, ReplId};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// The replica's half of the picture.
#[derive(Clone, Debug)]
pub struct Following {
    /// Whom.
    pub target: Target,
    /// The link.
    pub link: Status,
    /// `replica-priority`.
    pub priority: u32,
    /// `replica-read-only`.
    pub read_only: bool,
    /// `replica-announced`.
    pub announced: bool,
    /// The filter that lets a part through, on a filtered replica.
    pub filter: Option<String>,
}

/// All that INFO and ROLE look at.
#[derive(Clone, Debug)]
pub struct View {
    /// Monotonic time.
    pub now: Duration,
    /// Set on a replica.
    pub following: Option<Following>,
    /// Our replicas.
    pub replicas: Arc<Vec<Arc<Shared>>>,
    /// How many are good, when min-replicas-to-write asks.
    pub good: Option<usize>,
    /// The ids.
    pub history: History,
    /// Where the journal is.
    pub offset: Offset,
    /// What is kept, if anything is.
    pub backlog: Option<Backlog>,
    /// `repl-backlog-size`.
    pub backlog_size: u64,
    /// Where a FAILOVER stands.
    pub failover: &'static str,
}

/// Calls `field` with every line's name and value.
pub fn replication(view: &View, field: &mut dyn FnMut(&str, &dyn Display)) {
    field("role", &if view.following.is_some() { "slave" } else { "master" });
    if let Some(f) = &view.following {
        following(view, f, field);
    }
    field("connected_slaves", &view.replicas.len());
    if let Some(good) = view.good {
        field("min_slaves_good_slaves", &good);
    }
    for (n, r) in view.replicas.iter().enumerate() {
        let (word, offset, lag) = (r.state().word(), r.acked_offset(), r.lag_secs(view.now));
        let mut line = format!("ip={},port={},state={word},offset={offset},lag={lag}", r.ip, r.port);
        if let Some(filter) = &r.filter {
            line += &format!(",filter={filter}");
        }
        field(&format!("slave{n}"), &line);
    }
    field("master_failover_state", &view.failover);
    field("master_replid", &view.history.replid);
    match view.history.second {
        Some(second) => field("master_replid2", &second.replid),
        None => field("master_replid2", &ReplId::ZERO_TEXT),
    }
    field("master_repl_offset", &view.offset);
    match view.history.second {
        Some(second) => field("second_repl_offset", &second.limit),
        None => field("second_repl_offset", &-1),
    }
    let backlog = view.backlog.unwrap_or(Backlog { first: Offset(0), len: 0 });
    field("repl_backlog_active", &u8::from(view.backlog.is_some()));
    field("repl_backlog_size", &view.backlog_size);
    field("repl_backlog_first_byte_offset", &backlog.first);
    field("repl_backlog_histlen", &backlog.len);
    if view.following.as_ref().is_some_and(|f| f.link.kept_data) {
        field("keystead_primary_came_back_empty", &1);
    }
    if view.following.as_ref().is_some_and(|f| f.link.looped) {
        field("keystead_replicaof_loop", &1);
    }
}

fn following(view: &View, f: &Following, field: &mut dyn FnMut(&str, &dyn Display)) {
    let ago = |then: Duration| view.now.saturating_sub(then).as_secs();
    let up = f.link.phase == Phase::Connected;
    field("master_host", &f.target.host);
    field("master_port", &f.target.port);
    field("master_link_status", &if up { "up" } else { "down" });
    match f.link.last_io {
        Some(at) => field("master_last_io_seconds_ago", &ago(at)),
        None => field("master_last_io_seconds_ago", &-1),
    }
    field("master_sync_in_progress", &u8::from(f.link.phase == Phase::Sync));
    field("slave_read_repl_offset", &view.offset);
    field("slave_repl_offset", &view.offset);
    if let Some(sync) = &f.link.sync {
        let total = i128::from(sync.total.unwrap_or(0));
        let read = i128::from(sync.read);
        field("master_sync_total_bytes", &total);
        field("master_sync_read_bytes", &read);
        field("master_sync_left_bytes", &(total - read));
        let perc = if total == 0 { 0.0 } else { read as f64 * 100.0 / total as f64 };
        field("master_sync_perc", &format!("{perc:.2}"));
        field("master_sync_last_io_seconds_ago", &ago(sync.last_io));
    }
    if !up {
        match f.link.down_since {
            Some(at) => field("master_link_down_since_seconds", &ago(at)),
            None => field("master_link_down_since_seconds", &-1),
        }
    }
    field("slave_priority", &f.priority);
    field("slave_read_only", &u8::from(f.read_only));
    field("replica_announced", &u8::from(f.announced));
    if let Some(filter) = &f.filter {
        field("keystead_replica_filter", filter);
    }
}

/// ROLE's answer, before it is written.
#[derive(Debug, PartialEq, Eq)]
pub enum Role {
    /// `["master", offset, [[ip, port, offset] …]]`
    Primary {
        /// Our offset.
        offset: Offset,
        /// The replicas that are online or loading.
        replicas: Vec<(String, u16, Offset)>,
    },
    /// `["slave", host, port, state, offset]`
    Replica {
        /// The primary.
        target: Target,
        /// The link's state.
        state: &'static str,
        /// What we applied; -1 while there is no link.
        offset: i64,
    },
}

/// What ROLE answers.
pub fn role(view: &View) -> Role {
    match &view.following {
        None => Role::Primary {
            offset: view.offset,
            replicas: view
                .replicas
                .iter()
                // Who looks here for copies of the data must not find a part of it.
                .filter(|r| r.filter.is_none() && r.state() == crate::primary::PeerState::Online)
                .map(|r| (r.ip.clone(), r.port, r.acked_offset()))
                .collect(),
        },
        Some(f) => Role::Replica {
            target: f.target.clone(),
            state: f.link.phase.word(),
            offset: match f.link.phase {
                Phase::Connected => i64::try_from(view.offset.0).unwrap_or(i64::MAX),
                _ => -1,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Second;
    use crate::link::SyncProgress;
    use crate::primary::Registry;
    use crate::primary::replconf::Facts;

    fn id(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).expect("forty letters")
    }

    fn view() -> View {
        View {
            now: Duration::from_secs(100),
            following: None,
            replicas: Arc::new(Vec::new()),
            good: None,
            history: History::fresh(id(b'a')),
            offset: Offset(0),
            backlog: None,
            backlog_size: 1048576,
            failover: "no-failover",
        }
    }

    fn print(view: &View) -> String {
        let mut text = String::new();
        replication(view, &mut |name, value| text.push_str(&format!("{name}:{value}\n")));
        text
    }

    #[test]
    fn a_primary_without_replicas() {
        let a = "a".repeat(40);
        let zero = "0".repeat(40);
        let want = format!(
            "role:master\nconnected_slaves:0\nmaster_failover_state:no-failover\nmaster_replid:{a}\n\
             master_replid2:{zero}\nmaster_repl_offset:0\nsecond_repl_offset:-1\nrepl_backlog_active:0\n\
             repl_backlog_size:1048576\nrepl_backlog_first_byte_offset:0\nrepl_backlog_histlen:0\n"
        );
        assert_eq!(print(&view()), want);
    }

    #[test]
    fn a_primary_with_a_replica() {
        let registry = Registry::default();
        let facts = Facts { listening_port: 7001, ..Facts::default() };
        let peer = Arc::new(Shared::new(5, "127.0.0.1".into(), &facts));
        registry.add(&peer);
        let mut v = view();
        v.replicas = registry.all();
        v.good = Some(0);
        v.history.second = Some(Second { replid: id(b'b'), limit: Offset(51) });
        v.backlog = Some(Backlog { first: Offset(1), len: 84 });
        let text = print(&v);
        assert!(text.contains("connected_slaves:1\nmin_slaves_good_slaves:0\n"), "{text}");
        assert!(text.contains("slave0:ip=127.0.0.1,port=7001,state=wait_bgsave,offset=0,lag=0\n"), "{text}");
        assert!(text.contains("second_repl_offset:51\nrepl_backlog_active:1\n"), "{text}");
        assert!(text.ends_with("repl_backlog_first_byte_offset:1\nrepl_backlog_histlen:84\n"), "{text}");
        assert_eq!(role(&v), Role::Primary { offset: Offset(0), replicas: vec![] }, "it isn't online yet");
    }

    #[test]
    fn a_replica_in_each_phase() {
        let target = Target { host: "h".into(), port: 1 };
        let mut f = Following {
            target: target.clone(),
            link: Status::default(),
            priority: 100,
            read_only: true,
            announced: true,
            filter: None,
        };
        f.link = Status { phase: Phase::Connected, last_io: Some(Duration::from_secs(97)), ..Status::default() };
        let mut v = View { following: Some(f.clone()), offset: Offset(9), ..view() };
        let up = "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:up\nmaster_last_io_seconds_ago:3\n\
                  master_sync_in_progress:0\nslave_read_repl_offset:9\nslave_repl_offset:9\nslave_priority:100\n\
                  slave_read_only:1\nreplica_announced:1\nconnected_slaves:0\n";
        assert!(print(&v).starts_with(up), "{}", print(&v));
        assert_eq!(role(&v), Role::Replica { target: target.clone(), state: "connected", offset: 9 });
        f.link = Status {
            phase: Phase::Sync,
            sync: Some(SyncProgress { total: Some(400), read: 100, last_io: Duration::from_secs(99) }),
            down_since: Some(Duration::from_secs(90)),
            ..Status::default()
        };
        v.following = Some(f);
        let text = print(&v);
        let sync = "master_link_status:down\nmaster_last_io_seconds_ago:-1\nmaster_sync_in_progress:1\n\
                    slave_read_repl_offset:9\nslave_repl_offset:9\nmaster_sync_total_bytes:400\n\
                    master_sync_read_bytes:100\nmaster_sync_left_bytes:300\nmaster_sync_perc:25.00\n\
                    master_sync_last_io_seconds_ago:1\nmaster_link_down_since_seconds:10\nslave_priority:100\n";
        assert!(text.contains(sync), "{text}");
        assert_eq!(role(&v), Role::Replica { target, state: "sync", offset: -1 });
    }
}
