//! One word of a rule (`on`, `>secret`, `~key*`, `+@read`) and what it changes. Pure; owns the syntax and its errors.

use super::user::{KeyPattern, Selector, User, hash};
use super::{absent, category};
use crate::registry::Registry;

/// Why a word is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// It is no rule.
    Syntax,
    /// No such command or category.
    Unknown,
    /// A pattern behind `~*`.
    AfterAllKeys,
    /// A pattern behind `&*`.
    AfterAllChannels,
    /// A password to be removed is not there.
    NoPassword,
    /// A hash that is none.
    BadHash,
    /// `+config|get|x`
    FirstArgOfSub,
}

impl RuleError {
    /// Redis' words.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Syntax => "Syntax error",
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoPassword => "The password you are trying to remove from the user does not exist",
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::FirstArgOfSub => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

type Done = Result<(), RuleError>;

/// Words that belong to one selector, `(~a` and `+get)`, become one. An error is the word whose bracket stays open.
pub(super) fn join_selectors<'w>(words: &[&'w [u8]]) -> Result<Vec<Vec<u8>>, &'w [u8]> {
    let mut joined = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.iter().enumerate() {
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.last() == Some(&b')') {
                    joined.extend(open.take().map(|(_, selector)| selector));
                }
            }
            None if word.first() == Some(&b'(') && word.last() != Some(&b')') => open = Some((at, word.to_vec())),
            None => joined.push(word.to_vec()),
        }
    }
    match open {
        Some((at, _)) => Err(words[at]),
        None => Ok(joined),
    }
}

/// Changes a user by one word. `pubsub_all` is what a fresh selector may do with channels.
pub(super) fn apply(user: &mut User, word: &[u8], registry: &Registry, pubsub_all: bool) -> Done {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match word {
        [] => {}
        _ if is("on") => user.enabled = true,
        _ if is("off") => user.enabled = false,
        _ if is("skip-sanitize-payload") => user.sanitize = Some(false),
        _ if is("sanitize-payload") => user.sanitize = Some(true),
        _ if is("nopass") => (user.nopass, user.passwords) = (true, Vec::new()),
        _ if is("resetpass") => (user.nopass, user.passwords) = (false, Vec::new()),
        _ if is("clearselectors") => user.selectors.truncate(1),
        _ if is("reset") => *user = User::new(&user.name, pubsub_all),
        [b'>', password @ ..] => add_password(user, hash(password)),
        [b'#', digits @ ..] => add_password(user, checked_hash(digits)?),
        [b'<', password @ ..] => remove_password(user, &hash(password))?,
        [b'!', digits @ ..] => remove_password(user, &checked_hash(digits)?)?,
        [b'(', inside @ .., b')'] => {
            let mut selector = Selector::new(pubsub_all);
            for word in inside.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                // Written down, the selector would end here when it is read again, and the rest be the user's own rules.
                if word.ends_with(b")") {
                    return Err(RuleError::Syntax);
                }
                change_selector(&mut selector, word, registry)?;
            }
            user.selectors.push(selector);
        }
        _ => change_selector(user.root(), word, registry)?,
    }
    Ok(())
}

fn add_password(user: &mut User, hash: String) {
    if !user.passwords.contains(&hash) {
        user.passwords.push(hash);
    }
    user.nopass = false;
}

fn remove_password(user: &mut User, hash: &str) -> Done {
    let at = user.passwords.iter().position(|known| known == hash).ok_or(RuleError::NoPassword)?;
    user.passwords.remove(at);
    Ok(())
}

fn checked_hash(digits: &[u8]) -> Result<String, RuleError> {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 64 || !digits.iter().all(hex) {
        return Err(RuleError::BadHash);
    }
    Ok(String::from_utf8_lossy(digits).into_owned())
}

