//! Replies that describe what a sentinel knows: fields, order and words are Redis'.
//! Reads only.

use crate::commands::SUBCOMMANDS;
use crate::election::majority;
use crate::info::Role;
use crate::instance::{Instance, Repoint};
use crate::machine::Sentinel;
use crate::monitor::Monitor;
use crate::table::TABLE;
use crate::types::{Kind, Mono};
use crate::wire::Reply;

type Fields = Vec<(String, Reply)>;

fn put(fields: &mut Fields, name: &str, value: impl ToString) {
    fields.push((name.to_owned(), Reply::Bulk(value.to_string())));
}

/// `SENTINEL MASTERS`
pub(crate) fn primaries(sentinel: &Sentinel) -> Reply {
    let now = sentinel.shared.now;
    Reply::Array(sentinel.monitors.values().map(|m| Reply::Map(describe(m, m.primary(), 1, now))).collect())
}

/// `SENTINEL MASTER name`; the name is known.
pub(crate) fn primary(sentinel: &Sentinel, name: &str) -> Reply {
    let now = sentinel.shared.now;
    sentinel.monitors.get(name).map_or(Reply::NullArray, |m| Reply::Map(describe(m, m.primary(), 1, now)))
}

/// `SENTINEL REPLICAS name`, `SENTINEL SENTINELS name`; the name is known.
pub(crate) fn instances(sentinel: &Sentinel, name: &str, kind: Kind) -> Reply {
    let now = sentinel.shared.now;
    let announced = |i: &&Instance| kind != Kind::Replica || i.report.as_ref().is_none_or(|r| r.announced);
    let list = sentinel
        .monitors
        .get(name)
        .map(|m| m.of(kind).filter(announced).map(|i| Reply::Map(describe(m, i, sharing(sentinel, i), now))).collect());
    Reply::Array(list.unwrap_or_default())
}

/// How many instances are on the link to this one: a peer has one for all primaries it is known for.
fn sharing(sentinel: &Sentinel, i: &Instance) -> usize {
    let same = |other: &&Instance| other.run_id == i.run_id && other.addr == i.addr && other.command.is_up();
    match i.kind {
        Kind::Sentinel => sentinel.monitors.values().flat_map(|m| m.of(Kind::Sentinel)).filter(same).count().max(1),
        _ => 1,
    }
}

/// `SENTINEL GET-MASTER-ADDR-BY-NAME name`
pub(crate) fn address(sentinel: &Sentinel, name: &str) -> Reply {
    sentinel.monitors.get(name).map_or(Reply::NullArray, |m| {
        let addr = m.told_addr().faced(m.names_shown);
        Reply::Array(vec![Reply::Bulk(addr.host.clone()), Reply::Bulk(addr.port.to_string())])
    })
}

/// `SENTINEL CKQUORUM name`
pub(crate) fn check_quorum(monitor: &Monitor, disk: Option<&str>) -> Result<Reply, String> {
    // One whose disk doesn't take its votes gives none.
    let own = u32::from(disk.is_none());
    let note = disk.map_or_else(String::new, |fault| format!(" (this one can't vote: {fault})"));
    let usable = own + monitor.of(Kind::Sentinel).filter(|i| i.down_since.is_none()).count() as u32;
    let quorum = usable >= monitor.settings.quorum;
    let authorized = usable >= majority(monitor.voters());
    if quorum && authorized {
        return Ok(Reply::Status(format!(
            "OK {usable} usable Sentinels. Quorum and failover authorization can be reached{note}"
        )));
    }
    let mut text = format!("NOQUORUM {usable} usable Sentinels. ");
    if !quorum {
        text.push_str("Not enough available Sentinels to reach the specified quorum for this master");
    }
    if !authorized {
        text.push_str(if quorum { "" } else { ". " });
        text.push_str("Not enough available Sentinels to reach the majority and authorize a failover");
    }
    Err(text + &note)
}

/// `SENTINEL INFO-CACHE name …`
pub(crate) fn info_cache(sentinel: &Sentinel, names: &[String]) -> Reply {
    let now = sentinel.shared.now;
    let one = |i: &Instance| {
        let (age, text) = match &i.report {
            Some(_) => (now.since(i.report_at) as i64, Reply::Bulk(i.report_text.clone())),
            None => (0, Reply::Null),
        };
        Reply::Array(vec![Reply::Int(age), text])
    };
    let mut items = Vec::new();
    for monitor in sentinel.monitors.values().filter(|m| names.iter().any(|n| n == "*" || *n == m.name)) {
        let all = std::iter::once(monitor.primary()).chain(monitor.of(Kind::Replica)).map(one).collect();
        items.push(Reply::Bulk(monitor.name.clone()));
        items.push(Reply::Array(all));
    }
    Reply::Array(items)
}

/// `SENTINEL HELP`
pub(crate) fn help() -> Reply {
    let mut lines = vec![Reply::Status("SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".into())];
    for (name, _, _, syntax, what) in SUBCOMMANDS {
        let gap = if syntax.is_empty() { "" } else { " " };
        lines.push(Reply::Status(format!("{name}{gap}{syntax}")));
        lines.push(Reply::Status(format!("    {what}")));
    }
    Reply::Array(lines)
}

/// `ROLE` of a sentinel: the names it watches.
#[must_use]
pub fn role(sentinel: &Sentinel) -> Reply {
    let names = sentinel.monitors.keys().map(|name| Reply::Bulk(name.clone())).collect();
    Reply::Array(vec![Reply::Bulk("sentinel".into()), Reply::Array(names)])
}

