//! Keyspace events: what subscribers are told of changes to keys. Owns which event a command's changes are called, which
//! classes `notify-keyspace-events` lets through, and the two messages of an event. It only reads what the keyspace
//! logged, so expiry, eviction, a primary's stream and plugins are told of like any client's command.

use keystead_keyspace::{Class, Event, Touched, Why};

use crate::core::Core;
use crate::pubsub::{self, Space};
use crate::session::SessionId;
use crate::spec::{Flags, Group, READONLY};

/// `notify-keyspace-events` as bits: those of [`Class`], and the two spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen(u16);

/// `K`: events are published under the key's name.
const BY_KEY: u16 = 1 << 14;
/// `E`: events are published under the event's name.
const BY_EVENT: u16 = 1 << 15;

/// The letters in the order CONFIG GET shows them.
const CLASSES: [(char, Class); 12] = [
    ('g', Class::Generic),
    ('$', Class::String),
    ('l', Class::List),
    ('s', Class::Set),
    ('h', Class::Hash),
    ('z', Class::ZSet),
    ('x', Class::Expired),
    ('e', Class::Evicted),
    ('t', Class::Stream),
    ('d', Class::Module),
    ('n', Class::New),
    ('m', Class::Miss),
];

/// What `A` stands for: all but new keys and misses.
const ALL: u16 = Class::New as u16 - 1;

impl Chosen {
    /// Reads the parameter's text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in text.chars() {
            bits |= match letter {
                'A' => ALL,
                'K' => BY_KEY,
                'E' => BY_EVENT,
                _ => CLASSES.iter().find(|(known, _)| *known == letter)?.1 as u16,
            };
        }
        Some(Chosen(bits))
    }

    /// The text CONFIG GET shows.
    pub fn text(self) -> String {
        let mut text = String::new();
        let all = self.0 & ALL == ALL;
        if all {
            text.push('A');
        }
        let shown = |class: Class| self.0 & class as u16 != 0 && !(all && class as u16 & ALL != 0);
        text.extend(CLASSES[..11].iter().filter(|(_, class)| shown(*class)).map(|(letter, _)| letter));
        text.extend([('K', BY_KEY), ('E', BY_EVENT)].iter().filter(|(_, bit)| self.0 & bit != 0).map(|(c, _)| c));
        text.extend(shown(Class::Miss).then_some('m'));
        text
    }

    /// True if any event could be published.
    #[inline]
    pub fn any(self) -> bool {
        self.0 & (BY_KEY | BY_EVENT) != 0
    }

    /// True if keys that reads didn't find are told.
    pub fn misses(self) -> bool {
        self.any() && self.0 & Class::Miss as u16 != 0
    }
}

/// What the changes of a command are called, unless its handler says otherwise.
pub(crate) fn event_of(parent: Option<&str>, name: &'static str, group: Group) -> Option<Event> {
    let class = match group {
        Group::String | Group::Bitmap | Group::HyperLogLog => Class::String,
        Group::List => Class::List,
        Group::Set => Class::Set,
        Group::Hash => Class::Hash,
        Group::SortedSet | Group::Geo => Class::ZSet,
        Group::Stream => Class::Stream,
        Group::Generic => Class::Generic,
        // Redis' one that isn't generic by its group.
        _ if name == "restore-asking" => Class::Generic,
        _ => return None,
    };
    let name = match name {
        "create" if parent == Some("xgroup") => "xgroup-create",
        "setid" if parent == Some("xgroup") => "xgroup-setid",
        "destroy" if parent == Some("xgroup") => "xgroup-destroy",
        "createconsumer" if parent == Some("xgroup") => "xgroup-createconsumer",
        "delconsumer" if parent == Some("xgroup") => "xgroup-delconsumer",
        "mset" | "msetnx" | "setnx" | "setex" | "psetex" | "getset" | "bitop" => "set",
        "incr" | "decr" | "decrby" => "incrby",
        "bitfield" => "setbit",
        "pfmerge" => "pfadd",
        "lpushx" => "lpush",
        "rpushx" => "rpush",
        "blpop" => "lpop",
        "brpop" => "rpop",
        "hmset" | "hsetnx" => "hset",
        "hpexpire" | "hexpireat" | "hpexpireat" => "hexpire",
        "zincrby" => "zincr",
        "geoadd" => "zadd",
        "restore-asking" => "restore",
        "bzpopmin" => "zpopmin",
        "bzpopmax" => "zpopmax",
        "georadius" | "georadiusbymember" => "georadiusstore",
        "pexpire" | "expireat" | "pexpireat" => "expire",
        "sort" => return Some(Event::new(Class::List, "sortstore")),
        name => name,
    };
    Some(Event::new(class, name))
}

