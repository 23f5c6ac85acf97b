//! Errors of configuration as a person wants them: file, line, column, what was expected, and "did you mean".

use super::document::{BYTE_ORDER_MARK, Document, Origin};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The file, or what stands for one (`built-in defaults`, `command line`).
    pub(crate) file: String,
    /// Line and column in the user's file, counted from 1; none when an argument is at fault.
    pub(crate) place: Option<(usize, usize)>,
    /// What is wrong and what was expected.
    pub(crate) message: String,
    /// "did you mean".
    pub(crate) help: Option<String>,
    /// The whole text to show the line from.
    source: Box<str>,
    /// A string is wanted there.
    string: bool,
}

impl ConfigError {
    /// An error that has no place in a text.
    pub(crate) fn plain(file: &str, message: impl Into<String>) -> ConfigError {
        let (message, source) = (message.into(), Box::default());
        ConfigError { file: file.into(), place: None, message, help: None, source, string: false }
    }

    /// Whether it is about something else in the place of a string.
    pub(crate) fn wants_string(&self) -> bool {
        self.string
    }

    /// An error that somebody else found in a file: its line is shown if the file can still be read. A place of
    /// (0, 0) means that none is known.
    pub(crate) fn in_file(file: &str, place: (usize, usize), message: String) -> ConfigError {
        match std::fs::read_to_string(file) {
            Ok(source) if place.0 > 0 => {
                let source = Document::new(source).source().into();
                ConfigError { place: Some(place), source, ..ConfigError::plain(file, message) }
            }
            _ if place.0 > 0 => ConfigError::plain(&format!("{file}:{}:{}", place.0, place.1), message),
            _ => ConfigError::plain(file, message),
        }
    }

    /// An error at a byte of the edited document.
    pub(crate) fn at(document: &Document, file: &str, at: usize, message: String, help: Option<String>) -> ConfigError {
        match document.origin(at) {
            Origin::Argument(argument) => ConfigError { help, ..ConfigError::plain(&argument, message) },
            Origin::File(offset) => ConfigError {
                place: Some(line_column(document.source(), offset)),
                help,
                source: document.source().into(),
                ..ConfigError::plain(file, message)
            },
        }
    }

    /// A file that isn't text, with the place of the first byte that isn't.
    pub(crate) fn not_utf8(file: &str, bytes: &[u8]) -> ConfigError {
        let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let help = wide.then(|| "it begins as UTF-16 does: save it as UTF-8".to_owned());
        let good = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let byte = bytes.get(good.len()).copied().unwrap_or_default();
        let document = Document::new(String::from_utf8_lossy(bytes).into_owned());
        let at = good.strip_prefix(BYTE_ORDER_MARK).unwrap_or(good).len();
        ConfigError::at(&document, file, at, format!("the byte 0x{byte:02x} here is no UTF-8"), help)
    }

    /// What RON's parser found in the edited document.
    pub(crate) fn from_ron(document: &Document, file: &str, error: &ron::error::SpannedError) -> ConfigError {
        let at = offset_of(document.text(), error.span.start.line, error.span.start.col);
        if matches!(error.code, ron::Error::IntegerOutOfBounds) {
            let (at, message) = out_of_bounds(document.text(), at);
            return ConfigError::at(document, file, at, message, None);
        }
        let (message, help) = explain(&error.code);
        let help = help.or_else(|| elsewhere(&error.code));
        let error_there =
            ConfigError::at(document, file, place_of_name(document.text(), at, &error.code), message, help);
        ConfigError { string: wants_string(&error.code), ..error_there }
    }

    /// The line as the user wrote it with a mark under the place, for a terminal or a log.
    pub(crate) fn render(&self) -> String {
        let Some((line, column)) = self.place else { return self.to_string() };
        let shown = printable(self.source.split('\n').nth(line - 1).unwrap_or_default());
        let at = offset_of(&shown, 1, column);
        let word = shown[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
        // A mark is as wide as something: at the end of a line, as its last letter.
        let next = shown[at..].chars().next().map_or(0, char::len_utf8);
        let end = at + std::cmp::max(word, next);
        let mark = AnnotationKind::Primary.span(at..end);
        let snippet = Snippet::source(&shown).line_start(line).path(&self.file).annotation(mark);
        let mut group = Level::ERROR.primary_title(&self.message).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        Renderer::plain().render(&[group]).to_string()
    }
}

/// A line without what a terminal, or who counts columns, could stumble over; as many letters as before.
fn printable(line: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}');
    line.chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}

