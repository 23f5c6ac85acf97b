//! The commands this engine knows, native and from plugins, and their lookup by name. Owns the runtime form of a row and
//! the hash table; never runs a command.

use std::borrow::Cow;
use std::collections::BTreeMap;

use keystead_keyspace::Event;

use crate::args::Args;
use crate::commands::pages;
use crate::foreign::ForeignBody;
use crate::spec::{CommandSpec, ENDPOINT, FAST, Flags, Group, Handler, KeySpec, Uses};
use crate::{still, timing};

/// What runs when a command is called.
#[derive(Clone)]
pub enum Body {
    /// A function of this crate.
    Native(Handler),
    /// A plugin's command.
    Foreign(ForeignBody),
    /// Only subcommands.
    Container,
}

impl Body {
    /// True if it only holds subcommands.
    pub fn is_container(&self) -> bool {
        matches!(self, Body::Container)
    }
}

/// A command as the engine runs it. Commands live as long as the process (a plugin's library stays mapped as well).
#[derive(Clone)]
pub struct Command {
    /// Lower case; `config|get` for a subcommand.
    pub full_name: String,
    /// Lower case; a subcommand's own word.
    pub name: String,
    /// Arguments with the name; negative means "at least".
    pub arity: i32,
    /// What it is and may do.
    pub flags: Flags,
    /// Where the keys are.
    pub keys: KeySpec,
    /// How it uses them.
    pub uses: Uses,
    /// Its documentation group.
    pub group: Group,
    /// First version.
    pub since: String,
    /// One sentence.
    pub summary: String,
    /// Its page, as [`crate::page`] reads it; empty if it has none.
    pub page: Cow<'static, str>,
    /// What runs.
    pub body: Body,
    /// Subcommands by their lower-case word.
    pub subs: Vec<&'static Command>,
    /// What its changes to keys are called.
    pub event: Option<Event>,
    /// Its lookups count as hits and misses.
    pub reader: bool,
    /// It meets keys that it didn't name (SCAN, RANDOMKEY): the deletion of each is a unit of its own.
    pub strays: bool,
    /// Too brief to be timed each time, if it has few arguments.
    pub(crate) brief: bool,
    /// What `letters` makes of its name.
    pub(crate) letters: u64,
    /// It is brief, and changes nothing.
    pub(crate) still: bool,
    /// A setting decides who may run it (DEBUG), whatever else is open to a client.
    pub(crate) reserved: bool,
    /// Position in the statistics.
    pub index: usize,
    /// Further ACL categories, beyond those that follow from flags and group.
    pub categories: Vec<&'static str>,
    /// The plugin it came from.
    pub plugin: Option<String>,
}

impl Command {
    /// True if the number of arguments fits.
    pub fn arity_ok(&self, len: usize) -> bool {
        if self.arity >= 0 { len == self.arity as usize } else { len >= self.arity.unsigned_abs() as usize }
    }

