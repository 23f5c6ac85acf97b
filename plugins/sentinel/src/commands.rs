//! SENTINEL and its subcommands, and PUBLISH of a hello: Redis' names, arguments, replies and error texts.
//! Owns the parsing and the small changes (MONITOR, REMOVE, RESET); replies that describe instances are query.rs'.

use crate::actions::{Action, CRASH_AFTER_ELECTION, CRASH_AFTER_PROMOTION, Watch};
use crate::ballot::Ask;
use crate::events::Level;
use crate::explain::Wish;
use crate::glob::glob;
use crate::handover::Way;
use crate::machine::{Sentinel, touch};
use crate::query;
use crate::settings::{Settings, valid_name};
use crate::state::SavedMonitor;
use crate::timeline::Timeline;
use crate::types::{Addr, Epoch, Kind};
use crate::wire::{HELLO_CHANNEL, Named, Reply, integer};
use std::net::IpAddr;

type Answer = Result<Reply, String>;

const NO_SUCH: &str = "ERR No such master with that name";

/// The subcommands: name, number of arguments behind it (at least, at most), syntax, what it does.
pub const SUBCOMMANDS: &[(&str, usize, usize, &str, &str)] = &[
    ("CKQUORUM", 1, 1, "<primary-name>", "Check that quorum and majority can be reached."),
    (
        "CONFIG",
        1,
        usize::MAX,
        "GET <param> [...] | SET <param> <value> [...]",
        "Settings that concern the whole sentinel.",
    ),
    ("DEBUG", 0, usize::MAX, "[<param> <ms> ...]", "Periods and limits in milliseconds, for tests."),
    ("CONFIRM", 1, 1, "<primary-name>", "Let a failover begin that the election strategy leaves to an operator."),
    ("EXPLAIN", 1, 1, "<primary-name>", "What this sentinel believes, what it would do, what blocks a failover."),
    (
        "FAILOVER",
        1,
        2,
        "<primary-name> [FORCE | COORDINATED | DRYRUN]",
        "Fail over without asking the other sentinels, by handing over if the primary can, or say what would happen.",
    ),
    ("FLUSHCONFIG", 0, 0, "", "Write the state file."),
    ("FORGET", 2, 2, "<primary-name> <id>", "Forget a sentinel (by id) or replica (by ip:port) that is gone for good."),
    ("GET-MASTER-ADDR-BY-NAME", 1, 1, "<primary-name>", "The address of the primary of that name."),
    ("GET-PRIMARY-ADDR-BY-NAME", 1, 1, "<primary-name>", "The same."),
    ("HELP", 0, 0, "", "Print this help."),
    ("INFO-CACHE", 1, usize::MAX, "<primary-name> [...]", "The last INFO of the primary and its replicas."),
    ("IS-GONE", 2, 2, "<primary-name> <id>", "A peer's question: is that sentinel or replica missed here too?"),
    ("IS-MASTER-DOWN-BY-ADDR", 4, 7, "<ip> <port> <current-epoch> <runid>", "A peer's question, and a vote."),
    ("IS-PRIMARY-DOWN-BY-ADDR", 4, 7, "<ip> <port> <current-epoch> <runid>", "The same."),
    ("MASTER", 1, 1, "<primary-name>", "State of a primary."),
    ("MASTERS", 0, 0, "", "State of all primaries."),
    ("MONITOR", 4, 4, "<name> <ip> <port> <quorum>", "Begin to watch a primary."),
    ("MYID", 0, 0, "", "The id of this sentinel."),
    ("PENDING-SCRIPTS", 0, 0, "", "Scripts that run or wait."),
    ("PRIMARIES", 0, 0, "", "State of all primaries."),
    ("PRIMARY", 1, 1, "<primary-name>", "State of a primary."),
    ("REMOVE", 1, 1, "<primary-name>", "Stop watching a primary."),
    ("REPLICAS", 1, 1, "<primary-name>", "State of a primary's replicas."),
    ("RESET", 1, 1, "<pattern>", "Forget replicas and sentinels of the matching primaries."),
    ("SENTINELS", 1, 1, "<primary-name>", "State of a primary's other sentinels."),
    (
        "SET",
        3,
        usize::MAX,
        "<primary-name> <option> <value> [...] [UNSET <option> ...] [GROUP]",
        "Change settings of a primary, here or everywhere, or go back to what the configuration file says.",
    ),
    ("SIMULATE-FAILURE", 1, usize::MAX, "crash-after-election | crash-after-promotion | HELP", "End at that point."),
    (
        "SPREAD",
        1,
        usize::MAX,
        "<primary-name> [<option> <epoch> <author> <value> ...]",
        "A peer's settings of the group.",
    ),
    ("SLAVES", 1, 1, "<primary-name>", "State of a primary's replicas."),
    ("TIMELINE", 0, 3, "[<primary-name>] [<count>] [JSON]", "The last failovers, step by step."),
];

