//! The 80-bit `long double` of x86 in software, as far as INCRBYFLOAT and HINCRBYFLOAT need it: read, add, print.
//!
//! Redis adds in `long double` and prints with `%.17Lf`; in doubles 10.5 + 0.1 would show rounding noise. Rust has no
//! such type, so the 64-bit mantissa is kept here and rounded as the hardware does (to nearest, ties to even).

use crate::number::{is_infinity, parse_exponent};

/// Longest text that is read, as in Redis.
const MAX_TEXT: usize = 5 * 1024;
/// Largest exponent of two of a finite value (value < 2^16384).
const MAX_EXPONENT: i64 = 16384 - 64;
/// Below it Redis has a denormal; here all 64 bits are kept, of which none shows.
const MIN_EXPONENT: i64 = -16382 - 63;

/// A value `± mantissa * 2^exponent` with the mantissa's top bit set, zero, or an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongDouble {
    /// A number; mantissa 0 is zero.
    Finite {
        /// True for values below zero.
        negative: bool,
        /// 64 bits, the top one set unless the value is zero.
        mantissa: u64,
        /// Power of two.
        exponent: i64,
    },
    /// Beyond every number; `true` for minus infinity.
    Infinite(bool),
    /// Infinity minus infinity.
    NotANumber,
}

const ZERO: LongDouble = LongDouble::Finite { negative: false, mantissa: 0, exponent: 0 };

impl LongDouble {
    /// Reads a whole string by strtold's rules (decimal form), as Redis' `string2ld` does.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if is_infinity(text) {
            return Some(Self::Infinite(negative));
        }
        let (digits, exponent) = match text.iter().position(|c| c.eq_ignore_ascii_case(&b'e')) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let point = digits.iter().position(|&c| c == b'.');
        let (whole, fraction) = point.map_or((digits, &b""[..]), |at| (&digits[..at], &digits[at + 1..]));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if exponent == 0
            && let Some(short) = short_decimal(negative, whole, fraction)
        {
            return Some(short);
        }
        let mut number = Big::default();
        for &c in whole.iter().chain(fraction) {
            if !c.is_ascii_digit() {
                return None;
            }
            number.mul_add(10, u32::from(c - b'0'));
        }
        from_decimal(negative, number, exponent - fraction.len() as i64)
    }

    /// The sum, rounded to 64 bits.
    #[expect(clippy::should_implement_trait, reason = "a named step reads better than `+` on a type with one use")]
    pub fn add(self, other: Self) -> Self {
        use LongDouble::{Finite, Infinite, NotANumber};
        let ((n1, m1, e1), (n2, m2, e2)) = match (self, other) {
            (NotANumber, _) | (_, NotANumber) => return NotANumber,
            (Infinite(a), Infinite(b)) => return if a == b { self } else { NotANumber },
            (Infinite(_), _) => return self,
            (_, Infinite(_)) => return other,
            // As IEEE 754 has it: zeros of both signs make 0.
            (Finite { mantissa: 0, negative: a, .. }, Finite { mantissa: 0, negative: b, .. }) => {
                return self.signed_zero(a && b);
            }
            (Finite { mantissa: 0, .. }, _) => return other,
            (_, Finite { mantissa: 0, .. }) => return self,
            (
                Finite { negative: n1, mantissa: m1, exponent: e1 },
                Finite { negative: n2, mantissa: m2, exponent: e2 },
            ) => {
                if e1 >= e2 {
                    ((n1, m1, e1), (n2, m2, e2))
                } else {
                    ((n2, m2, e2), (n1, m1, e1))
                }
            }
        };
        // 62 more bits below the larger one hold the smaller one, or all that its rounding needs.
        let high = u128::from(m1) << 62;
        let shift = e1 - 62 - e2;
        let low = if shift <= 0 {
            u128::from(m2) << -shift
        } else if shift > 100 {
            1
        } else {
            let m2 = u128::from(m2);
            m2 >> shift | u128::from(m2 & ((1 << shift) - 1) != 0)
        };
        let (negative, sum) = match (n1 == n2, high >= low) {
            (true, _) => (n1, high + low),
            (false, true) => (n1, high - low),
            (false, false) => (n2, low - high),
        };
        round(negative, sum, e1 - 62).unwrap_or(Infinite(negative))
    }

    fn signed_zero(self, negative: bool) -> Self {
        if let Self::Finite { mantissa: 0, exponent, .. } = self {
            return Self::Finite { negative, mantissa: 0, exponent };
        }
        self
    }

    /// False for infinities and the result of adding opposite ones.
    pub fn is_finite(self) -> bool {
        matches!(self, Self::Finite { .. })
    }

    /// Appends the value as `%.17Lf` without trailing zeros, the form INCRBYFLOAT stores.
    pub fn write_human(self, out: &mut Vec<u8>) {
        let (negative, mantissa, exponent) = match self {
            Self::Infinite(negative) => return out.extend_from_slice(if negative { b"-inf" } else { b"inf" }),
            Self::NotANumber => return out.extend_from_slice(b"nan"),
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        let start = out.len();
        if negative {
            out.push(b'-');
        }
        if exponent >= 0 {
            let mut whole = Big::from(mantissa);
            whole.shift_left(exponent as usize);
            whole.write_decimal(out);
        } else {
            write_fixed(mantissa, -exponent, out);
        }
        if out[start..] == *b"-0" {
            out.truncate(start);
            out.push(b'0');
        }
    }
}

