//! MessagePack's bytes, one value after the other. Pure: what tables become is the caller's.

/// One value, or the beginning of many. Owns nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    Nil,
    Boolean(bool),
    Number(f64),
    /// Where a text begins and ends.
    Text(usize, usize),
    /// The beginning of so many.
    Array(u64),
    /// The beginning of so many pairs.
    Map(u64),
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// They end too early.
    Missing,
    /// A byte that begins nothing.
    Bad,
}

/// Reads bytes.
pub struct Reader<'r> {
    /// All of them.
    pub text: &'r [u8],
    /// How far they are read.
    pub at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<(usize, usize), Wrong> {
        let begin = self.at;
        let end = begin.checked_add(len).filter(|end| *end <= self.text.len()).ok_or(Wrong::Missing)?;
        self.at = end;
        Ok((begin, end))
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, len: usize) -> Result<u64, Wrong> {
        let (begin, end) = self.take(len)?;
        Ok(self.text[begin..end].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn text(&mut self, len: u64) -> Result<Word, Wrong> {
        let (begin, end) = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Word::Text(begin, end))
    }

    /// The next one.
    pub fn word(&mut self) -> Result<Word, Wrong> {
        let kind = self.number(1)? as u8;
        let number = |value: f64| Ok(Word::Number(value));
        match kind {
            0x00..=0x7f => number(f64::from(kind)),
            0xe0..=0xff => number(f64::from(kind as i8)),
            0x80..=0x8f => Ok(Word::Map(u64::from(kind & 15))),
            0x90..=0x9f => Ok(Word::Array(u64::from(kind & 15))),
            0xa0..=0xbf => self.text(u64::from(kind & 31)),
            0xc0 => Ok(Word::Nil),
            0xc2 => Ok(Word::Boolean(false)),
            0xc3 => Ok(Word::Boolean(true)),
            0xca => number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => number(f64::from_bits(self.number(8)?)),
            // The library hands them on as signed: the upper half of 64 bits is negative.
            0xcc..=0xcf => number(self.number(1 << (kind - 0xcc))? as i64 as f64),
            0xd0 => number(f64::from(self.number(1)? as u8 as i8)),
            0xd1 => number(f64::from(self.number(2)? as u16 as i16)),
            0xd2 => number(f64::from(self.number(4)? as u32 as i32)),
            0xd3 => number(self.number(8)? as i64 as f64),
            0xd9..=0xdb => {
                let len = self.number(1 << (kind - 0xd9))?;
                self.text(len)
            }
            0xdc | 0xdd => Ok(Word::Array(self.number(2 << (kind - 0xdc))?)),
            0xde | 0xdf => Ok(Word::Map(self.number(2 << (kind - 0xde))?)),
            _ => Err(Wrong::Bad),
        }
    }
}

/// Nil, and what has no bytes.
pub fn nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// A truth value.
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// A number that isn't whole; in four bytes if they hold it.
pub fn double(out: &mut Vec<u8>, value: f64) {
    if f64::from(value as f32) == value {
        out.push(0xca);
        out.extend_from_slice(&(value as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// A text.
pub fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, bytes.len(), [(31, 0xa0), (0xff, 0xd9), (0xffff, 0xda), (usize::MAX, 0xdb)]);
    out.extend_from_slice(bytes);
}

/// The beginning of so many values.
pub fn array(out: &mut Vec<u8>, count: usize) {
    head(out, count, [(15, 0x90), (0, 0), (0xffff, 0xdc), (usize::MAX, 0xdd)]);
}

/// The beginning of so many pairs.
pub fn map(out: &mut Vec<u8>, count: usize) {
    head(out, count, [(15, 0x80), (0, 0), (0xffff, 0xde), (usize::MAX, 0xdf)]);
}

/// A length in the shortest of four forms: in the type's own byte, or behind it in one, two or four bytes.
fn head(out: &mut Vec<u8>, len: usize, forms: [(usize, u8); 4]) {
    let [(tiny, first), (short, byte), (medium, two), (_, four)] = forms;
    if len <= tiny {
        out.push(first | len as u8);
    } else if len <= short {
        out.extend_from_slice(&[byte, len as u8]);
    } else if len <= medium {
        out.push(two);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

/// A whole number in the shortest form.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0..=127 => out.push(value as u8),
        128..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
        -32..0 => out.push(value as u8),
        -128..-32 => out.extend_from_slice(&[0xd0, value as u8]),
        -32768..-128 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -2_147_483_648..-32768 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
