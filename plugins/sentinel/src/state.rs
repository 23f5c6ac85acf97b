//! What a sentinel must not forget: its id, epochs, votes, the configuration it holds and whom it knows.
//! Owns the form of the state file (RON, one per instance). Writing it (atomic, fsynced) is the shell's; the machine
//! orders the write before anything that rests on it leaves.

use crate::names::plausible;
use crate::settings::Settings;
use crate::sign::Seen;
use crate::spread::Spread;
use crate::types::{Addr, Epoch};
use ron::ser::PrettyConfig;
use ron::value::RawValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The form this code writes.
pub const VERSION: u32 = 1;

/// Everything that survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Form of this record.
    pub version: u32,
    /// This sentinel's id, forty hexadecimal digits.
    pub id: String,
    /// The current epoch.
    pub epoch: Epoch,
    /// The monitored primaries.
    pub monitors: Vec<Kept>,
    /// Primaries of the configuration file that were removed at run time.
    pub removed: Vec<String>,
    /// What SENTINEL CONFIG SET changed, in Redis' names.
    #[serde(default)]
    pub globals: Vec<(String, String)>,
    /// How often this sentinel was started.
    #[serde(default)]
    pub life: u64,
    /// The newest signed hellos heard.
    #[serde(default)]
    pub seen: Vec<Seen>,
}

/// One monitored primary's record, shared by all states in which it is the same, with its text: a sentinel of a thousand
/// primaries writes the whole file for each vote, but makes a new text only of what has changed.
#[derive(Clone, Debug)]
pub struct Kept(Arc<(SavedMonitor, OnceLock<Box<RawValue>>)>);

impl Kept {
    /// A record that was not written yet.
    #[must_use]
    pub fn new(saved: SavedMonitor) -> Kept {
        Kept(Arc::new((saved, OnceLock::new())))
    }

    /// Both are one record.
    #[must_use]
    pub fn is_same(&self, other: &Kept) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn text(&self) -> Result<&RawValue, String> {
        if let Some(text) = self.0.1.get() {
            return Ok(text);
        }
        let text = ron::ser::to_string_pretty(&self.0.0, PrettyConfig::new()).map_err(|error| error.to_string())?;
        let raw = RawValue::from_boxed_ron(text.replace('\n', DEEPER).into()).map_err(|error| error.to_string())?;
        Ok(self.0.1.get_or_init(|| raw))
    }
}

/// How deep a record stands in the file. A line's end inside a text of the file is written as an escape.
const DEEPER: &str = "\n        ";

impl Deref for Kept {
    type Target = SavedMonitor;
    fn deref(&self) -> &SavedMonitor {
        &self.0.0
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Eq for Kept {}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kept, D::Error> {
        SavedMonitor::deserialize(deserializer).map(Kept::new)
    }
}

/// One monitored primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMonitor {
    /// Its name.
    pub name: String,
    /// The address the configuration file gave; nothing when it was added by SENTINEL MONITOR.
    pub configured: Option<Addr>,
    /// Options changed by SENTINEL SET, in Redis' names.
    pub overrides: Vec<(String, String)>,
    /// Those of them that were spread to the group, with their epochs.
    #[serde(default)]
    pub spread: Vec<Spread>,
    /// Settings as of the last write (used for primaries added at run time).
    pub settings: Settings,
    /// The primary's address in the current configuration.
    pub primary: Addr,
    /// The primary's run id, empty when unknown.
    pub run_id: String,
    /// It answered once as the primary of this configuration.
    pub answered: bool,
    /// The history it had when it last reported as the primary of this configuration; empty when unknown.
    #[serde(default)]
    pub history: String,
    /// Epoch of the configuration.
    pub config_epoch: Epoch,
    /// The last vote: for whom, empty when none was given.
    pub leader: String,
    /// The epoch of that vote.
    pub leader_epoch: Epoch,
    /// Known replicas.
    pub replicas: Vec<SavedReplica>,
    /// Known sentinels.
    pub sentinels: Vec<SavedSentinel>,
}

impl SavedMonitor {
    /// Nobody listens at an address that can't be: who edited the file is to hear so.
    fn check(&self) -> Result<(), String> {
        let configured = self.configured.iter().map(|addr| ("configured", addr, false));
        // A replica without a port, as an older version took from an INFO, is passed over (`mend`).
        let replicas = self.replicas.iter().map(|replica| ("replicas", &replica.addr, true));
        // Where a sentinel moved that another one took the place of isn't known.
        let sentinels = self.sentinels.iter().map(|sentinel| ("sentinels", &sentinel.addr, true));
        for (place, addr, lost) in
            configured.chain([("primary", &self.primary, false)]).chain(replicas).chain(sentinels)
        {
            if addr.port == 0 && !lost {
                return Err(format!("{place}: {addr}: a port is a number from 1 to 65535"));
            }
            if addr.host.parse::<IpAddr>().is_err() && !plausible(&addr.host) {
                return Err(format!("{place}: {:?} is neither an IP address nor a host's name", addr.host));
            }
        }
        Ok(())
    }

    /// Without replicas that nobody can reach, and without epochs that can't be. Whom the vote was for is gone with its epoch; none is given up to `highest`.
    fn mended(&self, highest: Epoch) -> SavedMonitor {
        let mut mended = self.clone();
        mended.replicas.retain(|replica| replica.addr.port != 0);
        if mended.config_epoch > Epoch::LAST {
            mended.config_epoch = Epoch(0);
        }
        if mended.leader_epoch > Epoch::LAST {
            (mended.leader, mended.leader_epoch) = (String::new(), highest);
        }
        for entry in mended.spread.iter_mut().filter(|entry| entry.epoch > Epoch::LAST) {
            entry.epoch = Epoch(0);
        }
        mended
    }
}

