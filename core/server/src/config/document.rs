//! A configuration text in which values are replaced before it is parsed, and that still knows where each byte came from.
//!
//! `--set`, `--port` and their like become edits of the text, so one typed parse sees one document, and plugin subtrees
//! (whose types the core doesn't know) can be changed the same way. An error then points into the user's file or at the
//! command line argument that brought the value.

use super::scan::{self, Found};
use std::ops::Range;

/// What some editors put in front of UTF-8.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where a byte of the edited text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the file, at this byte.
    File(usize),
    /// From an argument, shown as the user typed it.
    Argument(String),
}

/// A stretch of text with one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    len: usize,
    origin: Origin,
}

/// The text with its edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// What the file held.
    source: String,
    text: String,
    pieces: Vec<Piece>,
}

impl Document {
    /// An unedited document. A byte order mark is no part of it.
    pub(crate) fn new(source: String) -> Document {
        let source = source.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(source);
        let pieces = vec![Piece { len: source.len(), origin: Origin::File(0) }];
        Document { text: source.clone(), source, pieces }
    }

    /// The text as edited.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text as it was in the file.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Where the byte at `at` of the edited text came from.
    pub(crate) fn origin(&self, at: usize) -> Origin {
        let mut start = 0;
        for piece in &self.pieces {
            if at < start + piece.len {
                return match &piece.origin {
                    Origin::File(offset) => Origin::File(offset + (at - start)),
                    argument => argument.clone(),
                };
            }
            start += piece.len;
        }
        Origin::File(self.source.len())
    }

    /// How many stretches of a range came from arguments.
    pub(crate) fn arguments(&self, range: Range<usize>) -> usize {
        let mut start = 0;
        let within = |piece: &&Piece| {
            let begin = start;
            start += piece.len;
            matches!(piece.origin, Origin::Argument(_)) && begin < range.end && start > range.start
        };
        self.pieces.iter().filter(within).count()
    }

    /// Gives the value at `path` a new text, adding fields that are missing on the way.
    ///
    /// The path's first word is a section of the file, or the name of a listed plugin whose `config` is meant.
    pub(crate) fn set(&mut self, path: &str, value: &str, argument: &str) -> Result<(), String> {
        let words: Vec<&str> = path.split('.').collect();
        let Some((&first, rest)) = words.split_first() else { return Err("the path is empty".into()) };
        if words.iter().any(|w| w.is_empty()) {
            return Err(format!("'{path}' has an empty part"));
        }
        let root = scan::root(&self.text);
        if super::sections::is_top_level(first) {
            return self.set_below(root, &words, value, argument);
        }
        let Some(entry) = self.plugin_entry(first) else {
            return Err(self.unknown_first_word(first));
        };
        let mut path = vec!["config"];
        path.extend(rest);
        self.set_below(entry, &path, value, argument)
    }

    /// Where the name of a listed plugin stands, counted from 0, or where the text begins.
    pub(crate) fn place_of_entry(&self, index: usize) -> usize {
        let mut entries = self.plugin_entries().into_iter();
        entries.nth(index).map_or(scan::root(&self.text).start, |(_, entry)| self.place_of_name(entry))
    }

    fn place_of_name(&self, entry: Range<usize>) -> usize {
        match scan::field(&self.text, entry.clone(), "name") {
            Found::Value(name) => name.start,
            _ => entry.start,
        }
    }

    /// Names of the plugins the file lists, as far as they can be read before the typed parse.
    pub(crate) fn plugin_names(&self) -> Vec<String> {
        self.plugin_entries().into_iter().map(|(name, _)| name).collect()
    }

    fn plugin_entries(&self) -> Vec<(String, Range<usize>)> {
        let Found::Value(list) = scan::field(&self.text, scan::root(&self.text), "plugins") else {
            return Vec::new();
        };
        let entries = scan::elements(&self.text, list).unwrap_or_default();
        let named = |entry: Range<usize>| match scan::field(&self.text, entry.clone(), "name") {
            Found::Value(name) => Some((self.text[name].trim_matches('"').to_owned(), entry)),
            _ => None,
        };
        entries.into_iter().filter_map(named).collect()
    }

    fn plugin_entry(&self, name: &str) -> Option<Range<usize>> {
        self.plugin_entries().into_iter().find(|(found, _)| found == name).map(|(_, entry)| entry)
    }

    fn unknown_first_word(&self, word: &str) -> String {
        let plugins = self.plugin_names();
        let known = super::sections::TOP_LEVEL.iter().copied().chain(plugins.iter().map(String::as_str));
        let mut message = format!("'{word}' is neither a section of the file nor a plugin it lists");
        if let Some(near) = super::report::nearest(word, known) {
            message.push_str(&format!("; did you mean '{near}'?"));
        }
        message
    }

