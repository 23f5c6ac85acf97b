//! A plugin's RON subtree: parsed into its serde type with errors that name line, column, and what was meant.
//! The server's own part of a file may use this too through the same functions; nothing here reads a file.

use ron::error::{Position as RonPosition, SpannedError};
use ron::extensions::Extensions;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The line; 0 if no place is known.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the wrong part starts.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    pub(crate) fn anywhere(message: String) -> Problem {
        Problem { start: Position::default(), end: Position::default(), message }
    }

    pub(crate) fn at(start: Position, message: String) -> Problem {
        Problem { start, end: start, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start.line == 0 {
            return f.write_str(&self.message);
        }
        write!(f, "{}:{}: {}", self.start.line, self.start.column, self.message)
    }
}

fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

/// Parses a subtree that starts at a place of a file. No text means every default.
pub fn parse<T: DeserializeOwned + Default>(text: &str, start: Position) -> Result<T, Problem> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    options().from_str(text).map_err(|SpannedError { code, span }| {
        let from = behind_blanks(text, span.start);
        let message = match code {
            ron::Error::IntegerOutOfBounds => out_of_bounds(text, from),
            code @ (ron::Error::ExpectedIdentifier | ron::Error::ExpectedInteger) => unquoted(&code, text, from),
            code => explain(&code),
        };
        Problem { start: shift(start, from), end: shift(start, span.end), message }
    })
}

/// A number that its field doesn't hold: on which side it is too far.
fn out_of_bounds(text: &str, at: RonPosition) -> String {
    let (before, number) = text.split_at(offset(text, at));
    let digits = number.split(|c: char| !c.is_alphanumeric() && !"+-_".contains(c)).next().unwrap_or_default();
    let (before, sign) = match before.strip_suffix('-') {
        Some(before) => (before, "-"),
        None => (before, ""),
    };
    let field = before.trim_end().strip_suffix(':').unwrap_or_default().trim_end();
    let side = if sign == "-" || digits.starts_with('-') { "too small" } else { "too large" };
    let port = if field.ends_with("port") { ": ports are 0 to 65535" } else { "" };
    format!("{sign}{digits} is {side}{port}")
}

/// A word or a number in quotes, as other fields have them, and as redis.conf knows them (`64mb`): how it is written here.
fn unquoted(code: &ron::Error, text: &str, at: RonPosition) -> String {
    let quoted = text[offset(text, at)..].strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let written = quoted.and_then(|(inner, _)| match code {
        ron::Error::ExpectedInteger => number(inner).map(|number| number.to_string()),
        _ => Some(inner.to_owned()).filter(|inner| !inner.is_empty()),
    });
    let (Some((inner, _)), Some(written)) = (quoted, written) else { return explain(code) };
    format!("{code}: \"{inner}\" is written as {written} here, without quotes")
}

