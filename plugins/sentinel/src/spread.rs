//! SENTINEL SET, and how what it sets is spread to the group (`… GROUP`): each setting carries the epoch in which it was
//! set and who set it; the higher epoch wins, between equal ones the higher id. Only peers that showed `keystead_version`
//! are told (`SENTINEL SPREAD`), and told again whenever a link to them comes up, until they say that they have it. Owns the
//! record of what was spread; what a setting takes is the table's.

use crate::actions::{Claimant, Shared};
use crate::events::Level;
use crate::instance::Instance;
use crate::machine::Sentinel;
use crate::monitor::Monitor;
use crate::overrides::{Change, UNSET, shown};
use crate::settings::{Settings, unknown};
use crate::table;
use crate::types::{Epoch, InstanceId, Kind};
use crate::wire::{Reply, Request};
use serde::{Deserialize, Serialize};

type Answer = Result<Reply, String>;

const SCRIPTS_DENIED: &str = "ERR Reconfiguration of scripts path is denied for security reasons. Check the \
                              deny-scripts-reconfig configuration directive in your Sentinel configuration";
const NO_SUCH: &str = "ERR No such master with that name";
/// Longest value and author taken from a peer.
const MAX_TEXT: usize = 256;

/// A setting as the group has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Its name in SENTINEL SET.
    pub option: String,
    /// In which epoch of this primary's settings it was set.
    pub epoch: Epoch,
    /// The id of the sentinel on which it was set.
    pub author: String,
    /// Its value.
    pub value: String,
}

impl Spread {
    fn beats(&self, other: &Spread) -> bool {
        (self.epoch, &self.author) > (other.epoch, &other.author)
    }

    /// Reads what `words` wrote: option, epoch, author, value, and again.
    fn read(words: &[String]) -> Result<Vec<Spread>, String> {
        let one = |words: &[String]| {
            let [option, epoch, author, value] = words else { return None };
            let epoch = epoch.parse().ok().filter(|n| *n <= i64::MAX as u64)?;
            let short = author.len() <= MAX_TEXT && value.len() <= MAX_TEXT;
            let spread =
                Spread { option: option.clone(), epoch: Epoch(epoch), author: author.clone(), value: value.clone() };
            short.then_some(spread)
        };
        words.chunks(4).map(one).collect::<Option<_>>().ok_or_else(|| "ERR syntax error".to_owned())
    }

    /// Its words on the wire.
    #[must_use]
    pub fn words(&self) -> [String; 4] {
        [self.option.clone(), self.epoch.to_string(), self.author.clone(), self.value.clone()]
    }
}

/// How far a peer is with the settings of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The record's version that was last sent on this link.
    pub sent: u64,
    /// The one that it said it has.
    pub has: u64,
}

/// A monitor's part of it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What was spread, by whomever; one entry a setting.
    pub entries: Vec<Spread>,
    /// Grows with each change, and when the peers are to be asked for what they have. 0: there is nothing to say.
    pub version: u64,
}

impl Sentinel {
    /// `SENTINEL SET name option value … [UNSET option …] [GROUP]`. All of it or nothing.
    pub(crate) fn set(&mut self, args: &[String]) -> Answer {
        let denied = self.shared.globals.deny_scripts_reconfig;
        let monitor = self.monitors.get_mut(&args[0]).ok_or(NO_SUCH)?;
        let mut settings = monitor.settings.clone();
        let mut changes = Vec::new();
        let mut rest = &args[1..];
        let mut group = false;
        while let [option, more @ ..] = rest {
            if more.is_empty() && !changes.is_empty() && option.eq_ignore_ascii_case("group") {
                group = true;
                break;
            }
            if option.eq_ignore_ascii_case(UNSET) {
                changes.push(monitor.unset(more.first(), &mut settings)?);
                rest = &more[1..];
                continue;
            }
            let setting = table::option(option).filter(|setting| more.len() >= setting.words());
            let setting = setting.ok_or_else(|| unknown(option))?;
            let value = more[..setting.words()].join(" ");
            // No command has a blank in its name, and the two words are kept with one between.
            let value = if setting.words() == 2 && more[0].contains(' ') { String::new() } else { value };
            rest = &more[setting.words()..];
            if denied && matches!(setting.kind, table::Kind::Script(..)) {
                return Err(SCRIPTS_DENIED.into());
            }
            settings.set(option, &value)?;
            changes.push(Change::to(setting, value));
        }
        for Change { setting, value } in changes.iter().filter(|_| group) {
            let option = setting.option;
            if !setting.spreads {
                return Err(format!("ERR '{option}' is a matter of each sentinel and can't be spread to the group"));
            }
            let Some(value) = value else {
                return Err("ERR UNSET goes back to the file of this sentinel and can't be spread to the group".into());
            };
            if value.len() > MAX_TEXT {
                return Err(format!("ERR '{option}' is too long to be spread to the group"));
            }
        }
        self.shared.strategies.check(&settings).map_err(|error| format!("ERR {error}"))?;
        if group {
            monitor.record_own(&changes, &self.shared.id);
        }
        monitor.take_settings(settings, &changes, "+set", &mut self.shared);
        Ok(Reply::ok())
    }