/// Those that only look.
const LOOKS: &[&str] = &[
    "CKQUORUM",
    "EXPLAIN",
    "GET-MASTER-ADDR-BY-NAME",
    "GET-PRIMARY-ADDR-BY-NAME",
    "HELP",
    "INFO-CACHE",
    "IS-GONE",
    "MASTER",
    "MASTERS",
    "MYID",
    "PENDING-SCRIPTS",
    "PRIMARIES",
    "PRIMARY",
    "REPLICAS",
    "SENTINELS",
    "SLAVES",
    "TIMELINE",
];

/// Its reply promises nothing: it looks, or is a hello, which is told and forgotten.
fn only_looks(argv: &[String]) -> bool {
    let is = |word: &String, known: &str| word.eq_ignore_ascii_case(known);
    match argv {
        [publish, ..] if is(publish, "PUBLISH") => true,
        [_, config, what, ..] if is(config, "CONFIG") => is(what, "GET"),
        [_, debug] if is(debug, "DEBUG") => true,
        [_, sub, ..] => LOOKS.iter().any(|known| is(sub, known)),
        _ => true,
    }
}

/// A peer's question under both of its names.
const DOWN_QUESTIONS: [&str; 2] = ["IS-MASTER-DOWN-BY-ADDR", "IS-PRIMARY-DOWN-BY-ADDR"];

/// Whom a command may concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// Nobody, or those that it finds by itself.
    Nobody,
    /// This primary.
    One(&'a str),
    /// Everybody.
    All,
}

/// Peers send a hello for each primary and ask about each: with a thousand of them it matters who is looked at.
pub(crate) fn reach(argv: &[String]) -> Reach<'_> {
    match argv {
        [publish, ..] if publish.eq_ignore_ascii_case("PUBLISH") => Reach::Nobody,
        [_, sub, ..] if DOWN_QUESTIONS.iter().any(|word| sub.eq_ignore_ascii_case(word)) => Reach::Nobody,
        [_, sub, name, ..] => {
            let row = SUBCOMMANDS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(sub));
            if row.is_some_and(|row| row.3.starts_with("<primary-name>")) { Reach::One(name) } else { Reach::All }
        }
        _ => Reach::All,
    }
}

impl Sentinel {
    /// Runs a command. The reply may leave later: a vote is on disk first, and a strategy may be asked.
    pub(crate) fn command(&mut self, ticket: u64, argv: &[String]) {
        let name = argv.first().map(|n| n.to_ascii_uppercase()).unwrap_or_default();
        let answer = match name.as_str() {
            "PUBLISH" => self.publish(argv),
            "SENTINEL" => match self.sentinel(ticket, &argv[1..]) {
                Some(answer) => answer,
                None => return,
            },
            _ => Err(format!("ERR unknown command '{name}'")),
        };
        let promises = answer.is_ok() && !only_looks(argv);
        let reply = answer.unwrap_or_else(Reply::Error);
        self.shared.out.push(Action::Reply { ticket, reply, promises });
    }

    fn publish(&mut self, argv: &[String]) -> Answer {
        match argv {
            [_, channel, text] if channel == HELLO_CHANNEL => {
                self.on_hello_text(text);
                Ok(Reply::Int(1))
            }
            [_, _, _] => Err("ERR Only HELLO messages are accepted by Sentinel instances.".into()),
            _ => Err("ERR wrong number of arguments for 'publish' command".into()),
        }
    }

