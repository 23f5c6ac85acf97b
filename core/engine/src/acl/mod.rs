//! Access control: who may run which command on which keys and channels. Owns the users, their rules and the log of
//! refusals. Called by the guards (before a command), by ACL, AUTH and HELLO, and by the server for files. Never touches a
//! session beyond the copy of its rights, and no file: texts come in and go out, by the server (`UsersFile`).
//!
//! In reading order: `user` (what a user is), `rules` (one word of a rule), `check` (the decision), `category`, `absent`, `log`,
//! `text` (lines of files).

mod absent;
pub mod category;
pub mod check;
pub mod log;
pub mod rules;
mod sessions;
pub mod text;
pub mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use check::{Denied, check};
pub use user::User;

use crate::error::c_text;
use crate::registry::Registry;

/// The user that everybody is at first.
pub const DEFAULT: &str = "default";

/// The file that `aclfile` names, as the server reads and writes it. Errors are in ACL LOAD's and SAVE's words.
pub trait UsersFile: Send + Sync {
    /// What it holds, and how it is called.
    fn read(&self) -> Result<(Vec<u8>, String), String>;
    /// Puts a text in its place, on the disk.
    fn write(&self, text: &[u8]) -> Result<(), String>;
}

/// All users of an engine, and what was refused.
pub struct Acl {
    users: BTreeMap<String, Arc<User>>,
    /// New users and selectors may use all channels (`acl-pubsub-default`).
    pub pubsub_all: bool,
    /// ACL LOG.
    pub log: log::Log,
    /// For commands that can't wait for the server: those of a transaction.
    pub(crate) file: Option<Arc<dyn UsersFile>>,
    /// A command changed users since the start.
    pub(crate) changed: bool,
    /// The `requirepass` that the default user's password came from.
    pub(crate) requirepass: String,
}

impl Default for Acl {
    /// One user that may do everything without a password.
    fn default() -> Self {
        let users = BTreeMap::from([(DEFAULT.to_owned(), Arc::new(User::all_permitted(DEFAULT)))]);
        let (log, requirepass) = (log::Log::default(), String::new());
        Acl { users, pubsub_all: false, log, file: None, changed: false, requirepass }
    }
}

impl Acl {
    /// A user by name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// The same by bytes: no user's name is anything but UTF-8.
    pub fn named(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.user(std::str::from_utf8(name).ok()?)
    }

    /// The default user.
    pub fn default_user(&self) -> &Arc<User> {
        self.users.get(DEFAULT).expect("the default user is never removed")
    }

    /// All users by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// A connection that says nothing is the default user at once: it is on and needs no password.
    pub fn open(&self) -> bool {
        let user = self.default_user();
        user.enabled && user.nopass
    }

    /// The user, if the password is right and the user is on.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let user = self.named(name)?;
        (user.enabled && (user.nopass || user.knows(password))).then_some(user)
    }

    /// What a user would be after some words of rules. Changes nothing: the error names the word that is wrong, as it came.
    pub fn edited(&self, name: &str, words: &[&[u8]], registry: &Registry) -> Result<User, Vec<u8>> {
        let words = rules::join_selectors(words)
            .map_err(|word| [b"Unmatched parenthesis in acl selector starting at '", c_text(word), b"'."].concat())?;
        let mut user = self.users.get(name).map_or_else(|| User::new(name, self.pubsub_all), |user| (**user).clone());
        for word in &words {
            rules::apply(&mut user, word, registry, self.pubsub_all).map_err(|why| {
                [b"Error in ACL SETUSER modifier '", c_text(word), b"': ", why.text().as_bytes()].concat()
            })?;
        }
        user.compile(registry);
        Ok(user)
    }

    /// Takes a user in, or in the place of the one of that name.
    pub(crate) fn put(&mut self, user: User) {
        self.users.insert(user.name.clone(), Arc::new(user));
    }

    /// Removes a user; false if there is none, or if it is the default user.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        name != DEFAULT && self.users.remove(name).is_some()
    }

    /// All users at once (a file was loaded). Without a default user among them, that of the start comes back.
    pub(crate) fn replace(&mut self, users: Vec<User>) {
        self.users = users.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect();
        self.users.entry(DEFAULT.to_owned()).or_insert_with(|| Arc::new(User::all_permitted(DEFAULT)));
    }

    /// `requirepass`: the default user's only password; an empty one lets everybody in. True if it changed.
    pub(crate) fn set_requirepass(&mut self, password: &str) -> bool {
        if self.requirepass == password {
            return false;
        }
        self.requirepass = password.to_owned();
        let mut user = (**self.default_user()).clone();
        user.set_password(password.as_bytes());
        self.put(user);
        true
    }

    /// Commands came or went (a plugin): what the rules allow is worked out again.
    pub(crate) fn compile(&mut self, registry: &Registry) {
        for user in self.users.values_mut() {
            Arc::make_mut(user).compile(registry);
        }
    }
}

/// True if a name could not be written into a line of a file. Redis' words for it are in `BAD_NAME`.
pub fn bad_name(name: &[u8]) -> bool {
    rules::has_spaces(name) || std::str::from_utf8(name).is_err()
}

/// What is answered to a bad name.
pub const BAD_NAME: &str = "ERR Usernames can't contain spaces or null characters";

#[cfg(test)]
mod tests;
