//! A user and its selectors: passwords, what may be run, on which keys, on which channels; and how they are written down.
//! Owns the data and its text; what one word of a rule changes is in `rules.rs`.

use sha2::{Digest, Sha256};

use super::category;
use crate::registry::{Command, Registry};

/// One user. Sessions hold a shared copy; a change makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// `on`
    pub enabled: bool,
    /// `nopass`: any password will do.
    pub nopass: bool,
    /// `skip-sanitize-payload` (false), `sanitize-payload` (true). RESTORE checks its payload for everybody here.
    pub sanitize: Option<bool>,
    /// SHA-256 of its passwords, in hexadecimal digits.
    pub passwords: Vec<String>,
    /// What it may do; the first is the one that plain rules change.
    pub selectors: Vec<Selector>,
}

/// A set of rights. A command runs if one selector allows all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `~*`
    pub all_keys: bool,
    /// `&*`
    pub all_channels: bool,
    /// `~…`, `%R~…`
    pub keys: Vec<KeyPattern>,
    /// `&…`
    pub channels: Vec<Vec<u8>>,
    /// What holds for commands that no rule names: `+@all` (true) or `-@all`.
    pub base: bool,
    /// Rules for commands and categories, in order.
    pub rules: Vec<CommandRule>,
    allowed: Allowed,
}

/// A pattern of keys and what may be done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// The glob.
    pub pattern: Vec<u8>,
    /// `%R`
    pub read: bool,
    /// `%W`
    pub write: bool,
}

/// `+get`, `-@dangerous`, `+config|get`, `+select|0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRule {
    /// `+` or `-`.
    pub allow: bool,
    /// What stands behind it, lower case.
    pub name: String,
}

/// What base and rules come to: a bit per command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Allowed {
    bits: Vec<u64>,
    /// Commands that are allowed with some first argument only.
    first_args: Vec<(usize, String)>,
}

impl User {
    /// A new user: off, nothing allowed.
    pub fn new(name: &str, pubsub_all: bool) -> User {
        User {
            name: name.to_owned(),
            enabled: false,
            nopass: false,
            sanitize: Some(true),
            passwords: Vec::new(),
            selectors: vec![Selector::new(pubsub_all)],
        }
    }

    /// A user that may do everything without a password.
    pub fn all_permitted(name: &str) -> User {
        let mut user = User::new(name, true);
        (user.enabled, user.nopass) = (true, true);
        user.root().base = true;
        user.root().all_keys = true;
        user
    }

    /// The selector that plain rules change.
    pub(super) fn root(&mut self) -> &mut Selector {
        &mut self.selectors[0]
    }

    /// Nothing is forbidden: no command needs to be looked at.
    pub fn unrestricted(&self) -> bool {
        self.selectors.iter().any(|one| one.all_keys && one.all_channels && one.all_commands())
    }

    /// True for one of its passwords. Takes the same time whichever is compared.
    pub fn knows(&self, password: &[u8]) -> bool {
        let hash = hash(password);
        self.passwords.iter().fold(false, |found, known| found | same(known.as_bytes(), hash.as_bytes()))
    }

    pub(super) fn set_password(&mut self, password: &[u8]) {
        self.nopass = password.is_empty();
        self.passwords = if self.nopass { Vec::new() } else { vec![hash(password)] };
    }

    /// Works out what the rules allow with the commands that there are.
    pub(super) fn compile(&mut self, registry: &Registry) {
        self.selectors.iter_mut().for_each(|selector| selector.compile(registry));
    }

    /// The words of ACL GETUSER's flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.enabled, "on"),
            (!self.enabled, "off"),
            (self.nopass, "nopass"),
            (self.sanitize == Some(false), "skip-sanitize-payload"),
            (self.sanitize == Some(true), "sanitize-payload"),
        ];
        words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word)
    }

    /// The line of ACL LIST and of files: `user name on …`.
    pub fn line(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name.clone().into_bytes()];
        words.extend(self.flags().map(|flag| flag.as_bytes().to_vec()));
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}").into_bytes()));
        for (at, selector) in self.selectors.iter().enumerate() {
            let text = selector.line();
            words.push(if at == 0 { text } else { [b"(", text.as_slice(), b")"].concat() });
        }
        words.join(&b' ')
    }
}

