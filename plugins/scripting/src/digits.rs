//! Numbers as C's `%.{n}g` prints them: what Lua and its JSON library show. Pure.

use std::io::Write;

/// More significant digits than anybody asks for.
const MOST_DIGITS: usize = 17;
/// Whole numbers below this have at most fourteen digits.
const SHORT_WHOLE: f64 = 1e14;
/// The digits of those.
const WHOLE_DIGITS: usize = 14;

/// A number with at most so many significant digits.
pub fn general(value: f64, precision: usize) -> String {
    let mut out = Vec::new();
    put_general(value, precision, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The same, behind what is there.
pub fn put_general(value: f64, precision: usize, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value.is_infinite() {
        out.extend_from_slice(b"inf");
    } else if precision >= WHOLE_DIGITS && value < SHORT_WHOLE && value.trunc() == value {
        put_whole(value as u64, out);
    } else {
        put_rounded(value, precision.clamp(1, MOST_DIGITS), out);
    }
}

/// A whole number as it is.
fn put_whole(mut value: u64, out: &mut Vec<u8>) {
    let (mut digits, mut begin) = ([0; 20], 20);
    while begin > 0 {
        begin -= 1;
        digits[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

/// A number that isn't negative, rounded to so many digits.
fn put_rounded(value: f64, precision: usize, out: &mut Vec<u8>) {
    // `d.ddde-308`
    let mut text = [0u8; MOST_DIGITS + 8];
    let mut rest = &mut text[..];
    if write!(rest, "{value:.*e}", precision - 1).is_err() {
        return;
    }
    let end = MOST_DIGITS + 8 - rest.len();
    let text = &text[..end];
    let e = text.iter().position(|byte| *byte == b'e').unwrap_or(end);
    let exponent = std::str::from_utf8(text.get(e + 1..).unwrap_or_default()).ok();
    let exponent: i32 = exponent.and_then(|exponent| exponent.parse().ok()).unwrap_or(0);
    let mut digits = [b'0'; MOST_DIGITS];
    let all = text[..e].iter().filter(|byte| **byte != b'.');
    let count = digits.iter_mut().zip(all).map(|(to, from)| *to = *from).count();
    let kept = digits[..count].iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    if exponent < -4 || exponent >= precision as i32 {
        put_point(&digits[..kept], 1, out);
        let sign = if exponent < 0 { '-' } else { '+' };
        // A vector takes whatever is written.
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend((1..-exponent).map(|_| b'0'));
        out.extend_from_slice(&digits[..kept]);
    } else {
        let whole = exponent as usize + 1;
        put_point(&digits[..kept.max(whole)], whole, out);
    }
}

/// Digits with a point behind so many, if any follow.
fn put_point(digits: &[u8], whole: usize, out: &mut Vec<u8>) {
    let (front, back) = digits.split_at_checked(whole).unwrap_or((digits, &[]));
    out.extend_from_slice(front);
    if !back.is_empty() {
        out.push(b'.');
        out.extend_from_slice(back);
    }
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn as_c_prints_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (100.0, "100"),
            (2.75, "2.75"),
            (-19.99, "-19.99"),
            (0.1 + 0.2, "0.3"),
            (99999999999999.0, "99999999999999"),
            (99999999999999.96, "1e+14"),
            (1e14, "1e+14"),
            (123456789012345.0, "1.2345678901234e+14"),
            (1e20, "1e+20"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012345"),
            (1234567.5, "1234567.5"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "4.9406564584125e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN.copysign(-1.0), "-nan"),
        ];
        for (value, wanted) in cases {
            assert_eq!(general(value, 14), wanted);
        }
        for (value, precision, wanted) in [
            (1.0 / 3.0, 3, "0.333"),
            (1234.0, 3, "1.23e+03"),
            (1000.0, 4, "1000"),
            (1000.0, 3, "1e+03"),
            (2.5, 1, "2"),
            (0.0, 1, "0"),
            (99.9, 2, "1e+02"),
        ] {
            assert_eq!(general(value, precision), wanted);
        }
    }
}
