//! The reply decoder for the client's side: resumable, bounded in depth, size and element count.
//!
//! Two steps: a scan finds where the reply ends (remembering how far it came, so pieces cost O(n)), then a build of
//! the whole reply. Nothing is reserved before its bytes are there.

use crate::{ProtocolError, READ_AHEAD, Reply, number};

/// How much a reply may be.
#[derive(Debug, Clone)]
pub struct ReplyLimits {
    /// Longest reply in bytes.
    pub max_bytes: usize,
    /// Deepest nesting.
    pub max_depth: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, max_depth: 64 }
    }
}

/// Type byte, the text behind it, and where the line ends.
type HeaderLine<'b> = (u8, &'b [u8], usize);

const MAX_LINE: usize = 64 * 1024;

/// Incremental reply decoder. The buffer must begin at the current reply's first byte until it was returned.
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    /// Everything before this is scanned.
    pos: usize,
    /// No line end lies before this.
    scanned: usize,
    /// Elements still missing, outermost first.
    open: Vec<u64>,
}

enum Head {
    /// The element is complete with its header line.
    Line,
    /// So many bytes and a CR LF follow.
    Body(usize),
    /// So many elements follow; `true` if they only precede the reply proper (attributes).
    Elements(u64, bool),
}

impl ReplyDecoder {
    /// A decoder with these limits.
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Looks for one reply at the front of `buf`: its length and itself, or `None` if bytes are missing.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Option<(usize, Reply)>, ProtocolError> {
        let Some(end) = self.scan(buf)? else { return Ok(None) };
        let mut cursor = Build { buf: &buf[..end], at: 0 };
        let reply = cursor.reply()?;
        Ok(Some((end, reply)))
    }

    /// Looks for the end of one reply without building it.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        loop {
            if self.pos > self.limits.max_bytes {
                return Err(ProtocolError::BadReply("reply too long"));
            }
            let Some((kind, line, next)) = self.header(buf)? else { return Ok(None) };
            match head(kind, line)? {
                Head::Line => self.pos = next,
                Head::Body(len) => {
                    if len > self.limits.max_bytes {
                        return Err(ProtocolError::BadReply("reply too long"));
                    }
                    if buf.len() < next + len + 2 {
                        return Ok(None);
                    }
                    if buf[next + len..next + len + 2] != *b"\r\n" {
                        return Err(ProtocolError::BadReply("missing line end behind a string"));
                    }
                    self.pos = next + len + 2;
                }
                Head::Elements(count, attribute) => {
                    self.pos = next;
                    // An attribute's reply follows it as one element more.
                    let count = count + u64::from(attribute);
                    if count > 0 {
                        if self.open.len() >= self.limits.max_depth {
                            return Err(ProtocolError::BadReply("reply nested too deeply"));
                        }
                        self.open.push(count);
                        continue;
                    }
                }
            }
            if self.element_done() {
                let end = self.pos;
                (self.pos, self.scanned) = (0, 0);
                return Ok(Some(end));
            }
        }
    }

    /// How many bytes to read next at most.
    pub fn hint(&self) -> usize {
        READ_AHEAD
    }

    fn element_done(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }

    fn header<'b>(&mut self, buf: &'b [u8]) -> Result<Option<HeaderLine<'b>>, ProtocolError> {
        let from = self.scanned.max(self.pos).min(buf.len());
        let Some(lf) = memchr::memchr(b'\n', &buf[from..]).map(|i| i + from) else {
            self.scanned = buf.len();
            if buf.len().saturating_sub(self.pos) > MAX_LINE {
                return Err(ProtocolError::BadReply("header line too long"));
            }
            return Ok(None);
        };
        self.scanned = self.scanned.min(lf);
        Ok(Some(split_header(buf, self.pos, lf)?))
    }
}

fn split_header(buf: &[u8], at: usize, lf: usize) -> Result<HeaderLine<'_>, ProtocolError> {
    match &buf[at..lf] {
        [kind, line @ .., b'\r'] => Ok((*kind, line, lf + 1)),
        _ => Err(ProtocolError::BadReply("bad header line")),
    }
}