/// Writing commands that look up a key as a reader: that it wasn't there is told.
const ALSO_READ: &[&str] = &[
    "set",
    "getset",
    "getdel",
    "getex",
    "copy",
    "bitop",
    "sort",
    "pfmerge",
    "sinterstore",
    "sunionstore",
    "sdiffstore",
    "zunionstore",
    "zinterstore",
    "zdiffstore",
    "zrangestore",
    "geosearchstore",
    "georadius",
    "georadiusbymember",
    "xack",
    "xautoclaim",
    "xclaim",
    "xreadgroup",
];

/// True if a command's lookups count as hits and misses.
pub(crate) fn is_reader(flags: Flags, name: &str) -> bool {
    flags.has(READONLY) || ALSO_READ.contains(&name)
}

/// The events of one change, or of a miss, around the invalidation that caches are told.
pub(crate) struct Told {
    /// In front of it.
    pub(crate) before: [Option<Event>; 3],
    /// Behind it.
    pub(crate) after: [Option<Event>; 2],
}

/// What is told of a change, in Redis' order. Most commands first say that the key was modified, then what they did.
pub(crate) fn events(item: &Touched<'_>) -> Told {
    let came = match item.why {
        Why::Created | Why::CreatedPlain => Some(Event::NEW),
        Why::Expired => Some(Event::EXPIRED),
        _ => None,
    };
    let named = if item.why == Why::Evicted { Some(Event::EVICTED) } else { item.event };
    let gone = match (item.why, item.event) {
        (Why::Emptied, _) | (Why::Removed, None) => Some(Event::DEL),
        _ => None,
    };
    match item.event.map(|event| event.name) {
        Some("lpop" | "rpop" | "ltrim" | "spop" | "zrem" | "xtrim") => {
            Told { before: [came, named, gone], after: [None; 2] }
        }
        Some("zpopmin" | "zpopmax") => Told { before: [came, named, None], after: [gone, None] },
        _ => Told { before: [came, None, None], after: [named, gone] },
    }
}

/// Publishes what a command, or the server itself, did to a key.
pub(crate) fn publish(core: &mut Core, me: SessionId, item: &Touched<'_>, events: &[Option<Event>]) {
    for event in events.iter().flatten() {
        publish_one(core, me, item.db, item.key, *event);
    }
}

fn publish_one(core: &mut Core, me: SessionId, db: usize, key: &[u8], event: Event) {
    let chosen = core.config.live.notify.0;
    if chosen & event.class as u16 == 0 {
        return;
    }
    let mut send = |channel: &[u8], message: &[u8]| {
        pubsub::publish(core, Some(me), Space::Channel, channel, message);
    };
    if chosen & BY_KEY != 0 {
        send(&[format!("__keyspace@{db}__:").as_bytes(), key].concat(), event.name.as_bytes());
    }
    if chosen & BY_EVENT != 0 {
        send(format!("__keyevent@{db}__:{}", event.name).as_bytes(), key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_reads_as_redis_shows_it() {
        let cases = [
            ("", ""),
            ("KEA", "AKE"),
            ("gnK", "gnK"),
            ("g$lshzxetdKE", "AKE"),
            ("Kx", "xK"),
            ("KEm", "KEm"),
            ("AKEnm", "AnKEm"),
            ("x", "x"),
        ];
        for (text, shown) in cases {
            assert_eq!(Chosen::parse(text).map(Chosen::text).as_deref(), Some(shown), "{text}");
        }
        assert_eq!(Chosen::parse("KEq"), None);
    }

    #[test]
    fn nothing_is_published_without_a_space() {
        assert!(!Chosen::parse("Am").unwrap_or_default().any());
        assert!(!Chosen::parse("Am").unwrap_or_default().misses());
        assert!(Chosen::parse("Km").unwrap_or_default().misses());
    }
}