    fn sentinel(&mut self, ticket: u64, args: &[String]) -> Option<Answer> {
        let Some(sub) = args.first() else {
            return Some(Err("ERR wrong number of arguments for 'sentinel' command".into()));
        };
        let upper = sub.to_ascii_uppercase();
        let args = &args[1..];
        let Some((_, least, most, ..)) = SUBCOMMANDS.iter().find(|(name, ..)| *name == upper) else {
            return Some(Err(format!("ERR unknown subcommand '{sub}'. Try SENTINEL HELP.")));
        };
        if !(*least..=*most).contains(&args.len()) {
            let text = format!("ERR wrong number of arguments for 'sentinel|{}' command", upper.to_ascii_lowercase());
            return Some(Err(text));
        }
        Some(match upper.as_str() {
            "IS-MASTER-DOWN-BY-ADDR" | "IS-PRIMARY-DOWN-BY-ADDR" => return self.is_down(ticket, args).err().map(Err),
            "MASTERS" | "PRIMARIES" => Ok(query::primaries(self)),
            "MASTER" | "PRIMARY" => self.with(&args[0], query::primary),
            "REPLICAS" | "SLAVES" => self.with(&args[0], |me, name| query::instances(me, name, Kind::Replica)),
            "SENTINELS" => self.with(&args[0], |me, name| query::instances(me, name, Kind::Sentinel)),
            "GET-MASTER-ADDR-BY-NAME" | "GET-PRIMARY-ADDR-BY-NAME" => Ok(query::address(self, &args[0])),
            "CKQUORUM" => match self.monitors.get(&args[0]) {
                Some(monitor) => query::check_quorum(monitor, self.shared.disk.fault(self.shared.now).as_deref()),
                None => Err(NO_SUCH.into()),
            },
            "CONFIRM" => match self.monitors.get_mut(&args[0]) {
                Some(monitor) => monitor.confirm(&mut self.shared).map(|()| Reply::ok()),
                None => Err(NO_SUCH.into()),
            },
            "INFO-CACHE" => Ok(query::info_cache(self, args)),
            "MYID" => Ok(Reply::Bulk(self.shared.id.clone())),
            "EXPLAIN" => return self.wish(ticket, &args[0], Wish::Explain).err().map(Err),
            "FAILOVER" => return self.failover(ticket, args).err().map(Err),
            "TIMELINE" => self.timeline(args),
            "FORGET" => self.forget(&args[0], &args[1]),
            "IS-GONE" => self.is_gone(&args[0], &args[1]),
            "SIMULATE-FAILURE" => self.simulate_failure(args),
            "CONFIG" => self.config(args),
            "DEBUG" => self.debug(args),
            "PENDING-SCRIPTS" => Ok(self.scripts.describe(self.shared.now)),
            "FLUSHCONFIG" => {
                self.shared.durable();
                Ok(Reply::ok())
            }
            "MONITOR" => self.monitor(args),
            "REMOVE" => self.remove(&args[0]),
            "RESET" => Ok(self.reset(&args[0])),
            "SET" => self.set(args),
            "SPREAD" => self.spread(args),
            _ => Ok(query::help()),
        })
    }

    fn with(&self, name: &str, f: impl Fn(&Sentinel, &str) -> Reply) -> Answer {
        if self.monitors.contains_key(name) { Ok(f(self, name)) } else { Err(NO_SUCH.into()) }
    }

    fn is_down(&mut self, ticket: u64, args: &[String]) -> Result<(), String> {
        let not_a_number = || "ERR value is not an integer or out of range".to_owned();
        if args.len() != 4 && args.len() != 7 {
            return Err("ERR wrong number of arguments for 'sentinel|is-master-down-by-addr' command".into());
        }
        let port = integer(&args[1]).ok_or_else(not_a_number)?;
        let epoch = integer(&args[2]).ok_or_else(not_a_number)?;
        let named = match &args[4..] {
            [asker, config_epoch, run_id] => Some(Named {
                asker: asker.clone(),
                config_epoch: Epoch(config_epoch.parse().map_err(|_| not_a_number())?),
                primary_run_id: run_id.clone(),
            }),
            _ => None,
        };
        let primary = Addr::new(args[0].clone(), u16::try_from(port).unwrap_or(0));
        let ask = Ask {
            client: ticket,
            epoch: Epoch(u64::try_from(epoch).unwrap_or(0)),
            candidate: (args[3] != "*").then(|| args[3].clone()),
            named,
            primary,
        };
        match self.monitors.values_mut().find(|m| m.primary().addr.is(&ask.primary.host, ask.primary.port)) {
            Some(monitor) => {
                monitor.on_ask(ask, &mut self.shared);
                touch(&mut self.touched, monitor.name.clone());
            }
            None => {
                let items = vec![Reply::Int(0), Reply::Bulk("*".into()), Reply::Int(0)];
                self.shared.out.push(Action::Reply { ticket, reply: Reply::Array(items), promises: false });
            }
        }
        Ok(())
    }

