//! JSON's words, one after the other. Pure: what becomes of them is `decode`'s.

use std::ffi::CStr;

/// What a word is. Owns nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// A text as it stands: where it begins and ends.
    Plain(usize, usize),
    /// A text that had escapes: it is in [`Reader::unescaped`].
    Unescaped,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// Not JSON: why.
    Wrong(&'static CStr),
}

impl Token {
    /// As errors name it.
    pub fn name(&self) -> &'static CStr {
        match self {
            Token::ObjectBegin => c"T_OBJ_BEGIN",
            Token::ObjectEnd => c"T_OBJ_END",
            Token::ArrayBegin => c"T_ARR_BEGIN",
            Token::ArrayEnd => c"T_ARR_END",
            Token::Plain(..) | Token::Unescaped => c"T_STRING",
            Token::Number(_) => c"T_NUMBER",
            Token::Boolean(_) => c"T_BOOLEAN",
            Token::Null => c"T_NULL",
            Token::Colon => c"T_COLON",
            Token::Comma => c"T_COMMA",
            Token::End => c"T_END",
            Token::Wrong(why) => why,
        }
    }
}

/// A token and where it begins.
pub type Placed = (usize, Token);

/// Reads a text.
pub struct Reader<'r> {
    /// The text.
    pub text: &'r [u8],
    /// How far it is read.
    pub at: usize,
    /// Numbers that JSON doesn't have are read.
    pub odd_numbers: bool,
    /// The last text that had escapes, without them.
    pub unescaped: &'r mut Vec<u8>,
}

impl Reader<'_> {
    /// The byte at a distance; 0 behind the end, as a C string has it.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next word.
    pub fn token(&mut self) -> Placed {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let begin = self.at;
        let single = match self.peek(0) {
            0 => return (begin, Token::End),
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string(begin),
            b'-' | b'0'..=b'9' if !self.odd_numbers && self.odd_number() => {
                return (begin, Token::Wrong(c"invalid number"));
            }
            b'-' | b'0'..=b'9' => return self.number(begin),
            _ => return self.word(begin),
        };
        self.at += 1;
        (begin, single)
    }

    fn word(&mut self, begin: usize) -> Placed {
        let rest = &self.text[self.at..];
        let words: [(&[u8], Token); 3] =
            [(b"true", Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)];
        for (word, token) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return (begin, token);
            }
        }
        let may_be_number = matches!(self.peek(0), b'i' | b'I' | b'n' | b'N' | b'+');
        if may_be_number && self.odd_numbers && self.odd_number() {
            return self.number(begin);
        }
        (begin, Token::Wrong(c"invalid token"))
    }

    /// A number that C reads and JSON doesn't have.
    fn odd_number(&self) -> bool {
        if self.peek(0) == b'+' {
            return true;
        }
        let sign = usize::from(self.peek(0) == b'-');
        let rest = &self.text[(self.at + sign).min(self.text.len())..];
        match rest.first() {
            Some(b'0') => matches!(rest.get(1), Some(b'x' | b'X' | b'0'..=b'9')),
            Some(b'1'..=b'9') => false,
            _ => rest.len() >= 3 && [&b"inf"[..], b"nan"].iter().any(|word| rest[..3].eq_ignore_ascii_case(word)),
        }
    }

    fn number(&mut self, begin: usize) -> Placed {
        let rest = &self.text[self.at..];
        match short_number(rest).or_else(|| c_number(rest)) {
            Some((value, len)) => {
                self.at += len;
                (begin, Token::Number(value))
            }
            None => (begin, Token::Wrong(c"invalid number")),
        }
    }

    fn string(&mut self, begin: usize) -> Placed {
        self.at += 1;
        let plain = self.plain();
        if self.peek(0) == b'"' {
            self.at += 1;
            return (begin, Token::Plain(plain, self.at - 1));
        }
        self.unescaped.clear();
        self.unescaped.extend_from_slice(&self.text[plain..self.at]);
        loop {
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return (begin, Token::Unescaped);
                }
                0 => return (self.at, Token::Wrong(c"unexpected end of string")),
                _ => {}
            }
            if let Err(why) = self.escape() {
                return (self.at, Token::Wrong(why));
            }
            let plain = self.plain();
            self.unescaped.extend_from_slice(&self.text[plain..self.at]);
        }
    }

    /// Passes over letters that stand for themselves; where they began.
    fn plain(&mut self) -> usize {
        let begin = self.at;
        let special = self.text[begin..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0));
        self.at = special.map_or(self.text.len(), |len| begin + len);
        begin
    }

    /// The letter that a backslash and what follows stand for.
    fn escape(&mut self) -> Result<(), &'static CStr> {
        let letter = match self.peek(1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => return if self.unicode() { Ok(()) } else { Err(c"invalid unicode escape code") },
            _ => return Err(c"invalid escape code"),
        };
        self.unescaped.push(letter);
        self.at += 2;
        Ok(())
    }

    fn hex(&self, ahead: usize) -> Option<u32> {
        let digits = self.text.get(self.at + ahead..self.at + ahead + 4)?;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }

    /// `\uXXXX`, twice for a surrogate pair. A single surrogate is wrong.
    fn unicode(&mut self) -> bool {
        let Some(high) = self.hex(2) else { return false };
        let (code, len) = if high & 0xf800 == 0xd800 {
            let low = if self.peek(6) == b'\\' && self.peek(7) == b'u' { self.hex(8) } else { None };
            match low {
                Some(low) if high & 0x400 == 0 && low & 0xfc00 == 0xdc00 => {
                    (((high & 0x3ff) << 10 | low & 0x3ff) + 0x10000, 12)
                }
                _ => return false,
            }
        } else {
            (high, 6)
        };
        let Some(letter) = char::from_u32(code) else { return false };
        self.unescaped.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        true
    }
}