/// The usual number, in a few divisions: digits of which a word holds all, and no more places than a quotient of 128 bits
/// has bits to spare for. `None` leaves it to [`Big`].
fn short_decimal(negative: bool, whole: &[u8], fraction: &[u8]) -> Option<LongDouble> {
    const DIGITS: usize = 19;
    const PLACES: usize = 17;
    if whole.len() + fraction.len() > DIGITS || fraction.len() > PLACES {
        return None;
    }
    let mut digits = 0u64;
    for &c in whole.iter().chain(fraction) {
        digits = digits * 10 + u64::from(c.is_ascii_digit().then(|| c - b'0')?);
    }
    let digits = u128::from(digits);
    if digits == 0 || fraction.is_empty() {
        return round(negative, digits, 0).map(|value| value.signed_zero(negative));
    }
    let divisor = 10u128.pow(fraction.len() as u32);
    let shift = digits.leading_zeros();
    let (quotient, rest) = ((digits << shift) / divisor, (digits << shift) % divisor);
    round(negative, quotient << 1 | u128::from(rest != 0), -i64::from(shift) - 1)
}

/// Appends `mantissa / 2^shift` with 17 decimals, zeros at the end dropped.
fn write_fixed(mantissa: u64, shift: i64, out: &mut Vec<u8>) {
    const DECIMALS: u128 = 100_000_000_000_000_000;
    let scaled = u128::from(mantissa) * DECIMALS;
    let rounded = if shift > 125 {
        0
    } else {
        let (kept, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1u128 << (shift - 1));
        kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
    };
    out.extend_from_slice(itoa::Buffer::new().format((rounded / DECIMALS) as u64).as_bytes());
    let mut rest = (rounded % DECIMALS) as u64;
    let mut fraction = [0; 17];
    for digit in fraction.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let shown = fraction.len() - fraction.iter().rev().take_while(|digit| **digit == b'0').count();
    if shown > 0 {
        out.push(b'.');
        out.extend_from_slice(&fraction[..shown]);
    }
}