    /// The subcommand with a word, ignoring case.
    pub fn sub(&self, word: &[u8]) -> Option<&'static Command> {
        let letters = letters(word);
        self.subs.iter().copied().find(|sub| sub.letters == letters && sub.is_named(word))
    }

    /// Whether this is its name, ignoring case; it has the same letters.
    #[inline]
    fn is_named(&self, name: &[u8]) -> bool {
        self.name.len() == name.len() && (name.len() <= 8 || self.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A command that a plugin registers: as `CommandSpec`, with owned texts.
pub struct OwnedSpec {
    /// The name; `parent|sub` joins a subcommand to a container: the plugin's own, a new one, or one of the core's.
    pub name: String,
    /// Arguments with the name; negative means "at least".
    pub arity: i32,
    /// What it is and may do.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: KeySpec,
    /// Its documentation group.
    pub group: Group,
    /// First version of the plugin that has it.
    pub since: String,
    /// One sentence.
    pub summary: String,
    /// Its page, as [`crate::page`] reads it; empty if it has none.
    pub page: String,
    /// Further ACL categories, beyond those that follow from flags and group.
    pub categories: Vec<&'static str>,
}

/// A place of the hash table: its command's name as far as it fits into a word.
type Slot = Option<(u64, &'static Command)>;

/// All commands of an engine.
#[derive(Default)]
pub struct Registry {
    slots: Vec<Slot>,
    mask: usize,
    sorted: BTreeMap<String, &'static Command>,
    next_index: usize,
    /// Grows with every change: what was found before may be another's, or nobody's.
    changes: u32,
}

/// A command that was looked up ahead of its execution.
#[derive(Clone, Copy)]
pub struct Known {
    command: &'static Command,
    changes: u32,
    /// It was found by its name, whatever stands behind that.
    by_name: bool,
}

impl Known {
    /// Whether another command with the same name is the same.
    #[inline]
    pub fn is_by_name(self) -> bool {
        self.by_name
    }

    /// What was found.
    pub(crate) fn command(self) -> &'static Command {
        self.command
    }
}

/// DEBUG and whatever stands in it, a plugin's subcommands too.
fn is_reserved(full_name: &str) -> bool {
    full_name.split('|').next() == Some("debug")
}

/// The first and the last four bytes of a name, case folded; all of a name of up to eight. Without a loop for nearly all:
/// every command passes here.
#[inline]
fn letters(name: &[u8]) -> u64 {
    let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32,
        _ => name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    lower(word)
}

/// `to_ascii_lowercase` of eight bytes at once: a carry into a byte's highest bit says that it is at least `A`, or beyond `Z`.
#[inline]
fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = word & !HIGH;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = (from_a ^ beyond_z) & !word & HIGH;
    word | upper >> 2
}

/// Names are short and known: few collide.
#[inline]
fn fold(letters: u64, len: usize) -> usize {
    ((letters ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

impl Registry {
    /// Adds the rows of a family; on an endpoint only those that are offered there. A container is offered with those of
    /// its subcommands that are.
    pub fn add_family(&mut self, rows: &[CommandSpec], endpoint: bool) {
        let offered = |row: &CommandSpec| !endpoint || row.flags.has(ENDPOINT);
        for row in rows.iter().filter(|row| offered(row) || row.handler.is_none() && row.subs.iter().any(offered)) {
            let command = self.native(row, None, endpoint);
            self.sorted.insert(command.name.clone(), command);
        }
        self.rebuild();
    }

    fn native(&mut self, row: &CommandSpec, parent: Option<&str>, endpoint: bool) -> &'static Command {
        let full_name = match parent {
            Some(parent) => format!("{parent}|{}", row.name),
            None => row.name.to_owned(),
        };
        let index = self.take_index();
        let offered = row.subs.iter().filter(|sub| !endpoint || sub.flags.has(ENDPOINT));
        let subs = offered.map(|sub| self.native(sub, Some(row.name), endpoint)).collect();
        let brief = timing::is_brief(&full_name, row.flags.has(FAST) && parent.is_none());
        let still = brief && still::is_still(&full_name, row.flags);
        let reserved = is_reserved(&full_name);
        let page = Cow::Borrowed(pages::of(&full_name));
        Box::leak(Box::new(Command {
            full_name,
            letters: letters(row.name.as_bytes()),
            name: row.name.to_owned(),
            arity: row.arity,
            flags: row.flags,
            keys: row.keys,
            uses: row.uses,
            group: row.group,
            since: row.since.to_owned(),
            summary: row.summary.to_owned(),
            page,
            body: row.handler.map_or(Body::Container, Body::Native),
            subs,
            event: crate::notify::event_of(parent, row.name, row.group),
            reader: crate::notify::is_reader(row.flags, row.name),
            brief,
            still,
            reserved,
            strays: parent.is_none() && matches!(row.name, "scan" | "randomkey"),
            index,
            categories: Vec::new(),
            plugin: None,
        }))
    }

    fn take_index(&mut self) -> usize {
        self.next_index += 1;
        self.next_index - 1
    }

    /// Adds a plugin's command. A name that is taken is refused, unless `replace` says that the native one gives way.
    pub fn add_foreign(
        &mut self,
        plugin: &str,
        spec: OwnedSpec,
        body: ForeignBody,
        replace: bool,
    ) -> Result<&'static Command, String> {
        let lower = spec.name.to_ascii_lowercase();
        if let Some((parent, word)) = lower.split_once('|') {
            return self.add_foreign_sub(plugin, parent, word, spec, body);
        }
        if let Some(old) = self.sorted.get(&lower)
            && !replace
        {
            let owner = old.plugin.as_deref().unwrap_or("the core");
            return Err(format!("command '{lower}' exists already (from {owner})"));
        }
        let command = self.foreign(plugin, lower.clone(), lower, spec, Body::Foreign(body), Vec::new());
        self.insert(command);
        Ok(command)
    }

    fn add_foreign_sub(
        &mut self,
        plugin: &str,
        parent: &str,
        word: &str,
        spec: OwnedSpec,
        body: ForeignBody,
    ) -> Result<&'static Command, String> {
        let old = self.sorted.get(parent).copied();
        if old.is_some_and(|old| old.sub(word.as_bytes()).is_some()) {
            return Err(format!("subcommand '{parent}|{word}' exists already"));
        }
        let open = |old: &Command| match &old.plugin {
            Some(owner) => owner == plugin,
            None => old.body.is_container(),
        };
        if old.is_some_and(|old| !open(old)) {
            return Err(format!("'{parent}' belongs to somebody else: '{word}' cannot be added to it"));
        }
        let group = spec.group;
        // As old as what was declared first.
        let since = old.map_or_else(|| spec.since.clone(), |old| old.since.clone());
        let sub = self.foreign(plugin, format!("{parent}|{word}"), word.to_owned(), spec, Body::Foreign(body), vec![]);
        let mut subs = old.map(|old| old.subs.clone()).unwrap_or_default();
        subs.push(sub);
        if let Some(old) = old.filter(|old| old.plugin.is_none()) {
            // The core's own container, with one more word. Both count in the same place.
            self.insert(Box::leak(Box::new(Command { subs, ..old.clone() })));
            return Ok(sub);
        }
        // The container is allowed whatever its subcommands are: their own flags decide.
        let holder = OwnedSpec {
            name: parent.to_owned(),
            arity: -2,
            flags: Flags::NONE,
            keys: KeySpec::None,
            group,
            since,
            summary: format!("A container for {} commands.", parent.to_uppercase()),
            page: String::new(),
            categories: Vec::new(),
        };
        let holder = self.foreign(plugin, parent.to_owned(), parent.to_owned(), holder, Body::Container, subs);
        self.insert(holder);
        Ok(sub)
    }

    fn foreign(
        &mut self,
        plugin: &str,
        full_name: String,
        name: String,
        spec: OwnedSpec,
        body: Body,
        subs: Vec<&'static Command>,
    ) -> &'static Command {
        let index = self.take_index();
        let reserved = is_reserved(&full_name);
        Box::leak(Box::new(Command {
            full_name,
            letters: letters(name.as_bytes()),
            name,
            arity: spec.arity,
            flags: spec.flags,
            keys: spec.keys,
            uses: Uses::Usual,
            group: spec.group,
            since: spec.since,
            summary: spec.summary,
            page: Cow::Owned(spec.page),
            body,
            subs,
            event: None,
            reader: spec.flags.has(crate::spec::READONLY),
            strays: false,
            brief: spec.flags.has(FAST),
            still: false,
            reserved,
            index,
            categories: spec.categories,
            plugin: Some(plugin.to_owned()),
        }))
    }

    /// Removes all commands of a plugin (it was stopped or faulted).
    pub fn remove_plugin(&mut self, plugin: &str) -> usize {
        let before = self.sorted.len();
        let theirs = |command: &Command| command.plugin.as_deref() == Some(plugin);
        self.sorted.retain(|_, command| !theirs(command));
        for command in self.sorted.values_mut().filter(|command| command.subs.iter().any(|sub| theirs(sub))) {
            let mut without = command.clone();
            without.subs.retain(|sub| !theirs(sub));
            *command = Box::leak(Box::new(without));
        }
        self.rebuild();
        before - self.sorted.len()
    }

    fn insert(&mut self, command: &'static Command) {
        self.sorted.insert(command.name.clone(), command);
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.changes = self.changes.wrapping_add(1);
        let size = (self.sorted.len() * 4).next_power_of_two().max(64);
        self.mask = size - 1;
        self.slots = vec![None; size];
        for command in self.sorted.values() {
            let mut at = fold(command.letters, command.name.len()) & self.mask;
            while self.slots[at].is_some() {
                at = (at + 1) & self.mask;
            }
            self.slots[at] = Some((command.letters, command));
        }
    }

    /// The command with a name, ignoring case. Constant time, no allocation.
    #[inline(always)]
    pub fn find(&self, name: &[u8]) -> Option<&'static Command> {
        if self.slots.is_empty() {
            return None;
        }
        let letters = letters(name);
        let mut at = fold(letters, name.len()) & self.mask;
        while let Some((word, command)) = self.slots[at] {
            if word == letters && command.is_named(name) {
                return Some(command);
            }
            at = (at + 1) & self.mask;
        }
        None
    }

    /// The command behind a name, or behind a name and a subcommand.
    #[inline(always)]
    pub(crate) fn resolve(&self, args: Args<'_>) -> Option<&'static Command> {
        self.look_ahead(args).map(Known::command)
    }

    /// The same, to be kept until it is executed.
    #[inline(always)]
    pub(crate) fn look_ahead(&self, args: Args<'_>) -> Option<Known> {
        let named = self.find(args.at(0))?;
        let (command, by_name) = match args.get(1) {
            _ if named.subs.is_empty() => (named, true),
            Some(word) => (named.sub(word)?, false),
            // COMMAND too, which does something alone.
            None => (named, false),
        };
        Some(Known { command, changes: self.changes, by_name })
    }

    /// As if it had been looked up.
    #[cfg(test)]
    pub(crate) fn know(&self, command: &'static Command) -> Known {
        Known { command, changes: self.changes, by_name: true }
    }

    /// What was found ahead, if nothing has changed since.
    #[inline]
    pub(crate) fn recall(&self, known: Option<Known>) -> Option<&'static Command> {
        known.filter(|known| known.changes == self.changes).map(Known::command)
    }

    /// A command or `container|subcommand` by its full name.
    pub fn find_full(&self, name: &str) -> Option<&'static Command> {
        match name.split_once('|') {
            Some((parent, word)) => self.find(parent.as_bytes())?.sub(word.as_bytes()),
            None => self.find(name.as_bytes()),
        }
    }

    /// All commands by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &'static Command> {
        self.sorted.values().copied()
    }

    /// How many statistics slots are needed.
    pub fn indexes(&self) -> usize {
        self.next_index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_are_folded_as_each_alone() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = *b"zZ{@[`aA";
                bytes[at] = byte;
                let expected = u64::from_le_bytes(bytes.map(|byte| byte.to_ascii_lowercase()));
                assert_eq!(lower(u64::from_le_bytes(bytes)), expected, "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_name_is_found_in_any_case_and_nothing_that_only_looks_like_it() {
        let engine = crate::Engine::new(crate::EngineOptions::default());
        let registry = &engine.core.registry;
        for command in registry.all() {
            let name = command.name.as_bytes();
            assert!(registry.find(&name.to_ascii_uppercase()).is_some_and(|found| found.index == command.index));
            for at in 0..name.len() {
                let mut other = name.to_vec();
                // What folding by one bit would take for the letter.
                other[at] ^= 0x40;
                assert!(registry.find(&other).is_none(), "{}", String::from_utf8_lossy(&other));
            }
            assert!(registry.find(&[name, b"\0"].concat()).is_none());
        }
        assert!(registry.find(b"").is_none());
    }
}
