//! A decoded reply, as clients, links and tests see it.

use std::fmt;

/// One reply of a server. Both nulls of RESP2 are [`Reply::Null`]; attributes are dropped.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`, or RESP3's `!`
    Error(Vec<u8>),
    /// `:1`
    Int(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*…`
    Array(Vec<Reply>),
    /// `%…`
    Map(Vec<(Reply, Reply)>),
    /// `~…`
    Set(Vec<Reply>),
    /// `>…`: a message nobody asked for
    Push(Vec<Reply>),
    /// `,1.5`
    Double(f64),
    /// `#t`
    Bool(bool),
    /// `(123`
    BigNumber(Vec<u8>),
    /// `=7\r\ntxt:abc`
    Verbatim {
        /// Three letters.
        format: [u8; 3],
        /// The text behind them.
        text: Vec<u8>,
    },
}

impl Reply {
    /// The bytes of anything that is text.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::BigNumber(bytes) | Self::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The same as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// An integer, also one that came as text.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            other => crate::number::parse_i64(other.bytes()?),
        }
    }

    /// The error's text.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(std::str::from_utf8(text).unwrap_or("ERR (not UTF-8)")),
            _ => None,
        }
    }

    /// True for `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == b"OK")
    }

    /// The elements of an array, set or push.
    pub fn items(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Pairs of a map, or of an array that stands for one in RESP2.
    pub fn pairs(&self) -> Option<Vec<(&Reply, &Reply)>> {
        match self {
            Self::Map(pairs) => Some(pairs.iter().map(|(k, v)| (k, v)).collect()),
            Self::Array(items) if items.len() % 2 == 0 => {
                Some(items.chunks(2).map(|pair| (&pair[0], &pair[1])).collect())
            }
            _ => None,
        }
    }
}

/// As redis-cli would show it on one line: for messages and tests.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Reply]| {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
            }
            f.write_str("]")
        };
        match self {
            Self::Simple(text) => write!(f, "{}", text.escape_ascii()),
            Self::Error(text) => write!(f, "(error) {}", text.escape_ascii()),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bulk(text) | Self::Verbatim { text, .. } => write!(f, "\"{}\"", text.escape_ascii()),
            Self::BigNumber(text) => write!(f, "{}", text.escape_ascii()),
            Self::Null => f.write_str("(nil)"),
            Self::Double(value) => write!(f, "{}", crate::number::FloatText::new(*value)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Array(items) | Self::Set(items) | Self::Push(items) => list(f, items),
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (i, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}