fn head(kind: u8, line: &[u8]) -> Result<Head, ProtocolError> {
    let length = || match number::parse_i64(line) {
        Some(-1) => Ok(None),
        Some(len) => u64::try_from(len).map(Some).map_err(|_| ProtocolError::BadReply("negative length")),
        None => Err(ProtocolError::BadReply("length is not a number")),
    };
    let fits = |len: u64| usize::try_from(len).map_err(|_| ProtocolError::BadReply("reply too long"));
    Ok(match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Head::Line,
        b'$' | b'!' | b'=' => match length()? {
            None => Head::Line,
            Some(len) => Head::Body(fits(len)?),
        },
        b'*' | b'~' | b'>' => length()?.map_or(Head::Line, |len| Head::Elements(len, false)),
        b'%' | b'|' => match length()? {
            None => Head::Line,
            Some(len) if len > u64::MAX / 4 => return Err(ProtocolError::BadReply("reply too long")),
            Some(len) => Head::Elements(2 * len, kind == b'|'),
        },
        _ => return Err(ProtocolError::BadReply("unknown reply type")),
    })
}

/// Builds a reply from bytes that were scanned: lengths and depth are known to be good.
struct Build<'b> {
    buf: &'b [u8],
    at: usize,
}

impl Build<'_> {
    fn reply(&mut self) -> Result<Reply, ProtocolError> {
        let lf =
            memchr::memchr(b'\n', &self.buf[self.at..]).ok_or(ProtocolError::BadReply("bad header line"))? + self.at;
        let (kind, line, next) = split_header(self.buf, self.at, lf)?;
        self.at = next;
        match head(kind, line)? {
            Head::Body(len) => {
                let body = &self.buf[next..next + len];
                self.at = next + len + 2;
                text(kind, body)
            }
            Head::Elements(count, true) => {
                self.items(count)?;
                self.reply()
            }
            Head::Elements(count, false) if kind == b'%' => {
                let mut pairs = Vec::new();
                for _ in 0..count / 2 {
                    pairs.push((self.reply()?, self.reply()?));
                }
                Ok(Reply::Map(pairs))
            }
            Head::Elements(count, false) => {
                let items = self.items(count)?;
                Ok(match kind {
                    b'~' => Reply::Set(items),
                    b'>' => Reply::Push(items),
                    _ => Reply::Array(items),
                })
            }
            Head::Line => scalar(kind, line),
        }
    }

    fn items(&mut self, count: u64) -> Result<Vec<Reply>, ProtocolError> {
        (0..count).map(|_| self.reply()).collect()
    }
}

fn text(kind: u8, body: &[u8]) -> Result<Reply, ProtocolError> {
    Ok(match (kind, body) {
        (b'!', _) => Reply::Error(body.to_vec()),
        (b'=', &[a, b, c, b':', ref text @ ..]) => Reply::Verbatim { format: [a, b, c], text: text.to_vec() },
        (b'=', _) => return Err(ProtocolError::BadReply("verbatim string without a format")),
        _ => Reply::Bulk(body.to_vec()),
    })
}

fn scalar(kind: u8, line: &[u8]) -> Result<Reply, ProtocolError> {
    Ok(match (kind, line) {
        (b'+', _) => Reply::Simple(line.to_vec()),
        (b'-', _) => Reply::Error(line.to_vec()),
        (b':', _) => {
            Reply::Int(number::parse_i64(line).ok_or(ProtocolError::BadReply("integer reply is not a number"))?)
        }
        (b',', b"nan") => Reply::Double(f64::NAN),
        (b',', _) => {
            Reply::Double(number::parse_f64(line).ok_or(ProtocolError::BadReply("double reply is not a number"))?)
        }
        (b'#', b"t") => Reply::Bool(true),
        (b'#', b"f") => Reply::Bool(false),
        (b'#', _) => return Err(ProtocolError::BadReply("truth value is neither t nor f")),
        (b'(', _) => Reply::BigNumber(line.to_vec()),
        _ => Reply::Null,
    })
}

#[cfg(test)]
mod tests;