    /// Answered when the selection strategy has answered.
    fn wish(&mut self, ticket: u64, name: &str, wish: Wish) -> Result<(), String> {
        self.monitors.get_mut(name).ok_or(NO_SUCH)?.wish(ticket, wish, &mut self.shared);
        Ok(())
    }

    fn failover(&mut self, ticket: u64, args: &[String]) -> Result<(), String> {
        let wish = match args.get(1).map(|word| word.to_ascii_lowercase()).as_deref() {
            None => Wish::Failover(Way::Best),
            Some("force") => Wish::Failover(Way::Plain),
            Some("coordinated") => Wish::Failover(Way::Coordinated),
            Some("dryrun") => Wish::DryRun,
            Some(_) => return Err("ERR syntax error".into()),
        };
        let monitor = self.monitors.get(&args[0]).ok_or(NO_SUCH)?;
        if monitor.failover.in_progress() {
            return Err("INPROG Failover already in progress".into());
        }
        self.wish(ticket, &args[0], wish)
    }

    fn timeline(&self, args: &[String]) -> Answer {
        let (args, json) = match args {
            [rest @ .., last] if last.eq_ignore_ascii_case("json") => (rest, true),
            all => (all, false),
        };
        let number = |text: &String| text.parse::<usize>().map_err(|_| "ERR value is not an integer or out of range");
        let (name, count) = match args {
            [] => (None, 16),
            [name] if self.monitors.contains_key(name) => (Some(name), 16),
            [count] => (None, number(count).map_err(|_| NO_SUCH)?),
            [name, count, ..] => (Some(name), number(count)?),
        };
        if name.is_some_and(|name| !self.monitors.contains_key(name)) {
            return Err(NO_SUCH.into());
        }
        let wanted = self.monitors.values().filter(|m| name.is_none_or(|name| *name == m.name));
        let form = if json { Timeline::json } else { Timeline::lines };
        let lines = wanted.flat_map(|m| form(&m.timeline, &m.name, self.shared.now, count));
        Ok(Reply::Array(lines.map(Reply::Bulk).collect()))
    }

    fn monitor(&mut self, args: &[String]) -> Answer {
        let quorum = integer(&args[3]).ok_or("ERR Invalid quorum")?;
        let port = integer(&args[2]).ok_or("ERR Invalid port")?;
        if quorum <= 0 {
            return Err("ERR Quorum must be 1 or greater.".into());
        }
        let quorum = u32::try_from(quorum).map_err(|_| "ERR Invalid quorum")?;
        // The shell looks a name up before the command comes here.
        let located = self.shared.names.locate(&args[1], 0);
        let given = located.filter(|addr| addr.name.is_some() || args[1].parse::<IpAddr>().is_ok());
        let Some(given) = given else { return Err("ERR Invalid IP address or hostname specified".into()) };
        let port = u16::try_from(port).ok().filter(|p| *p != 0).ok_or("ERR Invalid port number.")?;
        if self.monitors.contains_key(&args[0]) {
            return Err("ERR Duplicate master name.".into());
        }
        if !valid_name(&args[0]) {
            return Err("ERR Invalid master name: only A-z, 0-9 and .-_ are allowed".into());
        }
        let watch = Watch { name: args[0].clone(), addr: Addr { port, ..given }, settings: self.new_settings(quorum) };
        let name = watch.name.clone();
        self.add(watch, None, false);
        // The peers may have settings for it that were spread while it wasn't watched here.
        self.monitors.entry(name).and_modify(|monitor| monitor.spread.version = 1);
        Ok(Reply::ok())
    }

    fn new_settings(&self, quorum: u32) -> Settings {
        let tempo = self.shared.tempo;
        Settings {
            down_after_ms: tempo.default_down_after,
            failover_timeout_ms: tempo.default_failover_timeout,
            ..Settings::new(quorum)
        }
    }

    fn remove(&mut self, name: &str) -> Answer {
        let mut monitor = self.monitors.remove(name).ok_or(NO_SUCH)?;
        monitor.event(&mut self.shared, Level::Warning, "-monitor", monitor.primary, "");
        for id in monitor.instances.keys().copied().collect::<Vec<_>>() {
            monitor.drop_links(id, &mut self.shared);
            self.shared.homes.remove(&id);
        }
        monitor.tell_asker("the primary was removed", &mut self.shared);
        let waiting = std::mem::take(&mut monitor.wishes).into_values();
        let gone = |(ticket, _)| Action::Reply { ticket, reply: Reply::Error(NO_SUCH.into()), promises: false };
        self.shared.out.extend(waiting.map(gone));
        let open = std::mem::take(&mut monitor.ballot.votes);
        open.into_values().for_each(|pending| monitor.answer_open(pending, &mut self.shared));
        // It stays so when the name is watched again: the file's settings are not those of that monitor.
        if monitor.configured.is_some() && !self.removed.iter().any(|known| known == name) {
            self.removed.push(name.to_owned());
        }
        self.shared.durable();
        Ok(Reply::ok())
    }