/// Why an instance isn't started: a setting, which is shown in its line, or what the system says.
#[derive(Debug)]
pub(crate) enum NoStart {
    /// A setting of the file or of the command line.
    Setting(ConfigError),
    /// Anything else.
    Other(String),
}

impl NoStart {
    /// The same for who named the file.
    pub(crate) fn of(self, file: &str) -> ConfigError {
        match self {
            NoStart::Setting(error) => error,
            NoStart::Other(reason) => ConfigError::plain(file, reason),
        }
    }

    /// In one line, for who puts it into words of his own.
    pub(crate) fn brief(&self) -> String {
        match self {
            NoStart::Setting(error) => error.to_string(),
            NoStart::Other(reason) => reason.clone(),
        }
    }
}

impl From<ConfigError> for NoStart {
    fn from(error: ConfigError) -> NoStart {
        NoStart::Setting(error)
    }
}

impl From<String> for NoStart {
    fn from(reason: String) -> NoStart {
        NoStart::Other(reason)
    }
}

/// For the log, or a terminal.
impl fmt::Display for NoStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoStart::Setting(error) => f.write_str(&error.render()),
            NoStart::Other(reason) => f.write_str(reason),
        }
    }
}

/// One line: `file:line:column: message (did you mean …)`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// The known word that is closest to `word`, if one is close.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let score = |name: &'a str| (strsim::damerau_levenshtein(word, name), name);
    let best = known.into_iter().map(score).min()?;
    let close = best.0 <= 1 + best.1.len() / 4 || strsim::jaro_winkler(word, best.1) > 0.9;
    close.then_some(best.1)
}

/// A field that another section has, under Redis' name too.
fn elsewhere(code: &ron::Error) -> Option<String> {
    match code {
        ron::Error::NoSuchStructField { found, .. } => super::directives::set_by(found),
        _ => None,
    }
}

/// RON's error in words, with a hint where a name is unknown.
fn explain(code: &ron::Error) -> (String, Option<String>) {
    use ron::Error as E;
    let list = |names: &[&str]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
    let mean = |word: &str, names: &[&str]| {
        let known = names.iter().copied();
        nearest(word, known).map(|near| format!("did you mean '{near}'?"))
    };
    match code {
        E::NoSuchStructField { expected, found, .. } => {
            (format!("unknown field '{found}', expected one of {}", list(expected)), mean(found, expected))
        }
        E::NoSuchEnumVariant { expected, found, .. } => {
            (format!("unknown value '{found}', expected one of {}", list(expected)), mean(found, expected))
        }
        E::MissingStructField { field, .. } => (format!("the field '{field}' is missing"), None),
        E::DuplicateStructField { field, .. } => (format!("the field '{field}' appears twice"), None),
        E::InvalidValueForType { expected, found } => (format!("expected {expected}, found {found}"), None),
        E::ExceededRecursionLimit => ("nested too deep: no setting is".into(), None),
        E::TrailingCharacters => ("text behind the end of the configuration".into(), None),
        other => {
            let text = other.to_string();
            let mut letters = text.chars();
            let lower = letters.next().map(|c| c.to_lowercase().collect::<String>()).unwrap_or_default();
            (format!("{lower}{}", letters.as_str()), None)
        }
    }
}

/// A number that its field doesn't hold: where it begins, and on which side it is too far. RON stands somewhere in front of its
/// digits.
fn out_of_bounds(text: &str, at: usize) -> (usize, String) {
    let at = at + (text[at..].len() - text[at..].trim_start().len());
    let at = if text[..at].ends_with(['-', '+']) { at - 1 } else { at };
    let number = text[at..].split(|c: char| !c.is_alphanumeric() && !"+-_".contains(c)).next().unwrap_or_default();
    let field = text[..at].trim_end().strip_suffix(':').unwrap_or_default().trim_end();
    let side = if number.starts_with('-') { "too small" } else { "too large" };
    let port = if field.ends_with("port") { ": ports are 0 to 65535" } else { "" };
    (at, format!("{number} is {side}{port}"))
}

