//! SENTINEL and its subcommands, and PUBLISH of a hello: Redis' names, arguments, replies and error texts.
//! Owns the parsing and the small changes (MONITOR, REMOVE, SET, RESET); replies that describe instances are query.rs'.

use crate::actions::{Action, Watch};
use crate::ballot::Ask;
use crate::events::Level;
use crate::machine::Sentinel;
use crate::query;
use crate::select::{RedisSelection, ReplicaSelection};
use crate::settings::{Settings, valid_name};
use crate::state::SavedMonitor;
use crate::types::{Addr, Epoch, Kind};
use crate::wire::{HELLO_CHANNEL, Named, Reply};
use std::net::IpAddr;

type Answer = Result<Reply, String>;

const NO_SUCH: &str = "ERR No such master with that name";

/// The subcommands: name, number of arguments behind it (at least, at most), syntax, what it does.
pub const SUBCOMMANDS: &[(&str, usize, usize, &str, &str)] = &[
    ("CKQUORUM", 1, 1, "<primary-name>", "Check that quorum and majority can be reached."),
    ("FAILOVER", 1, 1, "<primary-name>", "Fail over without asking the other sentinels."),
    ("FLUSHCONFIG", 0, 0, "", "Write the state file."),
    ("GET-MASTER-ADDR-BY-NAME", 1, 1, "<primary-name>", "The address of the primary of that name."),
    ("GET-PRIMARY-ADDR-BY-NAME", 1, 1, "<primary-name>", "The same."),
    ("HELP", 0, 0, "", "Print this help."),
    ("INFO-CACHE", 1, usize::MAX, "<primary-name> [...]", "The last INFO of the primary and its replicas."),
    ("IS-MASTER-DOWN-BY-ADDR", 4, 7, "<ip> <port> <current-epoch> <runid>", "A peer's question, and a vote."),
    ("MASTER", 1, 1, "<primary-name>", "State of a primary."),
    ("MASTERS", 0, 0, "", "State of all primaries."),
    ("MONITOR", 4, 4, "<name> <ip> <port> <quorum>", "Begin to watch a primary."),
    ("MYID", 0, 0, "", "The id of this sentinel."),
    ("PRIMARIES", 0, 0, "", "State of all primaries."),
    ("PRIMARY", 1, 1, "<primary-name>", "State of a primary."),
    ("REMOVE", 1, 1, "<primary-name>", "Stop watching a primary."),
    ("REPLICAS", 1, 1, "<primary-name>", "State of a primary's replicas."),
    ("RESET", 1, 1, "<pattern>", "Forget replicas and sentinels of the matching primaries."),
    ("SENTINELS", 1, 1, "<primary-name>", "State of a primary's other sentinels."),
    ("SET", 3, usize::MAX, "<primary-name> <option> <value> [...]", "Change settings of a primary."),
    ("SLAVES", 1, 1, "<primary-name>", "State of a primary's replicas."),
];

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
        let reply = answer.unwrap_or_else(Reply::Error);
        self.shared.out.push(Action::Reply { ticket, reply });
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
            "IS-MASTER-DOWN-BY-ADDR" => return self.is_down(ticket, args).err().map(Err),
            "MASTERS" | "PRIMARIES" => Ok(query::primaries(self)),
            "MASTER" | "PRIMARY" => self.with(&args[0], query::primary),
            "REPLICAS" | "SLAVES" => self.with(&args[0], |me, name| query::instances(me, name, Kind::Replica)),
            "SENTINELS" => self.with(&args[0], |me, name| query::instances(me, name, Kind::Sentinel)),
            "GET-MASTER-ADDR-BY-NAME" | "GET-PRIMARY-ADDR-BY-NAME" => Ok(query::address(self, &args[0])),
            "CKQUORUM" => match self.monitors.get(&args[0]) {
                Some(monitor) => query::check_quorum(monitor),
                None => Err(NO_SUCH.into()),
            },
            "INFO-CACHE" => Ok(query::info_cache(self, args)),
            "MYID" => Ok(Reply::Bulk(self.shared.id.clone())),
            "FAILOVER" => self.failover(&args[0]),
            "FLUSHCONFIG" => {
                self.shared.durable();
                Ok(Reply::ok())
            }
            "MONITOR" => self.monitor(args),
            "REMOVE" => self.remove(&args[0]),
            "RESET" => Ok(self.reset(&args[0])),
            "SET" => self.set(args),
            _ => Ok(query::help()),
        })
    }

    fn with(&self, name: &str, f: impl Fn(&Sentinel, &str) -> Reply) -> Answer {
        if self.monitors.contains_key(name) { Ok(f(self, name)) } else { Err(NO_SUCH.into()) }
    }

    fn is_down(&mut self, ticket: u64, args: &[String]) -> Result<(), String> {
        let not_a_number = || "ERR value is not an integer or out of range".to_owned();
        let port: i64 = args[1].parse().map_err(|_| not_a_number())?;
        let epoch: i64 = args[2].parse().map_err(|_| not_a_number())?;
        let named = match args {
            [_, _, _, _, asker, config_epoch, run_id] => Some(Named {
                asker: asker.clone(),
                config_epoch: Epoch(config_epoch.parse().map_err(|_| not_a_number())?),
                primary_run_id: run_id.clone(),
            }),
            [_, _, _, _] => None,
            _ => return Err("ERR wrong number of arguments for 'sentinel|is-master-down-by-addr' command".into()),
        };
        let primary = Addr::new(args[0].clone(), u16::try_from(port).unwrap_or(0));
        let ask = Ask {
            client: ticket,
            epoch: Epoch(u64::try_from(epoch).unwrap_or(0)),
            candidate: (args[3] != "*").then(|| args[3].clone()),
            named,
            primary,
        };
        match self.monitors.values_mut().find(|m| m.primary().addr == ask.primary) {
            Some(monitor) => monitor.on_ask(ask, &mut self.shared),
            None => {
                let items = vec![Reply::Int(0), Reply::Bulk("*".into()), Reply::Int(0)];
                self.shared.out.push(Action::Reply { ticket, reply: Reply::Array(items) });
            }
        }
        Ok(())
    }

    fn failover(&mut self, name: &str) -> Answer {
        let monitor = self.monitors.get_mut(name).ok_or(NO_SUCH)?;
        if monitor.failover.in_progress() {
            return Err("INPROG Failover already in progress".into());
        }
        if RedisSelection.rank(&monitor.selection_request(self.shared.now)).order.is_empty() {
            return Err("NOGOODSLAVE No suitable replica to promote".into());
        }
        self.shared.log(Level::Warning, format!("Executing user requested FAILOVER of '{name}'"));
        monitor.stand(true, &mut self.shared);
        Ok(Reply::ok())
    }

    fn monitor(&mut self, args: &[String]) -> Answer {
        let port: i64 = args[2].parse().map_err(|_| "ERR Invalid port")?;
        let quorum: i64 = args[3].parse().map_err(|_| "ERR Invalid quorum")?;
        if quorum <= 0 {
            return Err("ERR Quorum must be 1 or greater.".into());
        }
        let quorum = u32::try_from(quorum).map_err(|_| "ERR Invalid quorum")?;
        if args[1].parse::<IpAddr>().is_err() {
            return Err("ERR Invalid IP address or hostname specified".into());
        }
        let port = u16::try_from(port).ok().filter(|p| *p != 0).ok_or("ERR Invalid port number.")?;
        if self.monitors.contains_key(&args[0]) {
            return Err("ERR Duplicate master name.".into());
        }
        if !valid_name(&args[0]) {
            return Err("ERR Invalid master name: only A-z, 0-9 and .-_ are allowed".into());
        }
        self.removed.retain(|name| *name != args[0]);
        let watch =
            Watch { name: args[0].clone(), addr: Addr::new(args[1].clone(), port), settings: Settings::new(quorum) };
        self.add(watch, None, false);
        Ok(Reply::ok())
    }

    fn remove(&mut self, name: &str) -> Answer {
        let mut monitor = self.monitors.remove(name).ok_or(NO_SUCH)?;
        monitor.event(&mut self.shared, Level::Warning, "-monitor", monitor.primary, "");
        for id in monitor.instances.keys().copied().collect::<Vec<_>>() {
            monitor.drop_links(id, &mut self.shared);
        }
        if monitor.configured.is_some() {
            self.removed.push(name.to_owned());
        }
        self.shared.durable();
        Ok(Reply::ok())
    }

    fn reset(&mut self, pattern: &str) -> Reply {
        let names: Vec<String> = self.monitors.keys().filter(|name| glob(pattern, name)).cloned().collect();
        for name in &names {
            let Some(mut old) = self.monitors.remove(name) else { continue };
            for id in old.instances.keys().copied().collect::<Vec<_>>() {
                old.drop_links(id, &mut self.shared);
            }
            // Votes and the configuration stay: a vote forgotten could be given again.
            let saved = SavedMonitor { replicas: Vec::new(), sentinels: Vec::new(), answered: false, ..old.save() };
            let watch = Watch { name: name.clone(), addr: saved.primary.clone(), settings: old.settings.clone() };
            let mut fresh = crate::monitor::Monitor::new(watch, Some(&saved), false, &mut self.shared);
            fresh.configured = old.configured;
            fresh.event(&mut self.shared, Level::Warning, "+reset-master", fresh.primary, "");
            self.monitors.insert(name.clone(), fresh);
        }
        if !names.is_empty() {
            self.shared.durable();
        }
        Reply::Int(names.len() as i64)
    }

    fn set(&mut self, args: &[String]) -> Answer {
        let monitor = self.monitors.get_mut(&args[0]).ok_or(NO_SUCH)?;
        let mut settings = monitor.settings.clone();
        let pairs = args[1..].chunks(2);
        for pair in pairs.clone() {
            let [option, value] = pair else {
                let text = "ERR Unknown option or number of arguments for SENTINEL SET";
                return Err(format!("{text} '{}'", pair[0]));
            };
            settings.set(option, value)?;
        }
        monitor.settings = settings;
        for pair in pairs {
            let (option, value) = (pair[0].to_ascii_lowercase(), pair[1].clone());
            let shown = if option == "auth-pass" { "******" } else { &value };
            let more = format!("{option} {shown}");
            monitor.event(&mut self.shared, Level::Warning, "+set", monitor.primary, &more);
            monitor.overrides.retain(|(name, _)| *name != option);
            monitor.overrides.push((option, value));
        }
        self.shared.durable();
        Ok(Reply::ok())
    }
}