/// Digits up to here, as a whole number, are exact as a double,
const EXACT_DIGITS: usize = 15;
/// and so are these powers of ten: their quotient is rounded once.
const TENS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A number of few digits without an exponent, as most are; `c_number` reads all others.
fn short_number(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let begin = usize::from(negative);
    let (mut at, mut value, mut count, mut point) = (begin, 0u64, 0, None);
    loop {
        match text.get(at) {
            Some(digit @ b'0'..=b'9') if count < EXACT_DIGITS => {
                value = value * 10 + u64::from(digit - b'0');
                count += 1;
            }
            Some(b'.') if point.is_none() && count > 0 => point = Some(count),
            Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'x' | b'X') => return None,
            _ => break,
        }
        at += 1;
    }
    let decimals = count - point.unwrap_or(count);
    if count == 0 || (point.is_some() && decimals == 0) {
        return None;
    }
    let value = value as f64 / TENS[decimals];
    Some((if negative { -value } else { value }, at))
}

/// How long a hexadecimal number is, with its fraction and its exponent.
fn hexadecimal(text: &[u8]) -> Option<usize> {
    let prefixed = text.first() == Some(&b'0') && matches!(text.get(1), Some(b'x' | b'X'));
    let count = |from: usize, digit: fn(&u8) -> bool| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| digit(byte)).count()
    };
    let whole = count(2, u8::is_ascii_hexdigit);
    let mut len = 2 + whole;
    let mut digits = whole;
    if text.get(len) == Some(&b'.') {
        let decimals = count(len + 1, u8::is_ascii_hexdigit);
        digits += decimals;
        len += 1 + decimals;
    }
    if !prefixed || digits == 0 {
        return None;
    }
    if matches!(text.get(len), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let exponent = count(len + 1 + sign, u8::is_ascii_digit);
        len += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    Some(len)
}

/// The longest number that C's `strtod` reads at the beginning of a text, and its length.
fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let signed = |value: f64| if negative { -value } else { value };
    let rest = &text[sign..];
    for (word, value) in [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word) {
            return Some((signed(value), sign + word.len()));
        }
    }
    if let Some(len) = hexadecimal(rest) {
        // One that is too far from zero to show, or too near to it.
        let far = if rest[..len].contains(&b'-') { 0.0 } else { f64::INFINITY };
        let value = keystead_resp::number::parse_f64(&rest[..len]).unwrap_or(far);
        return Some((signed(value), sign + len));
    }
    let count = |from: usize| rest[from.min(rest.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = count(0);
    let mut len = whole;
    if rest.get(len) == Some(&b'.') && whole + count(len + 1) > 0 {
        len += 1 + count(len + 1);
    }
    if len == 0 {
        return None;
    }
    if matches!(rest.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let digits = count(len + 1 + sign);
        len += if digits > 0 { 1 + sign + digits } else { 0 };
    }
    let value = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    Some((signed(value), sign + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &[u8]) -> Vec<Placed> {
        let mut reader = Reader { text, at: 0, odd_numbers: true, unescaped: &mut Vec::new() };
        let mut all = Vec::new();
        while all.len() <= text.len() {
            all.push(reader.token());
            if matches!(all.last(), Some((_, Token::End | Token::Wrong(_)))) {
                break;
            }
        }
        all
    }

    #[test]
    fn short_numbers_are_what_long_ones_are() {
        let texts =
            ["0", "-0", "7", "007", "1.5", "-19.99", "0.1", "123456789012345", "0.00000000000001", "1.2345678901234"];
        for text in texts {
            let (short, long) = (short_number(text.as_bytes()), c_number(text.as_bytes()));
            assert_eq!(
                short.map(|(value, len)| (value.to_bits(), len)),
                long.map(|(value, len)| (value.to_bits(), len))
            );
            assert!(short.is_some(), "{text}");
        }
        for text in ["", "-", "1.", ".5", "1e3", "0x10", "1234567890123456", "1.2.3", "-inf"] {
            assert_eq!(short_number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(short_number(b"12,"), Some((12.0, 2)));
    }

    #[test]
    fn every_text_ends() {
        let letters = b"{}[]:,\"\\u0dD8c-+.eExXaInNtrufls19 \n\0\xff";
        let mut random = 1u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (random >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..next(24)).map(|_| letters[next(letters.len())]).collect();
            let all = tokens(&text);
            assert!(matches!(all.last(), Some((_, Token::End | Token::Wrong(_)))), "{text:?}: {all:?}");
        }
    }
}