impl Selector {
    /// Nothing allowed, but perhaps all channels.
    pub fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    /// Whatever the command, it may run.
    pub(super) fn all_commands(&self) -> bool {
        self.base && self.rules.iter().all(|rule| rule.allow)
    }

    /// A rule for a command or category, in the place of those that it makes meaningless.
    pub(super) fn add_rule(&mut self, allow: bool, name: &str) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|old| {
            let rest = old.name.strip_prefix(&name);
            rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('|'))
        });
        self.rules.push(CommandRule { allow, name });
    }

    /// `+@all`, `-@all`.
    pub(super) fn set_base(&mut self, allow: bool) {
        self.base = allow;
        self.rules.clear();
    }

    pub(super) fn compile(&mut self, registry: &Registry) {
        let fill = if self.base { u64::MAX } else { 0 };
        let mut allowed = Allowed { bits: vec![fill; registry.indexes().div_ceil(64)], first_args: Vec::new() };
        for rule in &self.rules {
            if let Some(category) = rule.name.strip_prefix('@') {
                let all =
                    registry.all().flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()));
                all.filter(|command| category::has(command, category)).for_each(|c| allowed.set(c, rule.allow));
            } else if let Some(command) = registry.find_full(&rule.name) {
                allowed.set(command, rule.allow);
            } else if let Some((name, word)) = rule.name.split_once('|')
                && let Some(command) = registry.find_full(name)
            {
                allowed.first_args.push((command.index, word.to_owned()));
            }
        }
        self.allowed = allowed;
    }

    /// May this command be run at all; for some only with this first argument.
    pub(super) fn allows(&self, command: &Command, first: Option<&[u8]>) -> bool {
        let bit = self.allowed.bits.get(command.index / 64).map(|word| word >> (command.index % 64) & 1 == 1);
        // Rules for a command that came later were not worked out yet: the base decides.
        if bit.unwrap_or(self.base) {
            return true;
        }
        let Some(first) = first else { return false };
        let fits = |word: &str| word.as_bytes().eq_ignore_ascii_case(first);
        self.allowed.first_args.iter().any(|(index, word)| *index == command.index && fits(word))
    }

    /// `+@all -get`, as ACL GETUSER shows it.
    pub fn commands_text(&self) -> String {
        let mut text = if self.base { "+@all" } else { "-@all" }.to_owned();
        for rule in &self.rules {
            text.push_str(if rule.allow { " +" } else { " -" });
            text.push_str(&rule.name);
        }
        text
    }

    /// `~a %R~b`, as ACL GETUSER shows it.
    pub fn keys_text(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut words: Vec<Vec<u8>> = self.keys.iter().map(KeyPattern::text).collect();
        // `~*` beside other patterns would be refused or take them away when the line is read again; Redis lists it so.
        if words.len() > 1 {
            words.iter_mut().filter(|word| *word == b"~*").for_each(|word| *word = b"%RW~*".to_vec());
        }
        words.join(&b' ')
    }

    /// `&a &b`, as ACL GETUSER shows it.
    pub fn channels_text(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let patterns = self.channels.iter().map(|channel| [b"&", channel.as_slice()].concat());
        patterns.collect::<Vec<_>>().join(&b' ')
    }

    /// All of it, as it stands in a line.
    fn line(&self) -> Vec<u8> {
        let mut words = Vec::new();
        words.push(self.keys_text());
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.channels_text());
        words.push(self.commands_text().into_bytes());
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

impl KeyPattern {
    fn text(&self) -> Vec<u8> {
        let sign: &[u8] = match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [sign, self.pattern.as_slice()].concat()
    }
}

impl Allowed {
    /// Says it for a command and its subcommands.
    fn set(&mut self, command: &Command, allow: bool) {
        for index in std::iter::once(command.index).chain(command.subs.iter().map(|sub| sub.index)) {
            let bit = 1 << (index % 64);
            match allow {
                true => self.bits[index / 64] |= bit,
                false => self.bits[index / 64] &= !bit,
            }
        }
        self.first_args.retain(|(index, _)| *index != command.index);
    }
}

/// SHA-256 in hexadecimal digits.
pub fn hash(password: &[u8]) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}