/// `INFO sentinel`: field and value.
#[must_use]
pub fn info(sentinel: &Sentinel) -> Vec<(String, String)> {
    let mut lines = vec![
        ("sentinel_masters".to_owned(), sentinel.monitors.len().to_string()),
        ("sentinel_tilt".to_owned(), u8::from(sentinel.tilt.is_some()).to_string()),
        ("sentinel_tilt_since_seconds".to_owned(), sentinel.tilt_seconds().to_string()),
        ("sentinel_running_scripts".to_owned(), sentinel.scripts.running().to_string()),
        ("sentinel_scripts_queue_length".to_owned(), sentinel.scripts.len().to_string()),
        ("sentinel_simulate_failure_flags".to_owned(), sentinel.shared.simulate.to_string()),
    ];
    for (n, monitor) in sentinel.monitors.values().enumerate() {
        let status = match (monitor.odown_since, monitor.primary().down_since) {
            (Some(_), _) => "odown",
            (None, Some(_)) => "sdown",
            _ => "ok",
        };
        let addr = monitor.told_addr();
        // Here Redis writes an IPv6 address without brackets.
        let text = format!(
            "name={},status={status},address={}:{},slaves={},sentinels={}",
            monitor.name,
            addr.face(monitor.names_shown),
            addr.port,
            monitor.of(Kind::Replica).count(),
            monitor.voters()
        );
        lines.push((format!("master{n}"), text));
    }
    lines
}

fn describe(monitor: &Monitor, i: &Instance, sharing: usize, now: Mono) -> Fields {
    let mut fields = Fields::new();
    let f = &mut fields;
    put(f, "name", i.label(&monitor.name, monitor.names_shown));
    put(f, "ip", i.addr.face(monitor.names_shown));
    put(f, "port", i.addr.port);
    put(f, "runid", &i.run_id);
    put(f, "flags", flags(monitor, i, now));
    put(f, "link-pending-commands", i.pending);
    put(f, "link-refcount", sharing);
    if i.kind == Kind::Primary && monitor.failover.in_progress() {
        put(f, "failover-state", monitor.failover.wire_name());
    }
    put(f, "last-ping-sent", i.ping_since.map_or(0, |at| now.since(at)));
    put(f, "last-ok-ping-reply", now.since(i.last_valid));
    put(f, "last-ping-reply", now.since(i.last_reply));
    if let Some(at) = i.down_since {
        put(f, "s-down-time", now.since(at));
    }
    if let (Kind::Primary, Some(at)) = (i.kind, monitor.odown_since) {
        put(f, "o-down-time", now.since(at));
    }
    put(f, "down-after-milliseconds", monitor.settings.down_after_ms);
    match i.kind {
        Kind::Primary => {
            data_node(f, i, now);
            put(f, "config-epoch", monitor.config_epoch);
            put(f, "num-slaves", monitor.of(Kind::Replica).count());
            put(f, "num-other-sentinels", monitor.voters() - 1);
            for setting in TABLE {
                if let Some(value) = setting.shown(&monitor.settings) {
                    put(f, setting.option, value);
                }
            }
        }
        Kind::Replica => {
            data_node(f, i, now);
            let report = i.report.clone().unwrap_or_default();
            // Redis' number for a link that never was: INFO's -1 in seconds.
            let never = if i.report.is_some() { -1000 } else { 0 };
            let down_ms = report.link_down_ms.map_or(never, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
            put(f, "master-link-down-time", if report.link_up { 0 } else { down_ms });
            put(f, "master-link-status", if report.link_up { "ok" } else { "err" });
            let (host, port) = report.upstream_said.map_or(("?".to_owned(), 0), |addr| (addr.host, addr.port));
            put(f, "master-host", host);
            put(f, "master-port", port);
            put(f, "slave-priority", if i.report.is_some() { report.priority } else { 100 });
            put(f, "slave-repl-offset", report.offset);
            put(f, "replica-announced", u8::from(report.announced || i.report.is_none()));
        }
        Kind::Sentinel => {
            put(f, "last-hello-message", i.last_hello.map_or(0, |at| now.since(at)));
            let (leader, epoch) = i.vote.clone().map_or(("?".to_owned(), 0), |(leader, epoch)| (leader, epoch.0));
            put(f, "voted-leader", leader);
            put(f, "voted-leader-epoch", epoch);
        }
    }
    fields
}

fn data_node(f: &mut Fields, i: &Instance, now: Mono) {
    put(f, "info-refresh", i.report.as_ref().map_or(0, |_| now.since(i.report_at)));
    put(f, "role-reported", if i.role == Role::Primary { "master" } else { "slave" });
    put(f, "role-reported-time", now.since(i.role_since));
}

fn flags(monitor: &Monitor, i: &Instance, now: Mono) -> String {
    let mut list = Vec::new();
    if i.down_since.is_some() {
        list.push("s_down");
    }
    if i.kind == Kind::Primary && monitor.odown_since.is_some() {
        list.push("o_down");
    }
    list.push(i.kind.wire_name());
    if !i.command.is_up() {
        list.push("disconnected");
    }
    if i.sees_down(now) {
        list.push("master_down");
    }
    if i.kind == Kind::Primary && monitor.failover.in_progress() {
        list.push("failover_in_progress");
    }
    if monitor.failover.replica() == Some(i.id) {
        list.push("promoted");
    }
    match i.repoint {
        Repoint::None => {}
        Repoint::Sent(_) => list.push("reconf_sent"),
        Repoint::InProgress(_) => list.push("reconf_inprog"),
        Repoint::Done => list.push("reconf_done"),
    }
    if i.script_kill_sent {
        list.push("script_kill_sent");
    }
    list.join(",")
}
