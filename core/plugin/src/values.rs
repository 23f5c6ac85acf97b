//! Texts of parameters as numbers, with Redis' words for what they can't be.

use crate::{Error, Result};
use std::ops::RangeInclusive;

/// A whole number as Redis reads it: no plus, no zeros before it, no spaces.
pub fn integer(text: &str, range: RangeInclusive<u64>) -> Result<u64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let strict = text == "0" || digits.starts_with(|c: char| matches!(c, '1'..='9'));
    let number = text.parse::<i64>().ok().filter(|_| strict);
    let number = number.ok_or_else(|| Error::new("argument couldn't be parsed into an integer"))?;
    let (low, high) = (range.start(), range.end());
    let number = u64::try_from(number).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| Error::new(format!("argument must be between {low} and {high} inclusive")))
}

/// A number of bytes with Redis' units: `k` is 1000, `kb` is 1024.
pub fn memory(text: &str, range: RangeInclusive<u64>) -> Result<u64> {
    let text = text.to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err("argument must be a memory value".into()),
    };
    // A unit alone is nothing of it. What 64 bits can't hold is too much, like what the range can't.
    let digits = if digits.is_empty() { "0" } else { digits };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let (low, high) = (range.start(), range.end());
    bytes
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| Error::new(format!("argument must be between {low} and {high} inclusive")))
}

#[cfg(test)]
mod tests {
    use super::{integer, memory};

    #[test]
    fn integers() {
        let (no, far) = ("argument couldn't be parsed into an integer", "argument must be between 1 and 100 inclusive");
        for (text, want) in [("1", Ok(1)), ("100", Ok(100)), ("0", Err(far)), ("101", Err(far)), ("-5", Err(far))] {
            assert_eq!(integer(text, 1..=100).map_err(|error| error.text().to_owned()), want.map_err(str::to_owned));
        }
        for text in ["", "+1", "01", "-0", "-01", "00", " 1", "1 ", "1.0", "0x1", "x", "-", "9223372036854775808"] {
            assert_eq!(integer(text, 0..=100).expect_err(text).text(), no, "{text}");
        }
    }

    #[test]
    fn memory_units() {
        let most = i64::MAX as u64;
        let (no, far) = ("argument must be a memory value", format!("argument must be between 1 and {most} inclusive"));
        let cases: &[(&str, std::result::Result<u64, &str>)] = &[
            ("100", Ok(100)),
            ("7b", Ok(7)),
            ("1mb", Ok(1 << 20)),
            ("1M", Ok(1_000_000)),
            ("2kb", Ok(2048)),
            ("1gB", Ok(1 << 30)),
            ("0", Err(&far)),
            ("9223372036854775807", Ok(most)),
            ("9223372036854775808", Err(&far)),
            ("99999999999gb", Err(&far)),
            ("99999999999999999999", Err(&far)),
            ("1x", Err(no)),
            ("mb", Err(&far)),
            ("-1", Err(no)),
            ("1.5mb", Err(no)),
        ];
        for (text, want) in cases {
            let got = memory(text, 1..=most);
            assert_eq!(got.as_ref().map_err(|error| error.text()), want.as_ref().map_err(|text| *text), "{text}");
        }
    }
}