    fn simulate_failure(&mut self, args: &[String]) -> Answer {
        let mut flags = 0;
        for word in args {
            flags |= match word.to_ascii_lowercase().as_str() {
                "crash-after-election" => CRASH_AFTER_ELECTION,
                "crash-after-promotion" => CRASH_AFTER_PROMOTION,
                "help" => {
                    let words = ["crash-after-election", "crash-after-promotion"];
                    return Ok(Reply::Array(words.map(|word| Reply::Bulk(word.into())).to_vec()));
                }
                _ => return Err("ERR Unknown failure simulation specified".into()),
            };
        }
        if flags != 0 && self.shared.globals.beside_data() {
            return Err("ERR This process serves data, and that would end with the sentinel".into());
        }
        self.shared.simulate = flags;
        Ok(Reply::ok())
    }

    fn reset(&mut self, pattern: &str) -> Reply {
        let names: Vec<String> = self.monitors.keys().filter(|name| glob(pattern, name)).cloned().collect();
        for name in &names {
            let Some(mut old) = self.monitors.remove(name) else { continue };
            for id in old.instances.keys().copied().collect::<Vec<_>>() {
                old.drop_links(id, &mut self.shared);
                self.shared.homes.remove(&id);
            }
            old.tell_asker("the primary was reset", &mut self.shared);
            // Votes and the configuration stay: a vote forgotten could be given again.
            old.forget_unkept();
            if *old.current_addr() != old.primary().addr {
                // In the midst of a failover whose promotion is certain: nobody else would tell this sentinel's clients.
                old.tell_switch(old.current_addr(), &mut self.shared);
            }
            let saved = SavedMonitor { replicas: Vec::new(), sentinels: Vec::new(), answered: false, ..old.save() };
            let watch = Watch { name: name.clone(), addr: saved.primary.clone(), settings: old.settings.clone() };
            let mut fresh = crate::monitor::Monitor::new(watch, Some(&saved), false, &mut self.shared);
            (fresh.configured, fresh.file) = (old.configured, old.file);
            let open = std::mem::take(&mut old.ballot.votes);
            (fresh.timeline, fresh.wishes) = (old.timeline, old.wishes);
            // Who asks for a vote that is being thought about isn't left without an answer.
            open.into_values().for_each(|pending| fresh.answer_open(pending, &mut self.shared));
            fresh.event(&mut self.shared, Level::Warning, "+reset-master", fresh.primary, "");
            self.monitors.insert(name.clone(), fresh);
        }
        if !names.is_empty() {
            self.shared.durable();
        }
        Reply::Int(names.len() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_is_told_apart_from_what_promises() {
        let of = |line: &str| only_looks(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in
            ["SENTINEL MASTERS", "sentinel get-master-addr-by-name m", "SENTINEL CONFIG GET *", "SENTINEL DEBUG"]
        {
            assert!(of(line), "{line}");
        }
        for line in
            ["SENTINEL SET m quorum 2", "SENTINEL CONFIG SET a b", "SENTINEL MONITOR m h 1 1", "SENTINEL RESET *"]
        {
            assert!(!of(line), "{line}");
        }
        assert!(LOOKS.iter().all(|look| SUBCOMMANDS.iter().any(|(name, ..)| name == look)));
    }

    #[test]
    fn a_hello_or_a_question_about_one_primary_wakes_no_other() {
        let of = |line: &str| {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            format!("{:?}", reach(&argv))
        };
        assert_eq!(of("PUBLISH __sentinel__:hello x"), "Nobody");
        assert_eq!(of("sentinel is-master-down-by-addr 127.0.0.1 1 0 *"), "Nobody", "it finds whom it is about");
        assert_eq!(of("sentinel get-master-addr-by-name m"), "One(\"m\")");
        assert_eq!(of("SENTINEL SET m quorum 2"), "One(\"m\")");
        for line in ["SENTINEL RESET *", "SENTINEL MONITOR m 127.0.0.1 1 2", "SENTINEL DEBUG", "SENTINEL"] {
            assert_eq!(of(line), "All", "{line}");
        }
    }
}