/// Rounds `sum * 2^exponent` (the last bit may stand for bits below it) to 64 bits; `None` when it gets too large.
fn round(negative: bool, sum: u128, exponent: i64) -> Option<LongDouble> {
    if sum == 0 {
        return Some(ZERO);
    }
    let bits = 128 - i64::from(sum.leading_zeros());
    let drop = bits - 64;
    let (mut mantissa, mut exponent) = (sum, exponent);
    if drop > 0 {
        let (kept, rest, half) = (sum >> drop, sum & ((1 << drop) - 1), 1u128 << (drop - 1));
        mantissa = kept + u128::from(rest > half || (rest == half && kept & 1 == 1));
        exponent += drop;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    } else {
        mantissa <<= -drop;
        exponent += drop;
    }
    (exponent <= MAX_EXPONENT).then_some(LongDouble::Finite { negative, mantissa: mantissa as u64, exponent })
}

/// Whether C's strtold makes a zero of it: no more than half of the smallest denormal.
fn vanishes(mantissa: u64, exponent: i64) -> bool {
    const HALF_OF_THE_SMALLEST: i64 = MIN_EXPONENT - 64;
    exponent < HALF_OF_THE_SMALLEST || exponent == HALF_OF_THE_SMALLEST && mantissa == 1 << 63
}

/// `number * 10^scale`, rounded; `None` for what strtold calls out of range.
fn from_decimal(negative: bool, mut number: Big, scale: i64) -> Option<LongDouble> {
    if number.is_zero() {
        return Some(LongDouble::Finite { negative, mantissa: 0, exponent: 0 });
    }
    let magnitude = number.bits() as i64 * 30103 / 100_000 + scale;
    if !(-5000..=5000).contains(&magnitude) {
        return None;
    }
    let (top, exponent) = if scale >= 0 {
        for _ in 0..scale {
            number.mul_add(10, 0);
        }
        number.top_bits()
    } else {
        let mut divisor = Big::from(1);
        for _ in 0..-scale {
            divisor.mul_add(10, 0);
        }
        number.divide_to_bits(divisor)
    };
    let value = round(negative, top, exponent)?;
    match value {
        LongDouble::Finite { mantissa, exponent, .. } if vanishes(mantissa, exponent) => None,
        other => Some(other),
    }
}

