//! Users as lines, `user name on …`: what an ACL file, the configuration and ACL SAVE hold. Pure.

use super::rules::{self, RuleError};
use super::user::User;
use super::{Acl, bad_name};
use crate::registry::Registry;

/// Reads all lines of a file called `place`. The error tells everything that is wrong with it, line by line.
pub fn read(text: &[u8], place: &str, registry: &Registry, pubsub_all: bool) -> Result<Vec<User>, String> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = String::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match read_line(line, registry, pubsub_all) {
            Ok(user) if users.iter().any(|known| known.name == user.name) => {
                errors.push_str(&format!("WARNING: Duplicate user '{}' found on line {}. ", user.name, at + 1));
            }
            Ok(user) => users.push(user),
            Err(problem) => errors.push_str(&problem.told(place, at + 1)),
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    Err(errors + end)
}

/// What is wrong with one line.
enum Problem {
    NoUser,
    BadName(String),
    Bracket,
    Rules(Vec<(String, RuleError)>),
}

impl Problem {
    fn told(&self, place: &str, line: usize) -> String {
        match self {
            Problem::NoUser => format!("{place}:{line} should start with user keyword followed by the username. "),
            Problem::BadName(name) => format!("'{place}:{line}: username '{name}' contains invalid characters. "),
            Problem::Bracket => format!("{place}:{line}: Unmatched parenthesis in selector definition."),
            Problem::Rules(errors) => rule_errors(errors, place, line),
        }
    }
}

/// Every unknown command is named; of the other errors only the first is told, for it may cause the rest, and without the
/// word, which may be a password.
fn rule_errors(errors: &[(String, RuleError)], place: &str, line: usize) -> String {
    let mut told_one = false;
    let mut text = String::new();
    for (word, error) in errors {
        let why = error.text();
        if *error == RuleError::Unknown {
            text.push_str(&format!("{place}:{line}: Error in applying operation '{word}': {why}. "));
        } else if !std::mem::replace(&mut told_one, true) {
            text.push_str(&format!("{place}:{line}: {why}. "));
        }
    }
    text
}

fn read_line(line: &[u8], registry: &Registry, pubsub_all: bool) -> Result<User, Problem> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let (Some(&b"user"), Some(name)) = (words.first(), words.get(1)) else { return Err(Problem::NoUser) };
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    if bad_name(name) {
        return Err(Problem::BadName(lossy(name)));
    }
    let mut user = User::new(&lossy(name), pubsub_all);
    let words = rules::join_selectors(&words[2..]).map_err(|_| Problem::Bracket)?;
    let apply = |word: &Vec<u8>| {
        let word = word.trim_ascii();
        rules::apply(&mut user, word, registry, pubsub_all).err().map(|error| (lossy(word), error))
    };
    let errors: Vec<(String, RuleError)> = words.iter().filter_map(apply).collect();
    if !errors.is_empty() {
        return Err(Problem::Rules(errors));
    }
    user.compile(registry);
    Ok(user)
}

impl Acl {
    /// All users as the lines of a file.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.users().map(|user| user.line()).collect()
    }
}
