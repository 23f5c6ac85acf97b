//! Writing replies and requests into a caller's buffer, in RESP2 or RESP3. Never decides what to answer.

use crate::number;

/// Bytes copied at a time. The C library copies more than some 2 to 8 KiB with one instruction, `rep movsb`, which some
/// processors (AMD's Zen 3 and 4) do at a quarter of the speed where the target lies a little behind the source within their
/// pages: just where a reply's header puts a long string. A GET of 100 kB took twice the time.
const COPY: usize = 2048;

/// Which protocol a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    /// The protocol every client starts with.
    #[default]
    Resp2,
    /// After HELLO 3.
    Resp3,
}

/// Appends bytes, for which there is room.
#[inline]
fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= COPY {
        return out.extend_from_slice(bytes);
    }
    bytes.chunks(COPY).for_each(|part| out.extend_from_slice(part));
}

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    /// Where the bytes go.
    pub out: &'a mut Vec<u8>,
    /// How they are written.
    pub proto: Proto,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Self {
        Self { out, proto }
    }

    fn resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }

    /// `+text`; the text must be one line.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.crlf();
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `+PONG`.
    #[inline]
    pub fn pong(&mut self) {
        self.out.extend_from_slice(b"+PONG\r\n");
    }

    /// `-text`, where the text begins with its code (`ERR …`, `WRONGTYPE …`). Line ends in it become spaces: errors
    /// quote what clients sent, and a reply must not be split by it.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.out.push(b'-');
        let start = self.out.len();
        self.out.extend_from_slice(text.as_ref());
        for byte in &mut self.out[start..] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.crlf();
    }

    /// `:value`.
    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            _ => self.header(b':', value),
        }
    }

    /// A string of bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len() as i64);
        append(self.out, bytes);
        self.crlf();
    }

    /// An integer as a string.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value));
    }

    /// A double as a string, in both protocols (values that are stored as text).
    pub fn bulk_double(&mut self, value: f64) {
        self.bulk(number::FloatText::new(value).as_bytes());
    }

    /// Some bytes or null.
    pub fn bulk_or_null(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array (RESP3 knows one null only).
    #[inline]
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// An array of `len` replies that follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// A map of `len` pairs; a flat array in RESP2.
    pub fn map(&mut self, len: usize) {
        if self.resp3() { self.header(b'%', len as i64) } else { self.header(b'*', 2 * len as i64) }
    }

    /// A set of `len` members; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        self.header(if self.resp3() { b'~' } else { b'*' }, len as i64);
    }

    /// An out-of-band message of `len` parts; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        self.header(if self.resp3() { b'>' } else { b'*' }, len as i64);
    }

    /// Remembers the place of an array whose length isn't known yet; finish with [`Self::end_array`].
    pub fn defer(&mut self) -> usize {
        self.out.len()
    }

    /// Puts the header of an array in front of what was written since [`Self::defer`] gave `mark`.
    pub fn end_array(&mut self, mark: usize, len: usize) {
        self.end_with(mark, b'*', len);
    }

    /// As [`Self::end_array`] for a set.
    pub fn end_set(&mut self, mark: usize, len: usize) {
        self.end_with(mark, if self.resp3() { b'~' } else { b'*' }, len);
    }

    /// As [`Self::end_array`] for a map of `pairs`.
    pub fn end_map(&mut self, mark: usize, pairs: usize) {
        let (kind, len) = if self.resp3() { (b'%', pairs) } else { (b'*', 2 * pairs) };
        self.end_with(mark, kind, len);
    }

    fn end_with(&mut self, mark: usize, kind: u8, len: usize) {
        let body = self.out.len();
        self.header(kind, len as i64);
        let header = self.out.len() - body;
        self.out[mark..].rotate_right(header);
    }

    /// A double: RESP3 `,1.5`, RESP2 a string.
    pub fn double(&mut self, value: f64) {
        if !self.resp3() {
            return self.bulk_double(value);
        }
        self.out.push(b',');
        number::format_f64(value, self.out);
        self.crlf();
    }

    /// A truth value: RESP3 `#t`, RESP2 1 or 0.
    pub fn bool(&mut self, value: bool) {
        match (self.resp3(), value) {
            (true, true) => self.out.extend_from_slice(b"#t\r\n"),
            (true, false) => self.out.extend_from_slice(b"#f\r\n"),
            (false, value) => self.int(i64::from(value)),
        }
    }

    /// A number of any length, as decimal digits: RESP3 `(123`, RESP2 a string.
    pub fn bignum(&mut self, digits: &str) {
        if !self.resp3() {
            return self.bulk(digits);
        }
        self.out.push(b'(');
        self.out.extend_from_slice(digits.as_bytes());
        self.crlf();
    }

    /// Text with a three-letter format (`txt`, `mkd`): RESP3 `=`, RESP2 a string.
    pub fn verbatim(&mut self, format: [u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        if !self.resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.out.extend_from_slice(&format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.crlf();
    }

    /// A request, as clients and replication send it.
    pub fn command<T: AsRef<[u8]>>(&mut self, args: &[T]) {
        write_command(self.out, args.iter().map(AsRef::as_ref));
    }

    /// Bytes that are RESP already.
    pub fn raw(&mut self, resp: &[u8]) {
        self.out.extend_from_slice(resp);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        header(self.out, kind, value);
    }

    #[inline]
    fn crlf(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, value: i64) {
    // Lengths are mostly of one or two digits: one copy of a few bytes instead of a conversion.
    if let 0..=9 = value {
        return out.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']);
    }
    if let 10..=99 = value {
        let (tens, ones) = (value as u8 / 10, value as u8 % 10);
        return out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
    }
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends one request in its canonical form.
pub fn write_command<'b>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'b [u8]>) {
    header(out, b'*', args.len() as i64);
    for arg in args {
        out.reserve(arg.len() + 16);
        header(out, b'$', arg.len() as i64);
        append(out, arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Writer<'_>)) -> (String, String) {
        let one = |proto| {
            let mut out = Vec::new();
            write(&mut Writer::new(&mut out, proto));
            String::from_utf8(out).unwrap()
        };
        (one(Proto::Resp2), one(Proto::Resp3))
    }

    #[test]
    fn long_strings_are_whole() {
        for len in [COPY - 1, COPY, COPY + 1, 3 * COPY, 100_001] {
            let text: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let want = [format!("${len}\r\n").as_bytes(), &text, b"\r\n"].concat();
            let mut out = Vec::new();
            Writer::new(&mut out, Proto::Resp2).bulk(&text);
            assert_eq!(out, want);
            out.clear();
            write_command(&mut out, [&text[..]].into_iter());
            assert_eq!(out, [b"*1\r\n", &want[..]].concat());
        }
    }

    type Case = (fn(&mut Writer<'_>), &'static str, &'static str);

    #[test]
    fn every_reply_in_both_protocols() {
        let cases: &[Case] = &[
            (|w| w.ok(), "+OK\r\n", "+OK\r\n"),
            (|w| w.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|w| w.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|w| w.int(-1), ":-1\r\n", ":-1\r\n"),
            (|w| w.int(0), ":0\r\n", ":0\r\n"),
            (|w| w.int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|w| w.bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|w| w.bulk("0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"),
            (|w| w.bulk_int(42), "$2\r\n42\r\n", "$2\r\n42\r\n"),
            (|w| w.null(), "$-1\r\n", "_\r\n"),
            (|w| w.null_array(), "*-1\r\n", "_\r\n"),
            (|w| w.array(10), "*10\r\n", "*10\r\n"),
            (|w| w.map(2), "*4\r\n", "%2\r\n"),
            (|w| w.set(2), "*2\r\n", "~2\r\n"),
            (|w| w.push(3), "*3\r\n", ">3\r\n"),
            (|w| w.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (|w| w.bool(true), ":1\r\n", "#t\r\n"),
            (|w| w.bool(false), ":0\r\n", "#f\r\n"),
            (|w| w.bignum("12345678901234567890"), "$20\r\n12345678901234567890\r\n", "(12345678901234567890\r\n"),
            (|w| w.verbatim(*b"txt", "hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|w| w.command(&["GET", "k"]), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(both(write), (resp2.to_string(), resp3.to_string()));
        }
    }

    #[test]
    fn a_deferred_header_lands_in_front() {
        let (resp2, resp3) = both(|w| {
            w.int(7);
            let mark = w.defer();
            for i in 0..12 {
                w.int(i % 2);
            }
            w.end_map(mark, 6);
        });
        assert_eq!(resp2, format!(":7\r\n*12\r\n{}", ":0\r\n:1\r\n".repeat(6)));
        assert_eq!(resp3, format!(":7\r\n%6\r\n{}", ":0\r\n:1\r\n".repeat(6)));
    }
}