/// A natural number of any size, lowest word first, no zero words on top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        let mut big = Self(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn mul_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        if self.is_zero() {
            return;
        }
        self.mul_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
    }

    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 32).is_some_and(|word| word >> (at % 32) & 1 == 1)
    }

    /// The upper 100 bits or less (the last one stands for all below) and the power of two they are multiplied by.
    fn top_bits(&self) -> (u128, i64) {
        let bits = self.bits();
        let from = bits.saturating_sub(100);
        let top = (from..bits).rev().fold(0u128, |top, at| top << 1 | u128::from(self.bit(at)));
        let rest = (0..from).any(|at| self.bit(at));
        (top | u128::from(rest), from as i64)
    }

    /// About 100 bits of `self / divisor` in the same form, by long division.
    fn divide_to_bits(mut self, mut divisor: Big) -> (u128, i64) {
        // Both get the same length, so that the quotient's first bit is at 0 or -1.
        let (a, b) = (self.bits(), divisor.bits());
        if a < b {
            self.shift_left(b - a)
        } else {
            divisor.shift_left(a - b)
        }
        let mut quotient = 0u128;
        for _ in 0..100 {
            quotient <<= 1;
            if !self.less_than(&divisor) {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.mul_add(2, 0);
        }
        (quotient << 1 | u128::from(!self.is_zero()), a as i64 - b as i64 - 100)
    }

    fn less_than(&self, other: &Big) -> bool {
        (self.0.len(), self.0.iter().rev().collect::<Vec<_>>()) < (other.0.len(), other.0.iter().rev().collect())
    }

    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let (less, b1) = word.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, b2) = less.overflowing_sub(u32::from(borrow));
            *word = less;
            borrow = b1 || b2;
        }
        self.trim();
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut parts = Vec::new();
        while !self.is_zero() {
            let mut rest = 0u64;
            for word in self.0.iter_mut().rev() {
                rest = rest << 32 | u64::from(*word);
                *word = (rest / 1_000_000_000) as u32;
                rest %= 1_000_000_000;
            }
            parts.push(rest);
            self.trim();
        }
        out.extend_from_slice(parts.pop().unwrap_or(0).to_string().as_bytes());
        for part in parts.iter().rev() {
            out.extend_from_slice(format!("{part:09}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> String {
        let sum = LongDouble::parse(a.as_bytes()).unwrap().add(LongDouble::parse(b.as_bytes()).unwrap());
        let mut out = Vec::new();
        sum.write_human(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The right column is what redis-server 7.0.15 on x86-64 answers to INCRBYFLOAT.
    #[test]
    fn sums_are_those_of_redis_on_x86() {
        for (a, b, want) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.1", "4.1"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("-0", "0", "0"),
            ("1e20", "1", "100000000000000000000"),
            ("1000.1", "0", "1000.09999999999999998"),
            ("123456789.123", "0.001", "123456789.12399999999615829"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("1.5", "-3", "-1.5"),
            ("1", "1e-4950", "1"),
            ("-1", "1.9e-4951", "-1"),
            ("17179869184", "0.3", "17179869184.30000000074505806"),
        ] {
            assert_eq!(sum(a, b), want, "{a} + {b}");
        }
    }

    #[test]
    fn text_rules() {
        for text in ["", "-", ".", "e5", "1e", "nan", " 1", "1 ", "1e99999", "1e-99999", "1.8e-4951", "1x", "1.2.3"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert!(!LongDouble::parse(b"-inf").unwrap().is_finite());
        let inf = LongDouble::parse(b"inf").unwrap();
        assert_eq!(inf.add(LongDouble::parse(b"-inf").unwrap()), LongDouble::NotANumber);
        let [minus, plus] = [b"-0".as_slice(), b"0"].map(|text| LongDouble::parse(text).unwrap());
        assert_eq!([minus.add(plus), plus.add(minus), minus.add(minus)], [plus, plus, minus]);
        let largest = LongDouble::parse(b"1.1e4932").unwrap();
        assert_eq!(largest.add(largest), LongDouble::Infinite(false));
    }

    proptest! {
        /// Whole numbers and eighths below 2^60 are exact, so integer arithmetic is the twin.
        #[test]
        fn exact_sums(a in -1i64 << 59..1 << 59, b in -1i64 << 59..1 << 59) {
            let text = |v: i128| {
                let (whole, eighths) = (v.unsigned_abs() / 8, v.unsigned_abs() % 8);
                let fraction = ["", ".125", ".25", ".375", ".5", ".625", ".75", ".875"][eighths as usize];
                format!("{}{whole}{fraction}", if v < 0 { "-" } else { "" })
            };
            let (a, b) = (i128::from(a), i128::from(b));
            prop_assert_eq!(sum(&text(a), &text(b)), text(a + b));
        }

        /// The short way gives what the long one does.
        #[test]
        fn short_and_long_numbers_are_read_alike(whole in "[0-9]{0,12}", fraction in "[0-9]{0,17}", zeros in "0{20}") {
            prop_assume!(!(whole.is_empty() && fraction.is_empty()));
            let short = LongDouble::parse(format!("-{whole}.{fraction}").as_bytes());
            let long = LongDouble::parse(format!("-{zeros}{whole}.{fraction}").as_bytes());
            prop_assert_eq!(short, long);
        }

        #[test]
        fn adding_commutes_and_never_panics(a in "-?[0-9]{1,30}(\\.[0-9]{0,30})?(e-?[0-9]{1,3})?", b in "-?[0-9]{1,5}(e-?[0-9]{1,4})?") {
            if let (Some(a), Some(b)) = (LongDouble::parse(a.as_bytes()), LongDouble::parse(b.as_bytes())) {
                prop_assert_eq!(a.add(b), b.add(a));
                a.add(b).write_human(&mut Vec::new());
            }
        }
    }
}