    /// `SENTINEL SPREAD name [option epoch author value …]`: a peer tells what it has of the group's settings, which may be
    /// nothing, and hears what this sentinel has. It may have another strategy by now that is none of these.
    pub(crate) fn spread(&mut self, args: &[String]) -> Answer {
        let told = Spread::read(&args[1..])?;
        let monitor = self.monitors.get_mut(&args[0]).ok_or(NO_SUCH)?;
        monitor.learn_settings(told, &mut self.shared);
        monitor.look_at_elections(self.shared.now);
        let words = monitor.spread.entries.iter().flat_map(Spread::words);
        Ok(Reply::Array(words.map(Reply::Bulk).collect()))
    }
}

impl Monitor {
    /// New settings take effect, survive a restart, and are told as events.
    fn take_settings(&mut self, settings: Settings, changes: &[Change], event: &'static str, s: &mut Shared) {
        let old = std::mem::replace(&mut self.settings, settings);
        if self.settings.down_after_ms < old.down_after_ms {
            self.count_silence_anew(s.now);
        }
        let elects_otherwise = self.settings.election != old.election;
        if elects_otherwise || self.settings.selection != old.selection {
            self.strategy_changed(s);
        }
        if elects_otherwise {
            self.spread.version += 1; // set here alone or not: the peers hear from it that they are to look
        }
        for change in changes {
            let Change { setting, value } = change;
            let told = match value {
                Some(_) if matches!(setting.kind, table::Kind::Secret(_)) => "******".into(),
                Some(value) => value.clone(),
                None => shown(setting, &self.settings),
            };
            self.event(s, Level::Warning, event, self.primary, &format!("{} {told}", setting.option));
            self.note_override(change);
        }
        let new = &self.settings;
        let other_words = (&old.auth_user, &old.auth_pass, &old.renamed_commands)
            != (&new.auth_user, &new.auth_pass, &new.renamed_commands);
        if other_words {
            self.drop_links_of(&[Kind::Primary, Kind::Replica], s);
        }
        s.durable();
    }

    /// What an operator sets for the group here gets a higher epoch than anything this sentinel has heard of.
    fn record_own(&mut self, changes: &[Change], me: &str) {
        let highest = self.highest_spread();
        let epoch = highest.next().unwrap_or(highest);
        for Change { setting, value } in changes {
            let (option, author) = (setting.option.to_owned(), me.to_owned());
            self.record(Spread { option, epoch, author, value: value.clone().unwrap_or_default() });
        }
    }

    fn highest_spread(&self) -> Epoch {
        self.spread.entries.iter().map(|entry| entry.epoch).max().unwrap_or_default()
    }

    fn record(&mut self, entry: Spread) {
        self.spread.entries.retain(|known| known.option != entry.option);
        self.spread.entries.push(entry);
        self.spread.version += 1;
    }

