//! JSON as Lua values.

use super::{DEEPEST, Settings};
use mlua::{Lua, Table, Value};

/// The value of a JSON text, or what is wrong with it and where.
pub fn decode(lua: &Lua, settings: &Settings, text: &[u8]) -> Result<Value, String> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".to_owned());
    }
    let mut parser = Parser { lua, settings, text, at: 0 };
    let first = parser.token();
    let value = parser.value(first)?;
    match parser.token() {
        (_, Token::End) => Ok(value),
        other => Err(expected("the end", &other)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(why) => why,
        }
    }
}

/// A token and where it begins.
type Placed = (usize, Token);

fn expected(what: &str, found: &Placed) -> String {
    format!("Expected {what} but found {} at character {}", found.1.name(), found.0 + 1)
}

struct Parser<'p> {
    lua: &'p Lua,
    settings: &'p Settings,
    text: &'p [u8],
    at: usize,
}

impl Parser<'_> {
    /// The byte at a distance; 0 behind the end, as a C string has it.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Placed {
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
            b'-' | b'0'..=b'9' if !self.settings.decode_invalid && self.odd_number() => {
                return (begin, Token::Wrong("invalid number"));
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
        if may_be_number && self.settings.decode_invalid && self.odd_number() {
            return self.number(begin);
        }
        (begin, Token::Wrong("invalid token"))
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
        match c_number(&self.text[self.at..]) {
            Some((value, len)) => {
                self.at += len;
                (begin, Token::Number(value))
            }
            None => (begin, Token::Wrong("invalid number")),
        }
    }

    fn string(&mut self, begin: usize) -> Placed {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let plain = self.text[self.at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            out.extend_from_slice(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return (begin, Token::String(out));
                }
                0 => return (self.at, Token::Wrong("unexpected end of string")),
                _ => {}
            }
            let escaped = match self.peek(1) {
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 12,
                b'r' => b'\r',
                b'u' => match self.unicode(&mut out) {
                    true => continue,
                    false => return (self.at, Token::Wrong("invalid unicode escape code")),
                },
                _ => return (self.at, Token::Wrong("invalid escape code")),
            };
            out.push(escaped);
            self.at += 2;
        }
    }

    fn hex(&self, ahead: usize) -> Option<u32> {
        let digits = self.text.get(self.at + ahead..self.at + ahead + 4)?;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }

    /// `\uXXXX`, twice for a surrogate pair. A single surrogate is wrong.
    fn unicode(&mut self, out: &mut Vec<u8>) -> bool {
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
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        true
    }

    /// The value that begins with a token. What is open is on a list: nothing recurses.
    fn value(&mut self, first: Placed) -> Result<Value, String> {
        let mut open: Vec<Open> = Vec::new();
        let mut token = first;
        loop {
            let mut done = match token.1 {
                Token::String(text) => Value::String(self.lua.create_string(text).map_err(text_of)?),
                Token::Number(value) => Value::Number(value),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::ObjectBegin | Token::ArrayBegin => {
                    let object = matches!(token.1, Token::ObjectBegin);
                    let table = self.descend(open.len() + 1)?;
                    let next = self.token();
                    match (object, &next.1) {
                        (true, Token::ObjectEnd) | (false, Token::ArrayEnd) => Value::Table(table),
                        (true, _) => {
                            let key = self.key(next)?;
                            open.push(Open { table, key });
                            token = self.token();
                            continue;
                        }
                        (false, _) => {
                            open.push(Open { table, key: Value::Number(1.0) });
                            token = next;
                            continue;
                        }
                    }
                }
                _ => return Err(expected("value", &token)),
            };
            // The value is whole: it goes where it belongs, and closes what ends behind it.
            loop {
                let Some(mut top) = open.pop() else { return Ok(done) };
                top.table.raw_set(top.key.clone(), done).map_err(text_of)?;
                let next = self.token();
                let index = top.key.as_number();
                match (&next.1, index) {
                    (Token::ArrayEnd, Some(_)) | (Token::ObjectEnd, None) => done = Value::Table(top.table),
                    (Token::Comma, Some(index)) => {
                        top.key = Value::Number(index + 1.0);
                        open.push(top);
                        break;
                    }
                    (Token::Comma, None) => {
                        let next = self.token();
                        top.key = self.key(next)?;
                        open.push(top);
                        break;
                    }
                    (_, Some(_)) => return Err(expected("comma or array end", &next)),
                    (_, None) => return Err(expected("comma or object end", &next)),
                }
            }
            token = self.token();
        }
    }

    fn descend(&mut self, depth: usize) -> Result<Table, String> {
        if depth > self.settings.decode_depth.min(DEEPEST) {
            return Err(format!("Found too many nested data structures ({depth}) at character {}", self.at));
        }
        self.lua.create_table().map_err(text_of)
    }

    /// A key and the colon behind it.
    fn key(&mut self, token: Placed) -> Result<Value, String> {
        let Token::String(key) = token.1 else { return Err(expected("object key string", &token)) };
        let key = Value::String(self.lua.create_string(key).map_err(text_of)?);
        match self.token() {
            (_, Token::Colon) => Ok(key),
            other => Err(expected("colon", &other)),
        }
    }
}

/// A table that is being filled: an array's next place is a number, an object's a text.
struct Open {
    table: Table,
    key: Value,
}

fn text_of(error: mlua::Error) -> String {
    crate::interpreter::first_line(&error)
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
    if rest.len() > 2 && rest[0] == b'0' && rest[1] | 0x20 == b'x' && rest[2].is_ascii_hexdigit() {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = rest[2..2 + digits]
            .iter()
            .fold(0.0, |value, digit| value * 16.0 + f64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
        return Some((signed(value), sign + 2 + digits));
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
