//! What a command answers when it fails. Owns the texts that many commands share; the connection always stays.

use std::borrow::Cow;
use std::fmt;

/// An error reply. Its text starts with the code ("ERR …", "WRONGTYPE …"), without the leading dash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    text: Cow<'static, str>,
    counted: bool,
}

impl CommandError {
    /// `-ERR syntax error`
    pub const SYNTAX: CommandError = CommandError::fixed("ERR syntax error");
    /// Operation against a key that holds another type.
    pub const WRONG_TYPE: CommandError =
        CommandError::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// A number was expected.
    pub const NOT_INTEGER: CommandError = CommandError::fixed("ERR value is not an integer or out of range");
    /// A floating point number was expected.
    pub const NOT_FLOAT: CommandError = CommandError::fixed("ERR value is not a valid float");
    /// The key must exist for this command.
    pub const NO_KEY: CommandError = CommandError::fixed("ERR no such key");
    /// A position past the end or before the start.
    pub const OUT_OF_RANGE: CommandError = CommandError::fixed("ERR index out of range");
    /// SELECT, MOVE, COPY … with a database that does not exist.
    pub const DB_RANGE: CommandError = CommandError::fixed("ERR DB index is out of range");
    /// A number that must not be negative.
    pub const NOT_POSITIVE: CommandError = CommandError::fixed("ERR value is out of range, must be positive");
    /// The calling connection must authenticate first.
    pub const NO_AUTH: CommandError = CommandError::fixed("NOAUTH Authentication required.");

    /// What a script may not call.
    pub const NOT_FROM_SCRIPT: CommandError = CommandError::fixed("ERR This Redis command is not allowed from script");

    /// An error with a text known at compile time.
    pub const fn fixed(text: &'static str) -> Self {
        CommandError { text: Cow::Borrowed(text), counted: false }
    }

    /// An error with a text made now. Line breaks would break the protocol: the writer replaces them.
    pub fn new(text: impl Into<String>) -> Self {
        CommandError { text: Cow::Owned(text.into()), counted: false }
    }

    /// `ERR wrong number of arguments for 'name' command`
    pub fn arity(full_name: &str) -> Self {
        CommandError::new(format!("ERR wrong number of arguments for '{full_name}' command"))
    }

    /// `ERR unknown subcommand 'sub'. Try NAME HELP.`
    pub fn unknown_subcommand(command: &str, sub: &[u8]) -> Self {
        let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
        CommandError::new(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", command.to_uppercase()))
    }

    /// `ERR unknown subcommand or wrong number of arguments for 'sub'. Try NAME HELP.`, which Redis says where a subcommand
    /// that it knows counts its arguments itself.
    pub fn subcommand_syntax(command: &str, sub: &[u8]) -> Self {
        let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
        let text = "ERR unknown subcommand or wrong number of arguments for";
        CommandError::new(format!("{text} '{sub}'. Try {command} HELP."))
    }

    /// The whole text, code included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same error, which INFO's statistics have already: a command that the failing one called failed with it.
    #[must_use]
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Whether the statistics have it already.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// The code alone: the first word of several. What has no second one counts as `ERR`, as in Redis.
    pub fn code(&self) -> &str {
        /// Longer words are no code.
        const LONGEST: usize = 32;
        match self.text.split_once(' ') {
            Some((code, _)) if (1..LONGEST).contains(&code.len()) => code,
            _ => "ERR",
        }
    }
}

impl From<keystead_keyspace::WrongType> for CommandError {
    fn from(_: keystead_keyspace::WrongType) -> Self {
        CommandError::WRONG_TYPE
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CommandError {}