    /// Takes over what is newer than what is known. What this sentinel can't take (a strategy that isn't here) is said,
    /// and asked for again with the next link.
    pub(crate) fn learn_settings(&mut self, told: Vec<Spread>, s: &mut Shared) {
        for entry in told {
            let known = self.spread.entries.iter().find(|known| known.option == entry.option);
            if known.is_some_and(|known| !entry.beats(known)) {
                continue;
            }
            if entry.epoch > self.highest_spread().reach() {
                // Taken, it could never be set again: no operator's epoch would be higher.
                s.doubt(entry.epoch, Claimant { id: &entry.author, addr: None, primary: &self.name });
                continue;
            }
            let Some(setting) = table::option(&entry.option).filter(|setting| setting.spreads) else { continue };
            let mut settings = self.settings.clone();
            let set = settings.set(&entry.option, &entry.value).and_then(|()| s.strategies.check(&settings));
            if let Err(error) = set {
                let Spread { option, value, author, .. } = &entry;
                let text =
                    format!("{}: {option} {value}, set by {author} for the group, isn't taken: {error}", self.name);
                s.log(Level::Warning, text);
                continue;
            }
            let value = format!("{} epoch {} by {}", entry.value, entry.epoch, entry.author);
            s.log(Level::Notice, format!("{}: the group's setting {} {value}", self.name, setting.option));
            let change = [Change::to(setting, entry.value.clone())];
            self.record(entry);
            self.take_settings(settings, &change, "+set-from-group", s);
        }
    }

    /// Tells the peers that may lack something.
    pub(crate) fn spread_settings(&mut self, s: &mut Shared) {
        let version = self.spread.version;
        if version == 0 {
            return;
        }
        let lacks = |i: &&Instance| i.keystead && i.command.is_up() && i.told.sent < version;
        for id in self.of(Kind::Sentinel).filter(lacks).map(|i| i.id).collect::<Vec<_>>() {
            let request = Request::Spread { name: self.name.clone(), settings: self.spread.entries.clone() };
            if self.send(id, request, s) {
                self.instance_mut(id).told.sent = version;
            }
        }
    }

    /// A peer's answer: what it has itself. Then it has all that was sent.
    pub(crate) fn on_spread_answer(&mut self, id: InstanceId, reply: &Reply, s: &mut Shared) {
        let Reply::Array(items) = reply else { return };
        let peer = self.instance_mut(id);
        let told = &mut peer.told;
        if std::mem::replace(&mut told.has, told.sent) < told.sent {
            (peer.next_info, peer.election) = (s.now, None); // it may hold them by another strategy now
        }
        let words: Option<Vec<String>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
        if let Some(told) = words.and_then(|words| Spread::read(&words).ok()) {
            self.learn_settings(told, s);
        }
    }

    /// For EXPLAIN: the settings of the group, and who isn't known to have them.
    pub(crate) fn spread_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.spread.entries.iter().map(|entry| self.said(entry)).collect();
        if !lines.is_empty() {
            let lacks = |i: &&Instance| i.told.has < self.spread.version;
            for peer in self.of(Kind::Sentinel).filter(lacks) {
                let why = if peer.keystead { "has not said that it has" } else { "is not told, it is no Keystead:" };
                lines.push(format!("sentinel {} {why} the group's settings", peer.run_id));
            }
        }
        lines
    }

    /// UNSET and a SET without GROUP change this sentinel alone: what the group has is in force elsewhere.
    fn said(&self, entry: &Spread) -> String {
        let Spread { option, epoch, author, value } = entry;
        let here = table::option(option).and_then(|setting| setting.texts(&self.settings).into_iter().next());
        let here = here.filter(|here| !here.eq_ignore_ascii_case(value));
        let here = here.map_or_else(String::new, |here| format!(": not in force here, where it is {here}"));
        format!("setting of the group: {option} {value} (epoch {epoch}, by {author}){here}")
    }
}

/// The scripts that the words behind `SENTINEL SET name` set: what Redis calls each, and its path.
pub(crate) fn scripts_in(mut words: &[String]) -> Vec<(&'static str, &str)> {
    let mut scripts = Vec::new();
    while let [option, more @ ..] = words {
        let setting = table::option(option);
        let taken = if option.eq_ignore_ascii_case(UNSET) { 1 } else { setting.map_or(1, table::Setting::words) };
        if let (Some(table::Kind::Script(_, what)), [path, ..]) = (setting.map(|setting| &setting.kind), more) {
            scripts.push((*what, path.as_str()));
        }
        words = more.get(taken..).unwrap_or_default();
    }
    scripts
}
