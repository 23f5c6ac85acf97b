//! Splitting a line of text into arguments, with the quoting rules that redis-cli and telnet users know.

use crate::OwnedArgs;

/// Splits `line` at blanks, tabs and line ends. `"…"` understands `\xHH \n \r \t \b \a` and any escaped byte, `'…'` only
/// `\'`; a closing quote must be followed by space or the end. `None` for unbalanced quotes.
pub fn split_args(line: &[u8]) -> Option<OwnedArgs> {
    let mut args = OwnedArgs::new();
    let mut word = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&c| is_space(c)) {
            at += 1;
        }
        if at >= line.len() {
            return Some(args);
        }
        word.clear();
        at = read_word(line, at, &mut word)?;
        args.push(&word);
    }
}

/// Reads the word at `at` and returns where it ends.
fn read_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while let Some(&c) = line.get(at) {
        match c {
            b'"' => return end_of_quotes(line, double_quoted(line, at + 1, word)?),
            b'\'' => return end_of_quotes(line, single_quoted(line, at + 1, word)?),
            // Not C's isspace: vertical tab and form feed end no word, though words may stand behind them.
            b' ' | b'\t' | b'\n' | b'\r' => return Some(at),
            0 => return Some(at + 1),
            c => word.push(c),
        }
        at += 1;
    }
    Some(at)
}

fn end_of_quotes(line: &[u8], at: usize) -> Option<usize> {
    line.get(at).is_none_or(|&c| is_space(c)).then_some(at)
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match (*line.get(at)?, line.get(at + 1)) {
            (b'"', _) => return Some(at + 1),
            (b'\\', Some(b'x')) if hex_pair(line, at + 2).is_some() => {
                word.push(hex_pair(line, at + 2)?);
                at += 4;
            }
            (b'\\', Some(&c)) => {
                word.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            (c, _) => {
                word.push(c);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match (*line.get(at)?, line.get(at + 1)) {
            (b'\\', Some(b'\'')) => {
                word.push(b'\'');
                at += 2;
            }
            (b'\'', _) => return Some(at + 1),
            (c, _) => {
                word.push(c);
                at += 1;
            }
        }
    }
}

fn hex_pair(line: &[u8], at: usize) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let pair = line.get(at..at + 2)?;
    Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
}

/// C's isspace in the C locale.
fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<Vec<u8>>> {
        split_args(line.as_bytes()).map(|args| args.view().iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn lines_split_as_redis_splits_them() {
        let cases: &[(&str, Option<&[&[u8]]>)] = &[
            ("", Some(&[])),
            ("   ", Some(&[])),
            ("get a", Some(&[b"get", b"a"])),
            ("  get\ta  ", Some(&[b"get", b"a"])),
            ("\x0b\x0cget\x0b \x0ca\x0cb\r", Some(&[b"get\x0b", b"a\x0cb"])),
            ("\"a\"\x0bb", Some(&[b"a", b"b"])),
            (r#"set "a b" 'c d'"#, Some(&[b"set", b"a b", b"c d"])),
            (r#"set "" ''"#, Some(&[b"set", b"", b""])),
            (r#""\x00\xfF\n\r\t\b\a\"\\\q""#, Some(&[b"\x00\xff\n\r\t\x08\x07\"\\q"])),
            (r#""\xzz""#, Some(&[b"xzz"])),
            (r"'a\'b\n'", Some(&[b"a'b\\n"])),
            (r#"ab"cd""#, Some(&[b"abcd"])),
            (r#""a"b"#, None),
            (r#"'a'b"#, None),
            (r#""abc"#, None),
            ("'abc", None),
            (r#""abc\"#, None),
            (r#""abc\""#, None),
        ];
        for (line, want) in cases {
            let want = want.map(|w| w.iter().map(|a| a.to_vec()).collect::<Vec<_>>());
            assert_eq!(split(line), want, "{line}");
        }
    }
}