    fn set_below(&mut self, value: Range<usize>, path: &[&str], text: &str, argument: &str) -> Result<(), String> {
        let Some((&word, rest)) = path.split_first() else {
            self.replace(value, text, argument);
            return Ok(());
        };
        if let Ok(index) = word.parse::<usize>() {
            let list = scan::elements(&self.text, value).ok_or_else(|| format!("'{word}' needs a list"))?;
            let entry = list.get(index).cloned();
            let entry = entry.ok_or_else(|| format!("the list has {} elements, no number {word}", list.len()))?;
            return self.set_below(entry, rest, text, argument);
        }
        match scan::field(&self.text, value, word) {
            Found::Value(next) => self.set_below(next, rest, text, argument),
            Found::Missing { insert_at } => {
                let mut new = text.to_owned();
                for inner in rest.iter().rev() {
                    new = format!("({inner}: {new})");
                }
                self.replace(insert_at..insert_at, &format!("{word}: {new}, "), argument);
                Ok(())
            }
            Found::NotNested => Err(format!("there is no '{word}' here: the value has no fields")),
        }
    }

    /// Replaces a stretch. Line breaks are kept in number, so that lines behind the edit keep theirs.
    fn replace(&mut self, range: Range<usize>, new: &str, argument: &str) {
        let lost = self.text[range.clone()].matches('\n').count();
        let new = format!("{}{}", new.replace('\n', " "), "\n".repeat(lost));
        let mut pieces = Vec::with_capacity(self.pieces.len() + 2);
        let mut start = 0;
        let mut placed = false;
        let fresh = Piece { len: new.len(), origin: Origin::Argument(argument.to_owned()) };
        for piece in &self.pieces {
            let end = start + piece.len;
            if start < range.start {
                pieces.push(Piece { len: end.min(range.start) - start, origin: piece.origin.clone() });
            }
            if !placed && end >= range.start {
                pieces.push(fresh.clone());
                placed = true;
            }
            if end > range.end {
                let from = start.max(range.end);
                let origin = match &piece.origin {
                    Origin::File(offset) => Origin::File(offset + (from - start)),
                    argument => argument.clone(),
                };
                pieces.push(Piece { len: end - from, origin });
            }
            start = end;
        }
        if !placed {
            pieces.push(fresh);
        }
        self.text.replace_range(range, &new);
        self.pieces = pieces;
    }
}

/// The RON text of a value typed on the command line: RON as it is, and anything that isn't RON as a string.
pub(crate) fn ron_of_argument(value: &str) -> String {
    let word = value.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') && !value.is_empty();
    let starts_as_word = value.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let keyword = matches!(value, "true" | "false" | "None" | "inf" | "NaN");
    let is_ron = ron::value::RawValue::from_ron(value).is_ok() && !value.trim().is_empty();
    if keyword || (is_ron && !(word && starts_as_word)) { value.to_owned() } else { quote(value) }
}

/// A RON string literal.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_and_added_and_keep_their_origin() {
        let text = "(\n server: (port: 1, dir: \"x\"),\n plugins: [(name: \"sentinel\", config: (monitors: [(quorum: 2)]))],\n)";
        let mut doc = Document::new(text.into());
        doc.set("server.port", "7000", "--port 7000").expect("replaced");
        doc.set("server.databases", "4", "--set server.databases=4").expect("added");
        doc.set("sentinel.monitors.0.quorum", "3", "--set q").expect("in a list");
        doc.set("log.level", "\"debug\"", "--set l").expect("a missing section is added");
        let out = doc.text();
        assert!(out.contains("(databases: 4, port: 7000, dir: \"x\")"), "{out}");
        assert!(out.contains("(quorum: 3)") && out.contains("(log: (level: \"debug\"), "), "{out}");
        let at = out.find("7000").expect("there");
        assert_eq!(doc.origin(at), Origin::Argument("--port 7000".into()));
        let dir = out.find("dir:").expect("there");
        assert_eq!(doc.origin(dir), Origin::File(text.find("dir:").expect("there")));
        assert_eq!(doc.plugin_names(), ["sentinel"]);
    }

    #[test]
    fn a_wrong_path_says_what_was_meant() {
        let mut doc = Document::new("(plugins: [(name: \"replication\")])".into());
        assert!(doc.set("sever.port", "1", "").expect_err("unknown").contains("did you mean 'server'?"));
        assert!(doc.set("replicaton.x", "1", "").expect_err("unknown").contains("did you mean 'replication'?"));
        assert!(doc.set("server..port", "1", "").is_err());
        doc.set("replication.priority", "5", "").expect("config is added");
        assert_eq!(doc.text(), "(plugins: [(config: (priority: 5), name: \"replication\")])");
    }

    #[test]
    fn bare_words_are_strings() {
        let cases = [
            ("debug", "\"debug\""),
            ("7000", "7000"),
            ("true", "true"),
            ("None", "None"),
            ("/tmp/x.sock", "\"/tmp/x.sock\""),
            ("127.0.0.1", "\"127.0.0.1\""),
            ("[\"a\"]", "[\"a\"]"),
            ("(\"h\", 1)", "(\"h\", 1)"),
            ("Some(1)", "Some(1)"),
            ("\"q\"", "\"q\""),
            ("", "\"\""),
            ("-1", "-1"),
        ];
        for (typed, ron) in cases {
            assert_eq!(ron_of_argument(typed), ron, "{typed}");
        }
    }
}
