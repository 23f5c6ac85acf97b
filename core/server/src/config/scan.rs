//! Finds values inside RON text without giving them types: where a field of a struct or an element of a list lies.
//!
//! It only skips (strings, comments, brackets), so that a value can be replaced in place; it never judges whether the
//! text is right. The typed parse that follows does.

use std::ops::Range;

/// A cursor over RON text.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What was found at a path's step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The value's bytes.
    Value(Range<usize>),
    /// No such field; a new one can be inserted here.
    Missing {
        /// Right behind the opening bracket.
        insert_at: usize,
    },
    /// The value at this place has no fields or elements.
    NotNested,
}

/// The field `name` of the struct `(…)` that begins in `value`.
pub(crate) fn field(text: &str, value: Range<usize>, name: &str) -> Found {
    let mut scan = Scanner { text, at: value.start };
    if !scan.open('(') {
        return Found::NotNested;
    }
    let insert_at = scan.at;
    while let Some((found, range)) = scan.next_field(value.end) {
        if found == name {
            return Found::Value(range);
        }
    }
    Found::Missing { insert_at }
}

/// The ranges of all elements of the list `[…]` that begins in `value`; `None` if it is no list.
pub(crate) fn elements(text: &str, value: Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut scan = Scanner { text, at: value.start };
    if !scan.open('[') {
        return None;
    }
    let mut all = Vec::new();
    loop {
        scan.skip_blank();
        if scan.at >= value.end || scan.peek() == Some(']') {
            return Some(all);
        }
        let range = scan.value();
        if range.is_empty() {
            return Some(all);
        }
        all.push(range);
        scan.skip_blank();
        scan.eat(',');
    }
}

/// The range of the document's root value: behind comments and `#![enable(…)]`.
pub(crate) fn root(text: &str) -> Range<usize> {
    let mut scan = Scanner { text, at: 0 };
    scan.skip_blank();
    while scan.rest().starts_with("#!") {
        while let Some(c) = scan.bump() {
            if c == ']' {
                break;
            }
        }
        scan.skip_blank();
    }
    scan.at..text.len()
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let hit = self.peek() == Some(c);
        if hit {
            self.bump();
        }
        hit
    }

    /// Steps into a bracket, over a name before it (`Some(`, `Config(`).
    fn open(&mut self, bracket: char) -> bool {
        self.skip_blank();
        if self.eat(bracket) {
            return true;
        }
        let wrapped = self.word() == "Some";
        self.skip_blank();
        if !self.eat('(') {
            return false;
        }
        // `Some((…))` holds the struct one bracket deeper, `Name(…)` holds it here.
        if !wrapped && bracket == '(' {
            return true;
        }
        self.skip_blank();
        self.eat(bracket)
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        word
    }

    fn next_field(&mut self, end: usize) -> Option<(String, Range<usize>)> {
        self.skip_blank();
        if self.at >= end {
            return None;
        }
        let name = self.word();
        self.skip_blank();
        if name.is_empty() || !self.eat(':') {
            return None;
        }
        let range = self.value();
        self.skip_blank();
        self.eat(',');
        Some((name, range))
    }

    /// Skips one value: up to a comma or closing bracket of its own level.
    fn value(&mut self) -> Range<usize> {
        self.skip_blank();
        let start = self.at;
        let mut end = start;
        let mut depth = 0usize;
        loop {
            self.skip_blank();
            match self.peek() {
                None => break,
                Some(',') if depth == 0 => break,
                Some(')' | ']' | '}') if depth == 0 => break,
                Some('(' | '[' | '{') => {
                    depth += 1;
                    self.bump();
                }
                Some(')' | ']' | '}') => {
                    depth -= 1;
                    self.bump();
                }
                Some('"') => self.string(),
                Some('\'') => self.character(),
                Some('r') if self.raw_string() => {}
                Some(c) if c.is_alphanumeric() || c == '_' => {
                    self.word();
                }
                Some(_) => {
                    self.bump();
                }
            }
            end = self.at;
        }
        start..end
    }

    fn string(&mut self) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '"' => return,
                '\\' => {
                    self.bump();
                }
                _ => {}
            }
        }
    }

    fn character(&mut self) {
        self.bump();
        if self.bump() == Some('\\') {
            self.bump();
        }
        while self.peek().is_some_and(|c| c != '\'' && c != ',' && c != ')') {
            self.bump();
        }
        self.eat('\'');
    }

    /// `r"…"`, `r#"…"#`; false and unmoved if it is only a word that starts with r.
    fn raw_string(&mut self) -> bool {
        let rest = self.rest();
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if !rest[1 + hashes..].starts_with('"') {
            return false;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let body = 2 + hashes;
        let len = rest[body..].find(&close).map_or(rest.len(), |i| body + i + close.len());
        self.at += len;
        true
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.block_comment();
            } else {
                return;
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        while self.at < self.text.len() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.bump();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(text: &'a str, path: &[&str]) -> Option<&'a str> {
        let mut range = root(text);
        for name in path {
            match field(text, range, name) {
                Found::Value(next) => range = next,
                _ => return None,
            }
        }
        Some(&text[range])
    }

    #[test]
    fn fields_are_found_past_everything_that_may_stand_before_them() {
        let text = "#![enable(implicit_some)] // c )\n(a: \"x, ) \\\" \", /* , ( /* */ */ b: r#\"\"a)\"#, c: 'x', d: [(p: 1), 2],\
                    e: Some((f: (1, 2), g: {\"k\": 3})), h: Name(i: -1.5))";
        assert_eq!(get(text, &["b"]), Some("r#\"\"a)\"#"));
        assert_eq!(get(text, &["c"]), Some("'x'"));
        assert_eq!(get(text, &["e", "f"]), Some("(1, 2)"));
        assert_eq!(get(text, &["e", "g"]), Some("{\"k\": 3}"));
        assert_eq!(get(text, &["h", "i"]), Some("-1.5"));
        assert_eq!(get(text, &["nothing"]), None);
        let Found::Value(list) = field(text, root(text), "d") else { panic!("d is there") };
        let all = elements(text, list).expect("a list");
        assert_eq!(all.iter().map(|r| &text[r.clone()]).collect::<Vec<_>>(), ["(p: 1)", "2"]);
    }

    #[test]
    fn broken_text_ends_instead_of_hanging() {
        for text in ["", "(", "(a", "(a:", "(a: \"", "(a: [", "/* (", "(a: r#\"", "(a: ')", "#![x", "(a: ))"] {
            let _ = field(text, root(text), "b");
            let _ = elements(text, root(text));
        }
    }
}
