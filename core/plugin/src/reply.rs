//! Replies outside a turn: what `exec` and `call` give, and what an asynchronous command answers with.
//! A small RESP reader and writer of the SDK's own; replies come from the core, so the reader trusts sizes but not depth.
//! What a plugin makes may be nested as deeply as it likes: the writer doesn't recurse.

use crate::error::{Error, Result};
use crate::session::Proto;
use bytes::Bytes;

/// Deeper nesting than this is refused.
const MAX_DEPTH: u32 = 32;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+text`
    Simple(String),
    /// `-text`, code first.
    Error(String),
    /// An integer.
    Int(i64),
    /// A bulk string, or verbatim text.
    Bulk(Bytes),
    /// Null.
    Null,
    /// The null array of RESP2; null in RESP3.
    NullArray,
    /// An array; in RESP3 also a push.
    Array(Vec<Reply>),
    /// A map; a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// A set; an array in RESP2.
    Set(Vec<Reply>),
    /// A double; a bulk string in RESP2.
    Double(f64),
    /// A boolean; 1 or 0 in RESP2.
    Bool(bool),
}

impl Reply {
    /// `+OK`
    pub fn ok() -> Reply {
        Reply::Simple("OK".to_owned())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// Turns an error reply into an error.
    pub fn into_result(self) -> Result<Reply> {
        match self {
            Reply::Error(text) => Err(Error::reply(text)),
            other => Ok(other),
        }
    }

    /// The bytes of a string of either kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Bulk(bytes) => Some(bytes),
            Reply::Simple(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Writes it as a session of this protocol expects it.
    pub fn encode(&self, proto: Proto, out: &mut Vec<u8>) {
        let mut open = vec![self];
        while let Some(reply) = open.pop() {
            reply.encode_head(proto, out);
            match reply {
                Reply::Array(items) | Reply::Set(items) => open.extend(items.iter().rev()),
                Reply::Map(pairs) => open.extend(pairs.iter().rev().flat_map(|(key, value)| [value, key])),
                _ => {}
            }
        }
    }

    /// Drops it without a recursion, of which a thread's stack has no room for many thousands.
    pub(crate) fn take_apart(self) {
        let mut open = vec![self];
        while let Some(reply) = open.pop() {
            match reply {
                Reply::Array(items) | Reply::Set(items) => open.extend(items),
                Reply::Map(pairs) => open.extend(pairs.into_iter().flat_map(|(key, value)| [key, value])),
                _ => {}
            }
        }
    }

    /// All of it but its elements.
    fn encode_head(&self, proto: Proto, out: &mut Vec<u8>) {
        let resp3 = proto == Proto::Resp3;
        match self {
            Reply::Simple(text) => line(out, '+', text),
            Reply::Error(text) => line(out, '-', text),
            Reply::Int(value) => line(out, ':', &value.to_string()),
            Reply::Bulk(bytes) => bulk(out, bytes),
            Reply::Null => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Reply::NullArray => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
            Reply::Array(items) => line(out, '*', &items.len().to_string()),
            Reply::Set(items) => line(out, if resp3 { '~' } else { '*' }, &items.len().to_string()),
            Reply::Map(pairs) if resp3 => line(out, '%', &pairs.len().to_string()),
            Reply::Map(pairs) => line(out, '*', &(pairs.len() * 2).to_string()),
            Reply::Double(value) if resp3 => line(out, ',', &double(*value)),
            Reply::Double(value) => bulk(out, double(*value).as_bytes()),
            Reply::Bool(value) if resp3 => line(out, '#', if *value { "t" } else { "f" }),
            Reply::Bool(value) => line(out, ':', if *value { "1" } else { "0" }),
        }
    }

    /// Reads one reply of either protocol.
    pub fn decode(bytes: &[u8]) -> Result<Reply> {
        if bytes.is_empty() {
            return Err(Error::new("the command gives no reply"));
        }
        let mut rest = bytes;
        read(&mut rest, 0)
    }
}

fn line(out: &mut Vec<u8>, kind: char, text: &str) {
    out.push(kind as u8);
    out.extend(text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, '$', &bytes.len().to_string());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn double(value: f64) -> String {
    match value {
        v if v.is_nan() => "nan".to_owned(),
        f64::INFINITY => "inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        v => v.to_string(),
    }
}

fn read(rest: &mut &[u8], depth: u32) -> Result<Reply> {
    if depth > MAX_DEPTH {
        return Err(Error::new("a reply is nested too deeply"));
    }
    let head = take_line(rest)?;
    let (kind, text) = head.split_first().ok_or("an empty reply")?;
    let text = std::str::from_utf8(text).map_err(|_| "a reply's head is no text");
    let lossy = || String::from_utf8_lossy(&head[1..]).into_owned();
    Ok(match kind {
        b'+' => Reply::Simple(lossy()),
        b'-' => Reply::Error(lossy()),
        b':' => Reply::Int(text?.parse()?),
        b'(' => Reply::Bulk(Bytes::copy_from_slice(&head[1..])),
        b',' => Reply::Double(text?.parse()?),
        b'#' => Reply::Bool(text? == "t"),
        b'_' => Reply::Null,
        b'$' | b'=' | b'!' => match text?.parse::<i64>()? {
            len if len < 0 => Reply::Null,
            len => {
                let bytes = take(rest, len as usize + 2)?;
                let body = &bytes[..len as usize];
                match kind {
                    b'=' => Reply::bulk(body.get(4..).unwrap_or_default()),
                    b'!' => Reply::Error(String::from_utf8_lossy(body).into_owned()),
                    _ => Reply::bulk(body),
                }
            }
        },
        b'*' | b'~' | b'>' => match text?.parse::<i64>()? {
            len if len < 0 => Reply::NullArray,
            len => {
                let items = (0..len).map(|_| read(rest, depth + 1)).collect::<Result<Vec<_>>>()?;
                if *kind == b'~' { Reply::Set(items) } else { Reply::Array(items) }
            }
        },
        b'%' => {
            let len: usize = text?.parse()?;
            let pair = |rest: &mut &[u8]| Ok((read(rest, depth + 1)?, read(rest, depth + 1)?));
            Reply::Map((0..len).map(|_| pair(rest)).collect::<Result<Vec<_>>>()?)
        }
        other => return Err(Error::new(format!("a reply starts with byte {other}"))),
    })
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or("a reply is cut short")?;
    let head = &rest[..end];
    *rest = &rest[end + 2..];
    Ok(head)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    if rest.len() < len {
        return Err(Error::new("a reply is cut short"));
    }
    let (head, tail) = rest.split_at(len);
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_survive_both_protocols() {
        let reply = Reply::Array(vec![
            Reply::ok(),
            Reply::Error("ERR no".into()),
            Reply::Int(-3),
            Reply::bulk("a\r\nb"),
            Reply::Null,
            Reply::Map(vec![(Reply::bulk("k"), Reply::Double(1.5))]),
            Reply::Set(vec![Reply::Bool(true)]),
        ]);
        let mut wire = Vec::new();
        reply.encode(Proto::Resp3, &mut wire);
        assert_eq!(Reply::decode(&wire).unwrap(), reply);
        wire.clear();
        Reply::Map(vec![(Reply::bulk("k"), Reply::Bool(true))]).encode(Proto::Resp2, &mut wire);
        assert_eq!(wire, b"*2\r\n$1\r\nk\r\n:1\r\n");
    }

    #[test]
    fn a_deep_reply_needs_no_stack() {
        const LEVELS: usize = 1_000_000;
        let deep = (0..LEVELS).fold(Reply::Int(1), |inner, level| match level % 3 {
            0 => Reply::Array(vec![inner]),
            1 => Reply::Set(vec![inner]),
            _ => Reply::Map(vec![(Reply::Null, inner)]),
        });
        let mut wire = Vec::new();
        deep.encode(Proto::Resp3, &mut wire);
        assert!(wire.starts_with(b"*1\r\n%1\r\n_\r\n~1\r\n*1\r\n") && wire.ends_with(b"*1\r\n:1\r\n"));
        deep.take_apart();
    }

    #[test]
    fn nonsense_is_an_error() {
        for wire in [&b""[..], b"$5\r\nab\r\n", b"*2\r\n:1\r\n", b"?x\r\n", b":x\r\n", b"*1\r\n"] {
            assert!(Reply::decode(wire).is_err(), "{wire:?}");
        }
        assert!(Reply::decode(&b"*1\r\n".repeat(100)).is_err());
    }
}
