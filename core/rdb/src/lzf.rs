//! LZF, the light compression inside RDB strings: literal runs (`000LLLLL`, up to 32 bytes) and references back
//! (`LLLooooo oooooooo`, up to 264 bytes, at most 8 KiB back).

use crate::RdbError;

const MAX_LITERALS: usize = 32;
const MAX_BACK: usize = 8192;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 264;

/// Appends `input` compressed and returns true, if that takes at most `max_len` bytes; else leaves `out` as it was.
pub fn compress(input: &[u8], max_len: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // A small table for small values: clearing it would cost more than compressing them.
    let fits = match input.len() {
        0..512 => compress_with::<u16, 256>(input, max_len, out),
        512..4096 => compress_with::<u16, 1024>(input, max_len, out),
        _ => compress_with::<u32, 8192>(input, max_len, out),
    };
    if !fits {
        out.truncate(start);
    }
    fits
}

/// A position in a table of the positions seen.
trait Slot: Copy + Default {
    fn new(at: usize) -> Self;
    fn at(self) -> usize;
}

impl Slot for u16 {
    fn new(at: usize) -> Self {
        at as u16
    }
    fn at(self) -> usize {
        self.into()
    }
}

impl Slot for u32 {
    fn new(at: usize) -> Self {
        at as u32
    }
    fn at(self) -> usize {
        self as usize
    }
}

fn compress_with<S: Slot, const SLOTS: usize>(input: &[u8], max_len: usize, out: &mut Vec<u8>) -> bool {
    let mut seen = [S::default(); SLOTS];
    let limit = out.len() + max_len;
    let (mut at, mut literals, mut misses) = (0, 0, 0);
    while at + MIN_MATCH <= input.len() {
        let slot = hash(&input[at..at + 3]) % SLOTS;
        let before = std::mem::replace(&mut seen[slot], S::new(at)).at();
        let usable = before < at && at - before <= MAX_BACK && input[before..before + 3] == input[at..at + 3];
        if !usable {
            // The longer nothing was found, the larger the steps: noise is given up three times as fast.
            misses += 1;
            at += 1 + (misses >> 6);
            if out.len() + (at - literals) > limit {
                return false;
            }
            continue;
        }
        misses = 0;
        put_literals(&input[literals..at], out);
        let longest = (input.len() - at).min(MAX_MATCH);
        let len = MIN_MATCH + in_common(&input[before + MIN_MATCH..], &input[at + MIN_MATCH..at + longest]);
        put_reference(at - before - 1, len - 2, out);
        // The positions inside the match are worth remembering at its end only: most of the gain for little time.
        for inner in [at + len - 2, at + len - 1] {
            if inner + MIN_MATCH <= input.len() {
                seen[hash(&input[inner..inner + 3]) % SLOTS] = S::new(inner);
            }
        }
        at += len;
        literals = at;
        if out.len() > limit {
            return false;
        }
    }
    put_literals(&input[literals..], out);
    out.len() <= limit
}

/// How many bytes both begin with, eight at a time: long runs are what a compressible value mostly consists of.
fn in_common(before: &[u8], ahead: &[u8]) -> usize {
    let words = before.as_chunks::<8>().0.iter().zip(ahead.as_chunks::<8>().0);
    let mut same = 0;
    for (a, b) in words {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return same + differ.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + before[same..].iter().zip(&ahead[same..]).take_while(|(a, b)| a == b).count()
}

fn hash(three: &[u8]) -> usize {
    let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
    (word.wrapping_mul(0x9e37_79b1) >> 17) as usize
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(MAX_LITERALS) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn put_reference(back: usize, len: usize, out: &mut Vec<u8>) {
    let high = (back >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (len - 7) as u8]);
    }
    out.push(back as u8);
}

/// Unpacks `input`, which must give exactly `len` bytes.
pub fn decompress(input: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    const SHORT: RdbError = RdbError::Corrupt("compressed string ends too early");
    const LONG: RdbError = RdbError::Corrupt("compressed string is longer than it claims");
    // The best possible ratio is 264 bytes out of 3: a larger claim is a lie, and nothing is reserved for it.
    if len / 88 > input.len() {
        return Err(RdbError::Corrupt("compressed string claims an impossible length"));
    }
    let mut out = Vec::new();
    // It may still be one: where memory isn't given on credit that must not end the process.
    out.try_reserve_exact(len).map_err(|_| RdbError::NoMemory(len as u64))?;
    let mut rest = input;
    while let [control, tail @ ..] = rest {
        let control = usize::from(*control);
        if control < MAX_LITERALS {
            let (run, tail) = tail.split_at_checked(control + 1).ok_or(SHORT)?;
            if run.len() > len - out.len() {
                return Err(LONG);
            }
            out.extend_from_slice(run);
            rest = tail;
        } else {
            let (extra, tail) = if control >> 5 == 7 { tail.split_first().ok_or(SHORT)? } else { (&0, tail) };
            let (low, tail) = tail.split_first().ok_or(SHORT)?;
            let back = ((control & 31) << 8 | usize::from(*low)) + 1;
            let run = (control >> 5) + usize::from(*extra) + 2;
            if run > len - out.len() {
                return Err(LONG);
            }
            copy_back(&mut out, back, run)?;
            rest = tail;
        }
    }
    if out.len() != len {
        return Err(RdbError::Corrupt("compressed string is shorter than it claims"));
    }
    Ok(out)
}

fn copy_back(out: &mut Vec<u8>, back: usize, len: usize) -> Result<(), RdbError> {
    let from = out.len().checked_sub(back).ok_or(RdbError::Corrupt("compressed string refers before its start"))?;
    // Where source and target overlap, what was just written is copied again: each round doubles the run.
    let mut left = len;
    while left > 0 {
        let run = left.min(out.len() - from);
        out.extend_from_within(from..from + run);
        left -= run;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_made_by_redis() {
        // RDB of redis-server 7.0.15: SET k with 100 times 'a'.
        let packed = [0x01, 0x61, 0x61, 0xe0, 0x57, 0x00, 0x01, 0x61, 0x61];
        assert_eq!(decompress(&packed, 100).unwrap(), vec![b'a'; 100]);
    }

    #[test]
    fn lies_are_refused() {
        for (packed, len) in [
            (&[][..], 1),
            (&[0], 1),
            (&[0, b'a'], 2),
            (&[0, b'a'], 0),
            (&[0x20, 0], 3),
            (&[0xe0], 9),
            (&[0xe0, 1], 9),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a'], usize::MAX),
        ] {
            assert!(decompress(packed, len).is_err(), "{packed:?}");
        }
    }

    fn compressible() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(0u8..3, 0..20_000),
            (proptest::collection::vec(any::<u8>(), 1..40), 0usize..800).prop_map(|(unit, times)| unit
                .iter()
                .copied()
                .cycle()
                .take(unit.len() * times)
                .collect()),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(input in compressible()) {
            let mut out = vec![9];
            if compress(&input, input.len(), &mut out) {
                prop_assert!(out.len() <= input.len() + 1);
                prop_assert_eq!(decompress(&out[1..], input.len()).unwrap(), input);
            } else {
                prop_assert_eq!(out, vec![9]);
            }
        }

        #[test]
        fn any_bytes_are_answered(input: Vec<u8>, len in 0usize..10_000) {
            if let Ok(out) = decompress(&input, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
