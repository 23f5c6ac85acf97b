//! What can be wrong with bytes on the wire, in Redis' words. After any of these the connection ends.

use std::fmt;

/// A peer broke the protocol. `Display` gives the text after `-ERR `, as Redis words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline command longer than the line limit.
    TooBigInline,
    /// Quotes that never close in an inline command.
    UnbalancedQuotes,
    /// A `*` header longer than the line limit.
    TooBigMultibulkCount,
    /// A `*` header that is no number, or too large.
    InvalidMultibulkLength,
    /// More arguments than a client that isn't authenticated may send.
    UnauthenticatedMultibulkLength,
    /// A `$` header longer than the line limit.
    TooBigBulkCount,
    /// Something else where a `$` header belongs.
    ExpectedDollar(u8),
    /// A `$` header that is no number, negative, or above the limit.
    InvalidBulkLength,
    /// A longer argument than a client that isn't authenticated may send.
    UnauthenticatedBulkLength,
    /// One command of more than 4 GiB: positions are kept in 32 bits.
    TooBigCommand,
    /// A reply (client side) that is no RESP.
    BadReply(&'static str),
}

impl ProtocolError {
    /// The text as it is sent: what it quotes need not be UTF-8.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::ExpectedDollar(got) => [&b"Protocol error: expected '$', got '"[..], &[*got], b"'"].concat(),
            other => other.to_string().into_bytes(),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::TooBigInline => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::ExpectedDollar(got) => {
                // The text goes into an error reply, which is one line.
                let shown = if matches!(*got, b'\r' | b'\n') { ' ' } else { char::from(*got) };
                return write!(f, "expected '$', got '{shown}'");
            }
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::TooBigCommand => "too big command",
            Self::BadReply(what) => what,
        })
    }
}

impl std::error::Error for ProtocolError {}