/// A whole number, of bytes if there is one of Redis' units that can mean nothing else.
fn number(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The byte at a place.
fn offset(text: &str, at: RonPosition) -> usize {
    let line_start = text.split_inclusive('\n').take(at.line.saturating_sub(1)).map(str::len).sum::<usize>();
    line_start + text[line_start..].chars().take(at.col.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
}

/// The place of the value itself: the parser names the place from which it looked for it.
fn behind_blanks(text: &str, from: RonPosition) -> RonPosition {
    let (mut line, mut col) = (from.line, from.col);
    for c in text[offset(text, from)..].chars().take_while(|c| c.is_whitespace()) {
        (line, col) = if c == '\n' { (line + 1, 1) } else { (line, col + 1) };
    }
    RonPosition { line, col }
}

/// A place inside the subtree as a place of the file.
fn shift(start: Position, inside: RonPosition) -> Position {
    let (line, column) = (inside.line as u32, inside.col as u32);
    let column = if line <= 1 { start.column.saturating_sub(1) + column } else { column };
    Position { line: start.line.saturating_sub(1) + line, column }
}

/// The error in words, with the name that was probably meant.
fn explain(code: &ron::Error) -> String {
    let meant = match code {
        ron::Error::NoSuchStructField { expected, found, .. } => nearest(found, expected),
        ron::Error::NoSuchEnumVariant { expected, found, .. } => nearest(found, expected),
        _ => None,
    };
    match meant {
        Some(name) => format!("{code}; did you mean `{name}`?"),
        None => code.to_string(),
    }
}

/// The known name that is most like what was written, if any is.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|name| (strsim::jaro_winkler(found, name), *name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= 0.8).then_some(name)
}

/// Every field with its value, as RON, with a comment above the fields of the first level that have one.
pub(crate) fn describe<T: Serialize>(value: &T, docs: &[(&str, &str)]) -> Result<String, ron::Error> {
    let pretty = ron::ser::PrettyConfig::new().struct_names(false).extensions(Extensions::IMPLICIT_SOME);
    let text = options().to_string_pretty(value, pretty)?;
    let mut out = String::with_capacity(text.len() * 2);
    // The extension is fixed for every file of the server, so it isn't named in each.
    for line in text.lines().filter(|line| !line.starts_with("#![enable")) {
        let field = line.strip_prefix("    ").and_then(|rest| rest.split_once(':')).map(|(name, _)| name);
        if let Some((_, doc)) = docs.iter().find(|(name, _)| Some(*name) == field) {
            out.push_str("    // ");
            out.push_str(doc);
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        port: u16,
        name: Option<String>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Sample { port: 6379, name: None }
        }
    }

    const START: Position = Position { line: 10, column: 20 };

    #[test]
    fn positions_are_those_of_the_file() {
        let problem = parse::<Sample>("(port: 1, nam: \"x\")", START).unwrap_err();
        assert_eq!((problem.start.line, problem.start.column), (10, 30), "{problem:?}");
        assert!(problem.message.contains("did you mean `name`"), "{problem}");
        let problem = parse::<Sample>("(\n  port: \"x\",\n)", START).unwrap_err();
        assert_eq!((problem.start.line, problem.start.column), (11, 9), "{problem:?}");
        let problem = parse::<Sample>("(name: \"ä\", port:\n\n true)", START).unwrap_err();
        assert_eq!((problem.start.line, problem.start.column), (12, 2), "{problem:?}");
        let problem = parse::<Sample>("(", START).unwrap_err();
        assert_eq!(problem.start.line, 10, "{problem:?}");
        let problem = parse::<Sample>("(port: 70000)", START).unwrap_err();
        assert_eq!(problem.message, "70000 is too large: ports are 0 to 65535");
        let problem = parse::<Sample>("(port: -1)", START).unwrap_err();
        assert_eq!(problem.message, "-1 is too small: ports are 0 to 65535");
    }

    #[test]
    fn what_needs_no_quotes_is_told_so() {
        #[derive(Debug, Default, Serialize, Deserialize)]
        enum Fsync {
            #[default]
            #[serde(rename = "always")]
            Always,
        }
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        struct Quoted {
            fsync: Fsync,
            size: u64,
        }
        let told = |text: &str| parse::<Quoted>(text, START).unwrap_err().message;
        assert!(told("(fsync: \"always\")").ends_with(": \"always\" is written as always here, without quotes"));
        assert!(told("(size:\n \"64mb\")").ends_with(": \"64mb\" is written as 67108864 here, without quotes"));
        assert!(told("(size: \"7\")").ends_with(": \"7\" is written as 7 here, without quotes"));
        for (text, bare) in [("(size: \"7m\")", "integer"), ("(size: \"\")", "integer"), ("(fsync: \"", "identifier")] {
            assert!(told(text).ends_with(bare), "{}", told(text));
        }
    }

    #[test]
    fn nothing_means_the_defaults_and_some_is_implied() {
        assert_eq!(parse::<Sample>(" ", START).unwrap(), Sample::default());
        assert_eq!(parse::<Sample>("(name: \"a\")", START).unwrap().name.as_deref(), Some("a"));
    }

    #[test]
    fn a_description_can_be_read_back() {
        let text = describe(&Sample::default(), &[("port", "where it listens")]).unwrap();
        assert!(text.contains("    // where it listens\n    port: 6379"), "{text}");
        assert_eq!(parse::<Sample>(&text, START).unwrap(), Sample::default());
    }
}
