//! What a command answers when it fails. Owns the texts that many commands share; the connection always stays.

use std::borrow::Cow;
use std::fmt;

/// An error reply. Its text starts with the code ("ERR …", "WRONGTYPE …"), without the leading dash. It is bytes: what a
/// client sent is quoted as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    text: Cow<'static, [u8]>,
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
        CommandError { text: Cow::Borrowed(text.as_bytes()), counted: false }
    }

    /// An error with a text made now. Line breaks would break the protocol: the writer replaces them.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        CommandError { text: Cow::Owned(text.into()), counted: false }
    }

    /// An error that quotes: its text is these parts.
    pub fn quoting(parts: &[&[u8]]) -> Self {
        CommandError::new(parts.concat())
    }

    /// `ERR wrong number of arguments for 'name' command`
    pub fn arity(full_name: &str) -> Self {
        CommandError::new(format!("ERR wrong number of arguments for '{full_name}' command"))
    }

    /// `ERR unknown subcommand 'sub'. Try NAME HELP.`
    pub fn unknown_subcommand(command: &str, sub: &[u8]) -> Self {
        let command = command.to_uppercase();
        CommandError::quoting(&[b"ERR unknown subcommand '", shown(sub), b"'. Try ", command.as_bytes(), b" HELP."])
    }

    /// `ERR unknown subcommand or wrong number of arguments for 'sub'. Try NAME HELP.`, which Redis says where a subcommand
    /// that it knows counts its arguments itself.
    pub fn subcommand_syntax(command: &str, sub: &[u8]) -> Self {
        let text = b"ERR unknown subcommand or wrong number of arguments for '";
        CommandError::quoting(&[text, shown(sub), b"'. Try ", command.as_bytes(), b" HELP."])
    }

    /// The whole text, code included.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The same for people: what isn't UTF-8 in it is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
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
        let first = self.text.iter().position(|byte| *byte == b' ').filter(|len| (1..LONGEST).contains(len));
        first.and_then(|len| std::str::from_utf8(&self.text[..len]).ok()).unwrap_or("ERR")
    }
}

/// A word as Redis quotes it: for C it ends at a zero byte.
pub(crate) fn c_text(word: &[u8]) -> &[u8] {
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}

/// The same, where Redis shows no more than so much of it.
pub(crate) fn shown(word: &[u8]) -> &[u8] {
    c_text(&word[..word.len().min(128)])
}

impl From<keystead_keyspace::WrongType> for CommandError {
    fn from(_: keystead_keyspace::WrongType) -> Self {
        CommandError::WRONG_TYPE
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for CommandError {}
