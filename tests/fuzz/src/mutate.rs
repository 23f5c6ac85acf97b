//! Cases from a corpus: an entry, changed a few times. What is changed is chosen by what the input looks like: bytes, decimal
//! numbers, words of a dictionary, parts of other entries. Everything comes from the seed and the case's number.

/// A small generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a case.
    pub fn new(seed: u64, case: u64) -> Rng {
        let mut rng = Rng(seed.wrapping_mul(0xd129_0bc3_5a1f_e7b5) ^ case.wrapping_mul(0x2545_f491_4f6c_dd1d));
        rng.bits();
        rng
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// No case is longer.
const MAX_LEN: usize = 64 * 1024;
const BYTES: &[u8] = &[0, 1, 2, 0x0a, 0x0d, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xfc, 0xfe, 0xff];
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "536870912",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "",
    "00",
    "+1",
    "1.5",
    "nan",
];

/// One case.
pub fn case(rng: &mut Rng, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = corpus[rng.below(corpus.len())].clone();
    for _ in 0..=rng.below(6) {
        change(rng, &mut input, corpus, words);
    }
    input.truncate(MAX_LEN);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let len = input.len();
    let at = rng.below(len + 1);
    let end = (at + 1 + rng.below(16)).min(len);
    match rng.below(13) {
        0 if at < len => input[at] ^= 1 << rng.below(8),
        1 if at < len => input[at] = rng.pick(BYTES),
        2 if at < len => input[at] = rng.bits() as u8,
        3 => input.insert(at, rng.pick(BYTES)),
        4 if at < end => drop(input.drain(at..end)),
        5 if at < end => {
            let part = input[at..end].to_vec();
            let most = if rng.below(20) == 0 { 400 } else { 4 };
            for _ in 0..=rng.below(most) {
                input.splice(at..at, part.iter().copied());
            }
        }
        6 => input.truncate(at),
        7 | 8 if !words.is_empty() => {
            let word = words[rng.below(words.len())].as_bytes();
            input.splice(at..if rng.below(2) == 0 { at } else { end.max(at) }, word.iter().copied());
        }
        9 | 10 => number(rng, input, at),
        11 => {
            // The same place in another entry, or any.
            let other = &corpus[rng.below(corpus.len())];
            let from = if rng.below(2) == 0 { at.min(other.len()) } else { rng.below(other.len() + 1) };
            let to = (from + 1 + rng.below(64)).min(other.len());
            input.splice(at..at, other[from..to.max(from)].iter().copied());
        }
        _ if at + 8 <= len => {
            // A length of another width.
            let value = rng.pick(&[0u64, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 63]);
            let width = rng.pick(&[2, 4, 8]);
            let bytes = if rng.below(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
            let from = if bytes[0] == 0 { 8 - width } else { 0 };
            input[at..at + width].copy_from_slice(&bytes[from..from + width]);
        }
        _ => {}
    }
}

/// Another number in the place of the next decimal one.
fn number(rng: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |n| start + n);
    let old: Option<i64> = std::str::from_utf8(&input[start..end]).ok().and_then(|text| text.parse().ok());
    let new = match (old, rng.below(3)) {
        (Some(old), 0) => old.wrapping_add(1).to_string(),
        (Some(old), 1) => old.wrapping_sub(1).to_string(),
        _ => rng.pick(NUMBERS).to_owned(),
    };
    input.splice(start..end, new.into_bytes());
}
