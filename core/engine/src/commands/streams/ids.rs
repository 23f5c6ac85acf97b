//! Ids of stream entries as clients write them, and as they are answered. Pure.

use keystead_keyspace::StreamId;
use keystead_resp::Writer;

use crate::commands::common::{Res, err, is};
use crate::error::CommandError;

/// What an id that can't be read is answered.
pub(super) const INVALID: CommandError = err("ERR Invalid stream ID specified as stream command argument");

/// An id for a new entry.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    /// In full.
    Given(StreamId),
}

/// An unsigned number, as C's strtoull takes it where the usual form isn't one.
fn number(text: &[u8]) -> Option<u64> {
    let digits = |text: &[u8]| {
        let value = text.iter().try_fold(0u64, |value, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then_some(())?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        });
        value.filter(|_| !text.is_empty())
    };
    match text {
        [b'0'..=b'9', ..] => digits(text),
        [b'-', ..] => None,
        _ => {
            let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
            match &text[start..] {
                [b'+', rest @ ..] => digits(rest),
                [b'-', rest @ ..] => digits(rest).map(u64::wrapping_neg),
                rest => digits(rest),
            }
        }
    }
}

/// Splits `ms-seq`; the second part may be missing.
fn parts(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    /// Redis' buffer, without its end.
    const LONGEST: usize = 127;
    if text.len() > LONGEST {
        return None;
    }
    match memchr::memchr(b'-', text) {
        None => Some((number(text)?, None)),
        Some(at) => Some((number(&text[..at])?, Some(&text[at + 1..]))),
    }
}

fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
    let (ms, seq) = parts(text)?;
    let seq = match seq {
        None => missing_seq,
        Some(seq) => number(seq)?,
    };
    Some(StreamId::new(ms, seq))
}

/// An id in full or without its second part, which then is 0.
pub(super) fn exact(text: &[u8]) -> Res<StreamId> {
    parse(text, 0).ok_or(INVALID)
}

/// As [`exact`], and `-` and `+` for the smallest and largest.
pub(super) fn exact_or_end(text: &[u8], missing_seq: u64) -> Res<StreamId> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(text, missing_seq).ok_or(INVALID),
    }
}

/// The id for a new entry.
pub(super) fn new_id(text: &[u8]) -> Res<NewId> {
    if text == b"*" {
        return Ok(NewId::Auto);
    }
    match parts(text).ok_or(INVALID)? {
        (ms, Some(b"*")) => Ok(NewId::AutoSeq(ms)),
        _ => exact(text).map(NewId::Given),
    }
}

/// The lower end of an interval; `(` leaves it out.
pub(super) fn interval_start(text: &[u8]) -> Res<StreamId> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            parse(rest, 0).ok_or(INVALID)?.next().ok_or(err("ERR invalid start ID for the interval"))
        }
        _ => exact_or_end(text, 0),
    }
}

/// The upper end of an interval; `(` leaves it out.
pub(super) fn interval_end(text: &[u8]) -> Res<StreamId> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            parse(rest, u64::MAX).ok_or(INVALID)?.prev().ok_or(err("ERR invalid end ID for the interval"))
        }
        _ => exact_or_end(text, u64::MAX),
    }
}

/// `$` is what is the last id now.
pub(super) fn exact_or_last(text: &[u8], last: StreamId) -> Res<StreamId> {
    if is(text, "$") { Ok(last) } else { exact(text) }
}

/// An id as text, without an allocation.
pub(super) struct IdText {
    bytes: [u8; 41],
    len: usize,
}

impl IdText {
    pub(super) fn new(id: StreamId) -> Self {
        let mut text = IdText { bytes: [0; 41], len: 0 };
        let mut buffer = itoa::Buffer::new();
        text.push(buffer.format(id.ms).as_bytes());
        text.push(b"-");
        text.push(buffer.format(id.seq).as_bytes());
        text
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Answers an id.
pub(super) fn write_id(out: &mut Writer<'_>, id: StreamId) {
    out.bulk(IdText::new(id).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = StreamId::new;
        let cases: &[(&[u8], Option<StreamId>)] = &[
            (b"5", Some(id(5, 0))),
            (b"5-7", Some(id(5, 7))),
            (b"0-0", Some(id(0, 0))),
            (b"18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            (b"18446744073709551616-0", None),
            (b"007-01", Some(id(7, 1))),
            (b" 7-+1", Some(id(7, 1))),
            (b"7 -1", None),
            (b"-1", None),
            (b"-5-1", None),
            (b"5-", None),
            (b"-", None),
            (b"+", None),
            (b"", None),
            (b"5-*", None),
            (b"5-1-1", None),
            (b"x", None),
            (&[b'1'; 128], None),
        ];
        for (text, expected) in cases {
            assert_eq!(exact(text).ok(), *expected, "{}", text.escape_ascii());
        }
        assert_eq!(new_id(b"*"), Ok(NewId::Auto));
        assert_eq!(new_id(b"5-*"), Ok(NewId::AutoSeq(5)));
        assert_eq!(new_id(b"5"), Ok(NewId::Given(id(5, 0))));
        assert!(new_id(b"*-1").is_err() && new_id(b"5-**").is_err());
    }

    #[test]
    fn intervals_have_open_ends() {
        let id = StreamId::new;
        assert_eq!(interval_start(b"-"), Ok(StreamId::MIN));
        assert_eq!(interval_start(b"5"), Ok(id(5, 0)));
        assert_eq!(interval_start(b"(5"), Ok(id(5, 1)));
        assert_eq!(interval_start(b"(5-18446744073709551615"), Ok(id(6, 0)));
        assert_eq!(interval_end(b"+"), Ok(StreamId::MAX));
        assert_eq!(interval_end(b"5"), Ok(id(5, u64::MAX)));
        assert_eq!(interval_end(b"(5-0"), Ok(id(4, u64::MAX)));
        for (bad, start) in [(&b"(+"[..], true), (b"(-", true), (b"(", true), (b"((1", true), (b"(0-0", false)] {
            assert!(if start { interval_start(bad) } else { interval_end(bad) }.is_err(), "{}", bad.escape_ascii());
        }
        let last = b"(18446744073709551615-18446744073709551615";
        assert_eq!(
            interval_start(last).map_err(|it| it.text().into_owned()),
            Err("ERR invalid start ID for the interval".into())
        );
    }

    #[test]
    fn ids_are_answered_in_full() {
        assert_eq!(IdText::new(StreamId::MAX).as_bytes(), b"18446744073709551615-18446744073709551615");
        assert_eq!(IdText::new(StreamId::MIN).as_bytes(), b"0-0");
    }
}
