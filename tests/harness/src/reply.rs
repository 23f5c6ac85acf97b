//! A reply as a test sees it, and a plain blocking decoder of RESP2 and RESP3.
//!
//! Written apart from keystead-resp on purpose: a test must not read the server's bytes with the server's own code.

use std::fmt;
use std::io::{self, BufRead};

/// How deep replies may nest before the decoder gives up.
const MAX_DEPTH: usize = 64;

/// One reply.
#[derive(Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Int(i64),
    /// `$3`, and RESP3's verbatim text without its type.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*2`
    Array(Vec<Reply>),
    /// `%2`
    Map(Vec<(Reply, Reply)>),
    /// `~2`
    Set(Vec<Reply>),
    /// `>2`
    Push(Vec<Reply>),
    /// `,1.5`
    Double(f64),
    /// `#t`
    Bool(bool),
    /// `(123…`
    BigNumber(String),
}

impl Reply {
    /// The text of a simple or bulk string, else `None`.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Reply::Simple(text) => Some(text.clone()),
            Reply::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The number of an integer reply, else `None`.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Reply::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The elements of an array, set or push; keys and values in turn for a map.
    pub fn items(&self) -> Vec<Reply> {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items.clone(),
            Reply::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
            _ => Vec::new(),
        }
    }

    /// All elements as text, integers included.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().map(|r| r.as_text().unwrap_or_else(|| format!("{r:?}"))).collect()
    }

    /// The value behind `key` in a map, or in an array of keys and values (RESP2).
    pub fn get(&self, key: &str) -> Option<Reply> {
        let items = self.items();
        items.chunks(2).find(|pair| pair.len() == 2 && pair[0].as_text().as_deref() == Some(key)).map(|p| p[1].clone())
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}

/// As redis-cli prints it on one line.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "{text}"),
            Reply::Error(text) => write!(f, "(error) {text}"),
            Reply::Int(n) => write!(f, "{n}"),
            Reply::Bulk(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Reply::Null => write!(f, "(nil)"),
            Reply::Array(items) | Reply::Set(items) => f.debug_list().entries(items).finish(),
            Reply::Push(items) => {
                write!(f, ">")?;
                f.debug_list().entries(items).finish()
            }
            Reply::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Reply::Double(n) => write!(f, "{n}"),
            Reply::Bool(b) => write!(f, "{b}"),
            Reply::BigNumber(text) => write!(f, "{text}"),
        }
    }
}

impl PartialEq<str> for Reply {
    fn eq(&self, other: &str) -> bool {
        match self {
            Reply::Error(text) => text == other,
            _ => self.as_text().as_deref() == Some(other),
        }
    }
}

impl PartialEq<&str> for Reply {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<i64> for Reply {
    fn eq(&self, other: &i64) -> bool {
        self.as_int() == Some(*other)
    }
}

/// Reads one reply, blocking.
pub fn read_reply(input: &mut impl BufRead) -> io::Result<Reply> {
    read_nested(input, 0)
}

fn read_nested(input: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > MAX_DEPTH {
        return Err(nonsense("a reply nested too deeply"));
    }
    let line = read_line(input)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| nonsense("an empty line"))?;
    Ok(match kind {
        "+" => Reply::Simple(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(rest.parse().map_err(|_| nonsense(&line))?),
        "_" => Reply::Null,
        "," => Reply::Double(rest.parse().map_err(|_| nonsense(&line))?),
        "#" => Reply::Bool(rest == "t"),
        "(" => Reply::BigNumber(rest.to_owned()),
        "$" | "=" | "!" => match count(rest, &line)? {
            None => Reply::Null,
            Some(len) => {
                let mut bytes = vec![0; len + 2];
                input.read_exact(&mut bytes)?;
                bytes.truncate(len);
                match kind {
                    "!" => Reply::Error(String::from_utf8_lossy(&bytes).into_owned()),
                    "=" => Reply::Bulk(bytes.split_off(4.min(len))),
                    _ => Reply::Bulk(bytes),
                }
            }
        },
        "*" | "~" | ">" => match count(rest, &line)? {
            None => Reply::Null,
            Some(len) => {
                let items = (0..len).map(|_| read_nested(input, depth + 1)).collect::<io::Result<Vec<_>>>()?;
                match kind {
                    "~" => Reply::Set(items),
                    ">" => Reply::Push(items),
                    _ => Reply::Array(items),
                }
            }
        },
        "%" => {
            let len = count(rest, &line)?.unwrap_or(0);
            let pair = |input: &mut _| Ok((read_nested(input, depth + 1)?, read_nested(input, depth + 1)?));
            Reply::Map((0..len).map(|_| pair(input)).collect::<io::Result<Vec<_>>>()?)
        }
        _ => return Err(nonsense(&line)),
    })
}

fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    if !line.ends_with(b"\r\n") {
        return Err(nonsense(&String::from_utf8_lossy(&line)));
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// A length; `None` for -1.
fn count(text: &str, line: &str) -> io::Result<Option<usize>> {
    if text == "-1" { Ok(None) } else { text.parse().map(Some).map_err(|_| nonsense(line)) }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        let cases: &[(&str, &str)] = &[
            ("+OK\r\n", "OK"),
            ("-ERR no\r\n", "(error) ERR no"),
            (":-5\r\n", "-5"),
            ("$2\r\nhi\r\n", "\"hi\""),
            ("$-1\r\n", "(nil)"),
            ("*2\r\n:1\r\n*-1\r\n", "[1, (nil)]"),
            ("%1\r\n+a\r\n#t\r\n", "{a: true}"),
            (">1\r\n,1.5\r\n", ">[1.5]"),
            ("=7\r\ntxt:yes\r\n", "\"yes\""),
        ];
        for (bytes, shown) in cases {
            let reply = read_reply(&mut bytes.as_bytes()).expect("a whole reply");
            assert_eq!(format!("{reply:?}"), *shown);
        }
        assert!(read_reply(&mut "?\r\n".as_bytes()).is_err());
        assert!(read_reply(&mut "$5\r\nhi".as_bytes()).is_err());
    }
}
