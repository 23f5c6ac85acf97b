//! The small parts of the format: lengths, strings, scores, numbers as text. Reading is bounds-checked everywhere.

use crate::{RdbError, lzf};

/// One element as the format knows it: bytes, or an integer that stands for its decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elem<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// The same as its decimal text.
    Int(i64),
}

impl<'a> From<&'a [u8]> for Elem<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Elem<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Elem<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl Elem<'_> {
    /// Calls `f` with the element's bytes.
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(bytes) => f(bytes),
            Self::Int(value) => f(itoa::Buffer::new().format(*value).as_bytes()),
        }
    }

    /// The element's bytes in a vector of their own.
    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// The integer, if the element is one or its text is exactly how one is printed.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => text_to_int(bytes),
            Self::Int(value) => Some(*value),
        }
    }
}

/// An integer only if printing it gives the same text again.
pub(crate) fn text_to_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// A score from text; not a number is refused.
pub(crate) fn text_to_score(text: &[u8]) -> Result<f64, RdbError> {
    match fast_float2::parse::<f64, _>(text) {
        Ok(score) if !score.is_nan() => Ok(score),
        _ => Err(RdbError::Corrupt("score is not a number")),
    }
}

/// A string as it was read: borrowed where it is stored plainly.
#[derive(Debug, PartialEq)]
pub(crate) enum Text<'a> {
    Borrowed(&'a [u8]),
    Int(i64),
    Unpacked(Vec<u8>),
}

impl Text<'_> {
    pub(crate) fn elem(&self) -> Elem<'_> {
        match self {
            Self::Borrowed(bytes) => Elem::Bytes(bytes),
            Self::Int(value) => Elem::Int(*value),
            Self::Unpacked(bytes) => Elem::Bytes(bytes),
        }
    }

    /// The bytes of a string that must be a packed structure.
    pub(crate) fn blob(&self) -> Result<&[u8], RdbError> {
        match self {
            Self::Borrowed(bytes) => Ok(bytes),
            Self::Unpacked(bytes) => Ok(bytes),
            Self::Int(_) => Err(RdbError::Corrupt("integer where packed elements belong")),
        }
    }
}

/// What a length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Len {
    Plain(u64),
    Encoded(u8),
}

const ENC_INT8: u8 = 0;
const ENC_INT16: u8 = 1;
const ENC_INT32: u8 = 2;
const ENC_LZF: u8 = 3;

/// A cursor over bytes that are all there.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(buf: &'a [u8]) -> Self {
        Self { buf, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.buf.len() - self.at
    }

    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], RdbError> {
        if len > self.remaining() as u64 {
            return Err(RdbError::Truncated);
        }
        let bytes = &self.buf[self.at..self.at + len as usize];
        self.at += len as usize;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RdbError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn len(&mut self) -> Result<Len, RdbError> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Len::Plain(u64::from(first)),
            (1, _) => Len::Plain(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => Len::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            (2, 0x81) => Len::Plain(u64::from_be_bytes(self.array()?)),
            (3, _) => Len::Encoded(first & 0x3f),
            _ => return Err(RdbError::Corrupt("unknown length encoding")),
        })
    }

    /// A length that counts something.
    pub(crate) fn count(&mut self) -> Result<u64, RdbError> {
        match self.len()? {
            Len::Plain(len) => Ok(len),
            Len::Encoded(_) => Err(RdbError::Corrupt("encoded string where a length belongs")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<Text<'a>, RdbError> {
        Ok(match self.len()? {
            Len::Plain(len) => Text::Borrowed(self.take(len)?),
            Len::Encoded(ENC_INT8) => Text::Int(i64::from(i8::from_le_bytes(self.array()?))),
            Len::Encoded(ENC_INT16) => Text::Int(i64::from(i16::from_le_bytes(self.array()?))),
            Len::Encoded(ENC_INT32) => Text::Int(i64::from(i32::from_le_bytes(self.array()?))),
            Len::Encoded(ENC_LZF) => {
                let (packed, unpacked) = (self.count()?, self.count()?);
                let packed = self.take(packed)?;
                let unpacked = usize::try_from(unpacked).map_err(|_| RdbError::TooBig(unpacked))?;
                Text::Unpacked(lzf::decompress(packed, unpacked)?)
            }
            Len::Encoded(_) => return Err(RdbError::Corrupt("unknown string encoding")),
        })
    }

    /// Passes over a string without unpacking it.
    pub(crate) fn skip_text(&mut self) -> Result<(), RdbError> {
        let len = match self.len()? {
            Len::Plain(len) => len,
            Len::Encoded(ENC_INT8) => 1,
            Len::Encoded(ENC_INT16) => 2,
            Len::Encoded(ENC_INT32) => 4,
            Len::Encoded(ENC_LZF) => {
                let packed = self.count()?;
                self.count()?;
                packed
            }
            Len::Encoded(_) => return Err(RdbError::Corrupt("unknown string encoding")),
        };
        self.take(len).map(drop)
    }

    /// A score as text, the form of the oldest sorted sets.
    pub(crate) fn score_text(&mut self) -> Result<f64, RdbError> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Err(RdbError::Corrupt("score is not a number")),
            len => text_to_score(self.take(u64::from(len))?),
        }
    }

    pub(crate) fn score(&mut self) -> Result<f64, RdbError> {
        let score = f64::from_le_bytes(self.array()?);
        if score.is_nan() { Err(RdbError::Corrupt("score is not a number")) } else { Ok(score) }
    }
}

