//! The two units of replication: a history's name (`ReplId`) and a position in its byte stream (`Offset`).
//!
//! Owns parsing and printing of both. Never makes random numbers: fresh ids are built from bytes handed in.

use std::fmt;

/// A position in a replication stream, counted in bytes as Redis counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The largest: Redis counts in 63 bits.
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// Reads one off the wire or out of a file.
    pub fn parse(text: &str) -> Option<Offset> {
        text.parse().ok().and_then(Offset::checked)
    }

    /// An offset that somebody told, unless no stream can be there.
    pub fn checked(told: u64) -> Option<Offset> {
        Some(Offset(told)).filter(|offset| *offset <= Offset::MAX)
    }

    /// The offset `bytes` further on.
    pub fn plus(self, bytes: u64) -> Offset {
        Offset(self.0.saturating_add(bytes))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a history: forty printable characters (hexadecimal when Redis, Valkey or we made it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplId([u8; 40]);

impl ReplId {
    /// Length of a replid on the wire.
    pub const LEN: usize = 40;

    /// What Redis prints for "no second history".
    pub const ZERO_TEXT: &'static str = "0000000000000000000000000000000000000000";

    /// A fresh id from twenty random bytes.
    pub fn from_random(bytes: [u8; 20]) -> ReplId {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 40];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        ReplId(text)
    }

    /// Reads an id off the wire; anything but forty visible ASCII characters is refused.
    pub fn parse(text: &[u8]) -> Option<ReplId> {
        let id: [u8; 40] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_graphic).then_some(ReplId(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is let in")
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str()[..8])
    }
}

/// A point in a named history: what a replica has, or what a primary is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub replid: ReplId,
    /// The last byte of it that is held.
    pub offset: Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_forty_visible_characters() {
        assert!(ReplId::parse(&[b'a'; 40]).is_some());
        for bad in [&[b'a'; 39][..], &[b'a'; 41], &[b' '; 40], &[0u8; 40], b""] {
            assert!(ReplId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn an_offset_has_63_bits() {
        assert_eq!(Offset::parse("9223372036854775807"), Some(Offset::MAX));
        for bad in ["9223372036854775808", "18446744073709551610", "18446744073709551615", "-1", "", "x"] {
            assert_eq!(Offset::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn random_bytes_print_as_hex() {
        let id = ReplId::from_random(std::array::from_fn(|i| i as u8 * 13));
        assert_eq!(id.as_str(), "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7");
        assert_eq!(ReplId::parse(id.as_str().as_bytes()), Some(id));
    }
}