/// Redis' glob: `*`, `?`, `[a-z]`, `[^x]`, `\x`. Linear in the text for each star.
fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut pi, mut ti, mut star) = (0, 0, None);
    while ti < t.len() {
        match p.get(pi) {
            Some(b'*') => {
                star = Some((pi + 1, ti));
                pi += 1;
                continue;
            }
            Some(_) => {
                if let Some(next) = glob_one(&p[pi..], t[ti]) {
                    pi += next;
                    ti += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((after, from)) = star else { return false };
        star = Some((after, from + 1));
        (pi, ti) = (after, from + 1);
    }
    p[pi..].iter().all(|b| *b == b'*')
}

/// Does the first element of the pattern match this byte? Its length if so.
fn glob_one(p: &[u8], byte: u8) -> Option<usize> {
    match p {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => {
            let close = rest.iter().position(|b| *b == b']')?;
            let (negate, class) = match &rest[..close] {
                [b'^', class @ ..] => (true, class),
                class => (false, class),
            };
            let mut hit = false;
            let mut i = 0;
            while i < class.len() {
                if i + 2 < class.len() && class[i + 1] == b'-' {
                    hit |= (class[i]..=class[i + 2]).contains(&byte);
                    i += 3;
                } else {
                    hit |= class[i] == byte;
                    i += 1;
                }
            }
            (hit != negate).then_some(close + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "mymaster", true),
            ("my*", "mymaster", true),
            ("my*r", "mymaster", true),
            ("m?master", "mymaster", true),
            ("m[x-z]master", "mymaster", true),
            ("m[^y]master", "mymaster", false),
            ("x*", "mymaster", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("**a*", "bab", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