fn change_selector(selector: &mut Selector, word: &[u8], registry: &Registry) -> Done {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match word {
        _ if is("allkeys") || is("~*") => (selector.all_keys, selector.keys) = (true, Vec::new()),
        _ if is("resetkeys") => (selector.all_keys, selector.keys) = (false, Vec::new()),
        _ if is("allchannels") || is("&*") => (selector.all_channels, selector.channels) = (true, Vec::new()),
        _ if is("resetchannels") => (selector.all_channels, selector.channels) = (false, Vec::new()),
        _ if is("allcommands") || is("+@all") => selector.set_base(true),
        _ if is("nocommands") || is("-@all") => selector.set_base(false),
        [b'~' | b'%', ..] if selector.all_keys => return Err(RuleError::AfterAllKeys),
        [b'~', pattern @ ..] => add_keys(selector, pattern, true, true)?,
        [b'%', rest @ ..] => {
            let (pattern, read, write) = permissions(rest)?;
            add_keys(selector, pattern, read, write)?;
        }
        [b'&', pattern @ ..] => add_channels(selector, pattern)?,
        [sign @ (b'+' | b'-'), b'@', name @ ..] => {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            if !category::known(registry, &name) {
                return Err(RuleError::Unknown);
            }
            selector.add_rule(*sign == b'+', &format!("@{name}"));
        }
        [sign @ (b'+' | b'-'), name @ ..] => {
            // No command's name is anything else, and another word must not be kept in the place of a first argument.
            let name = std::str::from_utf8(name).map_err(|_| RuleError::Unknown)?.to_ascii_lowercase();
            selector.add_rule(*sign == b'+', &known_command(&name, *sign == b'+', registry)?);
        }
        _ => return Err(RuleError::Syntax),
    }
    Ok(())
}

/// `R~pattern`, `rw~pattern`.
fn permissions(word: &[u8]) -> Result<(&[u8], bool, bool), RuleError> {
    let (mut read, mut write) = (false, false);
    for (at, byte) in word.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !read => read = true,
            b'W' if !write => write = true,
            b'~' if read || write => return Ok((&word[at + 1..], read, write)),
            _ => return Err(RuleError::Syntax),
        }
    }
    // Redis takes a word without a pattern as the empty one.
    if read || write { Ok((&[], read, write)) } else { Err(RuleError::Syntax) }
}

fn add_keys(selector: &mut Selector, pattern: &[u8], read: bool, write: bool) -> Done {
    if has_spaces(pattern) {
        return Err(RuleError::Syntax);
    }
    match selector.keys.iter_mut().find(|known| known.pattern == pattern) {
        Some(known) => (known.read, known.write) = (known.read | read, known.write | write),
        None => selector.keys.push(KeyPattern { pattern: pattern.to_vec(), read, write }),
    }
    Ok(())
}

fn add_channels(selector: &mut Selector, pattern: &[u8]) -> Done {
    if selector.all_channels {
        return Err(RuleError::AfterAllChannels);
    }
    if has_spaces(pattern) {
        return Err(RuleError::Syntax);
    }
    if !selector.channels.iter().any(|known| known == pattern) {
        selector.channels.push(pattern.to_vec());
    }
    Ok(())
}

/// The name as it is kept: a command's, a subcommand's, or (only to allow it) a command's with a first argument.
fn known_command(name: &str, allow: bool, registry: &Registry) -> Result<String, RuleError> {
    if let Some(command) = registry.find_full(name) {
        return Ok(command.full_name.clone());
    }
    if absent::known(name) {
        return Ok(name.to_owned());
    }
    let Some((before, word)) = name.rsplit_once('|').filter(|_| allow) else { return Err(RuleError::Unknown) };
    let container = match registry.find_full(before) {
        Some(command) => !command.subs.is_empty(),
        None if absent::known(before) => absent::is_container(before),
        None => return Err(RuleError::Unknown),
    };
    match word {
        _ if before.contains('|') => Err(RuleError::FirstArgOfSub),
        "" => Err(RuleError::Syntax),
        _ if container => Err(RuleError::Unknown),
        _ => Ok(name.to_owned()),
    }
}

/// As C's isspace, and NUL.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0 | b' ' | b'\t'..=b'\r'))
}