pub(crate) fn put_len(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(0x80);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&len.to_be_bytes());
            }
        },
    }
}

/// Writes bytes as they are: what every reader accepts, and what is cheapest to read again.
pub(crate) fn put_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes an element in its shortest form: small integers in binary, long strings compressed if that gains.
pub(crate) fn put_text(out: &mut Vec<u8>, elem: Elem<'_>, compress: bool) {
    let int = match elem {
        Elem::Int(value) => Some(value),
        Elem::Bytes(bytes) if bytes.len() <= 11 => text_to_int(bytes),
        Elem::Bytes(_) => None,
    };
    if let Some(value) = int.and_then(|value| i32::try_from(value).ok()) {
        return put_int(out, value);
    }
    elem.with_bytes(|bytes| {
        if !(compress && bytes.len() > 20 && put_packed(out, bytes)) {
            put_plain(out, bytes);
        }
    });
}

fn put_int(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[0xc0 | ENC_INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xc0 | ENC_INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(0xc0 | ENC_INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_packed(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let start = out.len();
    // The header's length depends on the packed length: pack first, then move the header in front.
    if !lzf::compress(bytes, bytes.len() - 4, out) {
        return false;
    }
    let body = out.len();
    out.push(0xc0 | ENC_LZF);
    put_len(out, (body - start) as u64);
    put_len(out, bytes.len() as u64);
    let header = out.len() - body;
    out[start..].rotate_right(header);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        for (len, bytes) in [
            (0u64, &[0u8][..]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16383, &[0x7f, 0xff]),
            (16384, &[0x80, 0, 0, 0x40, 0]),
            (u64::from(u32::MAX), &[0x80, 255, 255, 255, 255]),
            (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_len(&mut out, len);
            assert_eq!(out, bytes);
            assert_eq!(Reader::new(&out).len().unwrap(), Len::Plain(len));
        }
        assert!(Reader::new(&[0x82, 0, 0]).len().is_err());
    }

    #[test]
    fn strings_take_their_shortest_form() {
        for (text, bytes) in [
            (&b"0"[..], &[0xc0, 0][..]),
            (b"-128", &[0xc0, 0x80]),
            (b"128", &[0xc1, 0x80, 0]),
            (b"-32769", &[0xc2, 0xff, 0x7f, 0xff, 0xff]),
            (b"2147483648", b"\x0a2147483648"),
            (b"01", b"\x0201"),
            (b"", b"\x00"),
            (b"abc", b"\x03abc"),
        ] {
            let mut out = Vec::new();
            put_text(&mut out, Elem::Bytes(text), true);
            assert_eq!(out, bytes);
        }
    }

    proptest! {
        #[test]
        fn strings_round_trip(bytes in prop_oneof![any::<Vec<u8>>(), proptest::collection::vec(0u8..2, 0..3000), any::<i64>().prop_map(|v| v.to_string().into_bytes())], compress: bool) {
            let mut out = Vec::new();
            put_text(&mut out, Elem::Bytes(&bytes), compress);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.text().unwrap().elem().to_vec(), bytes);
            prop_assert_eq!(reader.remaining(), 0);
            let mut skipper = Reader::new(&out);
            skipper.skip_text().unwrap();
            prop_assert_eq!(skipper.remaining(), 0);
        }
    }
}
