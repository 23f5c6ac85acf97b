//! Errors of plugins: one text, with or without a Redis error code in front.

use std::fmt;

/// The result of everything in the SDK.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error as text. Anything that can be shown converts into it, so `?` just works; as a reply it gets `ERR` in
/// front unless it was made with [`Error::reply`].
pub struct Error {
    text: String,
    coded: bool,
    counted: bool,
}

impl Error {
    /// An error with this text; as a reply it reads `ERR text`.
    pub fn new(text: impl Into<String>) -> Error {
        Error { text: text.into(), coded: false, counted: false }
    }

    /// An error reply word for word, code included: `NOREPLICAS Not enough good replicas to write.`
    pub fn reply(text: impl Into<String>) -> Error {
        Error { text: text.into(), coded: true, counted: false }
    }

    /// The same error, which the server has counted already: a command that was called failed with it.
    #[must_use]
    pub fn counted(mut self) -> Error {
        self.counted = true;
        self
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.counted
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as an error reply, without the `-`. Line ends become spaces.
    pub fn reply_text(&self) -> String {
        let text = if self.coded { self.text.clone() } else { format!("ERR {}", self.text) };
        text.replace(['\r', '\n'], " ")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// `Error` itself has no Display: the conversion below would collide with the standard library's own.
impl<T: fmt::Display> From<T> for Error {
    fn from(value: T) -> Self {
        Error::new(value.to_string())
    }
}