/// One known replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedReplica {
    /// Where it listens.
    pub addr: Addr,
    /// It was the primary of an earlier configuration and wasn't seen as a replica since.
    pub former_primary: bool,
}

/// One known sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSentinel {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub addr: Addr,
}

impl State {
    /// The text of the state file.
    ///
    /// # Errors
    /// Never for the types above; the serializer's signature asks for it.
    pub fn encode(&self) -> Result<String, String> {
        ron::ser::to_string_pretty(self, PrettyConfig::new()).map_err(|error| error.to_string())
    }

    /// Takes epochs out that no group has counted up to: a sentinel that believed them once would never lead nor vote
    /// again. It goes on from the highest one that can be, in which it gives no second vote. And replicas without a port.
    /// Gives what was wrong.
    pub fn mend(&mut self) -> Vec<String> {
        let known = self.monitors.iter().flat_map(|kept| [kept.config_epoch, kept.leader_epoch]);
        let highest = known.chain([self.epoch]).filter(|epoch| *epoch <= Epoch::LAST).max().unwrap_or_default();
        let mut wrong = Vec::new();
        if self.epoch > Epoch::LAST {
            wrong.push(format!("state file: epoch {} can't be, going on from {highest}", self.epoch));
        }
        self.epoch = highest;
        for kept in &mut self.monitors {
            let spread = kept.spread.iter().map(|entry| entry.epoch);
            let absurd =
                spread.chain([kept.config_epoch, kept.leader_epoch]).filter(|epoch| *epoch > Epoch::LAST).max();
            let nowhere = kept.replicas.iter().map(|replica| &replica.addr).filter(|addr| addr.port == 0);
            let said =
                nowhere.map(|addr| format!("state file: {}: replica {addr} has no port, passed over", kept.name));
            let said: Vec<String> = said
                .chain(
                    absurd.map(|absurd| format!("state file: {}: epoch {absurd} can't be and is forgotten", kept.name)),
                )
                .collect();
            if !said.is_empty() {
                *kept = Kept::new(kept.mended(highest));
                wrong.extend(said);
            }
        }
        wrong
    }

    /// Reads a state file. A damaged one is an error: starting without one's votes could give a vote twice.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn decode(text: &str) -> Result<State, String> {
        let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let state: State = options.from_str(text).map_err(|error| format!("state file: {error}"))?;
        if state.version > VERSION {
            return Err(format!("state file: written by a newer version (form {}, known {VERSION})", state.version));
        }
        for kept in &state.monitors {
            kept.check().map_err(|error| format!("state file: monitors: {:?}: {error}", kept.name))?;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let state = State {
            version: VERSION,
            id: "ab".into(),
            epoch: Epoch(9),
            monitors: vec![Kept::new(SavedMonitor {
                name: "m".into(),
                configured: Some(Addr::new("h", 1)),
                overrides: vec![("quorum".into(), "3".into())],
                spread: vec![Spread {
                    option: "quorum".into(),
                    epoch: Epoch(2),
                    author: "ab".into(),
                    value: "3".into(),
                }],
                settings: Settings::new(3),
                primary: Addr::new("h", 2),
                run_id: "r".into(),
                answered: true,
                history: "h".into(),
                config_epoch: Epoch(8),
                leader: "x".into(),
                leader_epoch: Epoch(8),
                replicas: vec![SavedReplica { addr: Addr::new("h", 1), former_primary: true }],
                sentinels: vec![SavedSentinel { id: "s".into(), addr: Addr::new("h", 3) }],
            })],
            removed: vec!["old".into()],
            globals: vec![("announce-port".into(), "7".into())],
            life: 3,
            seen: vec![Seen { id: "s".into(), life: 1, number: 9 }],
        };
        let text = state.encode().unwrap();
        assert_eq!(State::decode(&text).unwrap(), state);
        let plain = ron::ser::to_string_pretty(&*vec![&*state.monitors[0]], PrettyConfig::new()).unwrap();
        assert!(
            text.contains(&plain[1..].replace('\n', "\n    ")),
            "indented as if it had been written at once: {text}"
        );
        assert!(State::decode(&text[..text.len() / 2]).is_err());
        assert!(State::decode(&text.replace("version: 1", "version: 2")).unwrap_err().contains("newer"));
        for (from, to, place) in [
            ("port: 2", "port: 0", "monitors: \"m\": primary: h:0"),
            ("host: \"h\"", "host: \"h h\"", "monitors: \"m\": configured: \"h h\""),
            ("host: \"h\"", "host: \"\"", "monitors: \"m\": configured: \"\""),
        ] {
            let error = State::decode(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(place), "{error}");
        }
        assert!(State::decode(&text.replace("port: 3", "port: 0")).is_ok(), "a sentinel whose place is not known");
        let (before, replicas) = text.split_once("replicas:").unwrap();
        let mut nowhere =
            State::decode(&format!("{before}replicas:{}", replicas.replacen("port: 1", "port: 0", 1))).unwrap();
        assert_eq!(nowhere.mend(), ["state file: m: replica h:0 has no port, passed over"]);
        assert!(nowhere.monitors[0].replicas.is_empty() && nowhere.mend().is_empty());
    }
}
