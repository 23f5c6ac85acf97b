//! Numbers as text, with Redis' exact rules: what counts as an integer, what as a double, and how both are printed.

/// Reads a whole string as an integer: no sign but `-`, no leading zeros, no spaces, nothing behind it.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // Up to 19 digits fit into u64.
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Reads a whole string as an unsigned integer, by the same rules.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 20 => text.iter().try_fold(0u64, |value, &byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
        }),
        _ => None,
    }
}

/// Reads a whole string as a double, as C's strtod does in full: decimal, hexadecimal, `inf`, `infinity`; not `nan`,
/// not values too large or too small to show, no spaces around it.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => parse_hex(digits)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal(unsigned)?,
        _ if is_infinity(unsigned) => f64::INFINITY,
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

pub(crate) fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

fn parse_decimal(text: &[u8]) -> Option<f64> {
    let value: f64 = fast_float2::parse(text).ok()?;
    let vanished =
        value == 0.0 && text.iter().take_while(|c| !c.eq_ignore_ascii_case(&b'e')).any(|c| matches!(c, b'1'..=b'9'));
    (value.is_finite() && !vanished).then_some(value)
}

/// The part behind `0x`: hexadecimal digits, a point, a binary exponent.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let exponent_at = text.iter().position(|c| c.eq_ignore_ascii_case(&b'p'));
    let (digits, exponent) = match exponent_at {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (mut mantissa, mut shift, mut sticky, mut any, mut point) = (0u64, 0i64, false, false, false);
    for &c in digits {
        if c == b'.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from(char::from(c).to_digit(16)?);
        any = true;
        if mantissa < 1 << 58 {
            mantissa = mantissa << 4 | digit;
            shift -= if point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            shift += if point { 0 } else { 4 };
        }
    }
    if !any {
        return None;
    }
    let value = scale(mantissa << 1 | u64::from(sticky), shift + exponent - 1);
    (value.is_finite() && (value != 0.0 || mantissa == 0)).then_some(value)
}

pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond a million every exponent means the same.
    let value = digits.iter().fold(0i64, |value, c| (value * 10 + i64::from(c - b'0')).min(1_000_000));
    Some(if negative { -value } else { value })
}

/// `mantissa * 2^exponent`, rounded once (a mantissa's last bit may stand for all bits below it).
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    let lowest = (exponent + bits - 53).max(-1074);
    let drop = lowest - exponent;
    if drop <= 0 {
        return mantissa as f64 * pow2(exponent);
    }
    if drop > 64 {
        return 0.0;
    }
    let wide = u128::from(mantissa);
    let kept = (wide >> drop) as u64;
    let rest = wide & ((1 << drop) - 1);
    let half = 1u128 << (drop - 1);
    let up = rest > half || (rest == half && kept & 1 == 1);
    (kept + u64::from(up)) as f64 * pow2(lowest)
}

/// A power of two without rounding in between; the callers keep `exponent` within what a product with 53 bits needs.
fn pow2(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// Appends a double as Redis 7.2 prints it: the shortest digits that read back as the same value, plain up to about
/// seven trailing zeros or six leading ones, `1e+20` beyond; whole numbers in full up to 4.6e18.
pub fn format_f64(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(FloatText::new(value).as_bytes());
}

/// A formatted double on the stack.
#[derive(Debug, Clone, Copy)]
pub struct FloatText {
    bytes: [u8; 40],
    len: usize,
}

impl FloatText {
    /// The text of `value`, see [`format_f64`].
    pub fn new(value: f64) -> Self {
        let mut text = Self { bytes: [0; 40], len: 0 };
        if value.is_nan() {
            text.put(b"nan");
        } else if value.is_infinite() {
            text.put(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == 0.0 {
            text.put(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if let Some(whole) = as_whole(value) {
            text.put(itoa::Buffer::new().format(whole).as_bytes());
        } else {
            text.shortest(value);
        }
        text
    }

    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, count: usize) {
        self.bytes[self.len..self.len + count].fill(b'0');
        self.len += count;
    }

    fn shortest(&mut self, value: f64) {
        let (digits, count, scale) = shortest_digits(value.abs());
        let digits = &digits[..count];
        if value < 0.0 {
            self.put(b"-");
        }
        // value = digits * 10^scale; `magnitude` is the exponent that scientific notation would show.
        let magnitude = (scale + count as i32 - 1).unsigned_abs() as usize;
        let below = scale.unsigned_abs() as usize;
        if scale >= 0 && magnitude < count + 7 {
            self.put(digits);
            self.zeros(below);
        } else if scale < 0 && (scale > -7 || magnitude < 4) {
            if below >= count {
                self.put(b"0.");
                self.zeros(below - count);
                self.put(digits);
            } else {
                self.put(&digits[..count - below]);
                self.put(b".");
                self.put(&digits[count - below..]);
            }
        } else {
            self.put(&digits[..1]);
            if count > 1 {
                self.put(b".");
                self.put(&digits[1..]);
            }
            self.put(if scale + (count as i32) < 1 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(magnitude).as_bytes());
        }
    }
}

impl std::fmt::Display for FloatText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// Whole numbers in the range where the conversion to an integer loses nothing.
fn as_whole(value: f64) -> Option<i64> {
    const LIMIT: f64 = (i64::MAX / 2) as f64;
    if !(-LIMIT..=LIMIT).contains(&value) {
        return None;
    }
    let whole = value as i64;
    (whole as f64 == value).then_some(whole)
}

/// The shortest digits of a positive finite double, and the power of ten they are multiplied by.
fn shortest_digits(value: f64) -> ([u8; 20], usize, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (mantissa, mut scale) = match text.iter().position(|&c| c == b'e') {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..]).unwrap_or(0) as i32),
        None => (text, 0),
    };
    let mut digits = [0u8; 20];
    let (mut count, mut point, mut zeros) = (0, false, 0);
    for &c in mantissa {
        if c == b'.' {
            point = true;
            continue;
        }
        scale -= i32::from(point);
        // Zeros count only once another digit follows them.
        if c == b'0' {
            zeros += 1;
            continue;
        }
        if count > 0 {
            digits[count..count + zeros].fill(b'0');
            count += zeros;
        }
        zeros = 0;
        digits[count] = c;
        count += 1;
    }
    (digits, count, scale + zeros as i32)
}

/// Appends a double as C's `%.17g` does: what Redis 7.0 prints, and what DEBUG DIGEST hashes.
pub fn format_f64_17g(value: f64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    if !value.is_finite() || value == 0.0 {
        return format_f64(value, out);
    }
    let text = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = digits.trim_end_matches('0');
    if value < 0.0 {
        out.push(b'-');
    }
    let whole = exponent + 1;
    // Writing into a Vec can't fail.
    let _ = if !(-4..17).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{first}{point}{rest}e{sign}{:02}", exponent.abs())
    } else if whole <= 0 {
        write!(out, "0.{}{digits}", "0".repeat(whole.unsigned_abs() as usize))
    } else if digits.len() <= whole as usize {
        write!(out, "{digits:0<width$}", width = whole as usize)
    } else {
        let (whole, fraction) = digits.split_at(whole as usize);
        write!(out, "{whole}.{fraction}")
    };
}

#[cfg(test)]
mod tests;