fn wants_string(code: &ron::Error) -> bool {
    match code {
        ron::Error::ExpectedString => true,
        ron::Error::InvalidValueForType { expected, .. } => expected.contains("string"),
        _ => false,
    }
}

/// RON points behind an unknown name; the name itself is the better place.
fn place_of_name(text: &str, at: usize, code: &ron::Error) -> usize {
    let name = match code {
        ron::Error::NoSuchStructField { found, .. } | ron::Error::NoSuchEnumVariant { found, .. } => found.as_str(),
        ron::Error::DuplicateStructField { field, .. } => field,
        // A value of the wrong type: RON stands before the blank, the value is behind it.
        _ => return at + (text[at..].len() - text[at..].trim_start().len()),
    };
    if text[at..].starts_with(name) { at } else { text[..at].rfind(name).unwrap_or(at) }
}

/// The byte at a line and column, both counted from 1, columns in characters.
pub(crate) fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(i) => start += i + 1,
            None => return text.len(),
        }
    }
    let rest = &text[start..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(i, _)| i)
}

/// Line and column of a byte, both counted from 1, columns in characters.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_both_ways() {
        let text = "(a: 1,\n  ü: 2,\n)";
        let at = text.find("2").expect("there");
        assert_eq!(line_column(text, at), (2, 6));
        assert_eq!(offset_of(text, 2, 6), at);
        assert_eq!(offset_of(text, 9, 9), text.len());
    }

    #[test]
    fn a_field_in_the_wrong_place_is_told_the_right_one() {
        let told = |text: &str| super::super::load::parse("a.ron", text.into(), &[]).expect_err(text).to_string();
        for (text, place) in [
            ("(server: (maxclients: 5))", "(it is set by limits.maxclients)"),
            ("(port: 6379)", "(it is set by server.port)"),
            ("(server: (tls_port: 1))", "(it is set by tls.port)"),
            ("(memory: (repl_backlog_size: 1))", "(it is set by replication.backlog_size)"),
            ("(server: (io_threads: 4))", "(it has no effect here: "),
            ("(server: (prot: 1))", "(did you mean 'port'?)"),
        ] {
            assert!(told(text).contains(place), "{text}: {}", told(text));
        }
        assert!(told("(server: (frobnicate: 1))").ends_with("'pidfile'"), "{}", told("(server: (frobnicate: 1))"));
    }

    #[test]
    fn numbers_are_too_large_or_too_small() {
        let told = |text: &str| super::super::load::parse("a.ron", text.into(), &[]).expect_err(text).to_string();
        assert_eq!(told("(server: (port: 70000))"), "a.ron:1:17: 70000 is too large: ports are 0 to 65535");
        assert_eq!(told("(tls: (port:\n -1))"), "a.ron:2:2: -1 is too small: ports are 0 to 65535");
        assert_eq!(told("(limits: (timeout: -1))"), "a.ron:1:20: -1 is too small");
        assert_eq!(told("(limits: (maxclients: 99_999_999_999))"), "a.ron:1:23: 99_999_999_999 is too large");
        let edit = super::super::load::Edit::parse("server.port=70000").expect("an edit");
        let told = super::super::load::parse("a.ron", "()".into(), &[edit]).expect_err("too large").to_string();
        assert_eq!(told, "--set server.port=70000: 70000 is too large: ports are 0 to 65535");
    }

    #[test]
    fn a_file_that_is_no_text_names_the_byte() {
        let told = |bytes: &[u8]| ConfigError::not_utf8("a.ron", bytes).to_string();
        assert_eq!(told(b"(\n  log: (file: \"gr\xfcn\"))"), "a.ron:2:18: the byte 0xfc here is no UTF-8");
        assert_eq!(told(b"\xef\xbb\xbf(\xff"), "a.ron:1:2: the byte 0xff here is no UTF-8");
        let help = " (it begins as UTF-16 does: save it as UTF-8)";
        assert_eq!(told(b"\xff\xfe(\0"), format!("a.ron:1:1: the byte 0xff here is no UTF-8{help}"));
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["port", "bind", "databases", "protected_mode"];
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("database", names), Some("databases"));
        assert_eq!(nearest("protectedmode", names), Some("protected_mode"));
        assert_eq!(nearest("colour", names), None);
    }
}
