//! Small helpers over decoded arguments, which every family of commands uses. The arguments themselves are resp's.

use keystead_resp::number;
pub use keystead_resp::{Args, OwnedArgs};

use crate::error::CommandError;

/// Words and numbers in arguments.
pub trait ArgsExt<'a> {
    /// True if the argument exists and equals a word, ignoring ASCII case.
    fn is(&self, index: usize, word: &str) -> bool;

    /// The argument as a 64-bit integer, with Redis' usual error.
    fn int(&self, index: usize) -> Result<i64, CommandError>;

    /// The argument as text for names, patterns and messages.
    fn text(&self, index: usize) -> String;
}

impl<'a> ArgsExt<'a> for Args<'a> {
    fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn int(&self, index: usize) -> Result<i64, CommandError> {
        self.get(index).and_then(number::parse_i64).ok_or(CommandError::NOT_INTEGER)
    }

    fn text(&self, index: usize) -> String {
        self.get(index).map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
    }
}
