//! The manifest of an append-only file's parts: which files, in which order, make the data. Owns the format (Redis 7's, byte
//! for byte) and the rules by which sets of parts follow each other. Never touches a file.

use std::fmt::{self, Write};

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The state at one moment.
    Base,
    /// What was written since.
    Incr,
    /// Replaced by a rewrite, to be deleted.
    History,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::Incr => 'i',
            Kind::History => 'h',
        }
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name inside the folder.
    pub name: String,
    /// Its number among those of its kind.
    pub seq: u64,
}

impl Part {
    /// True if its name says that it has what was written behind a base: a history file's type doesn't tell.
    pub fn is_incr(&self) -> bool {
        self.name.ends_with(".incr.aof")
    }
}

/// All parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Loaded first.
    pub base: Option<Part>,
    /// Loaded behind it, in order.
    pub incr: Vec<Part>,
    /// To be deleted.
    pub history: Vec<Part>,
    last_base: u64,
    last_incr: u64,
}

/// Why a text is no manifest, in Redis' words where Redis refuses it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// From 1; 0 if no line is to blame.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

/// Longer lines are refused.
const MAX_LINE: usize = 1024;
const FORMAT: &str = "Invalid AOF manifest file format";
const NO_REWRITE: &str = "A file is called history, but no rewrite leaves it like that: its type may be damaged";

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, Invalid> {
        let mut manifest = Manifest::default();
        let mut rest = text;
        let mut line = 0;
        // Where the first history file stands, and the first whose base doesn't follow.
        let (mut history, mut alone) = (None, None);
        while !rest.is_empty() {
            line += 1;
            let end = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
            let end = end.ok_or(Invalid { line, what: "The AOF manifest file contains too long line" })?;
            let content = &rest[..end];
            rest = &rest[end + 1..];
            if !content.starts_with(b"#") {
                let (part, kind) = part(content).map_err(|what| Invalid { line, what })?;
                if kind == Kind::History {
                    history = history.or(Some(line));
                    alone = if part.is_incr() { alone.or(Some(line)) } else { None };
                }
                manifest.add(part, kind).map_err(|what| Invalid { line, what })?;
            }
        }
        // Lines have no checksum, and one bit makes `i` an `h`: the file would be passed over, then deleted. A rewrite puts the
        // base that it replaces behind the incr files that go with it (Redis does so too), and a new base takes its place.
        match alone.or(history.filter(|_| manifest.base.is_none())) {
            Some(line) => Err(Invalid { line, what: NO_REWRITE }),
            None if line == 0 => Err(Invalid { line, what: "Found an empty AOF manifest" }),
            None => manifest.settle_history(),
        }
    }

    /// Names of history aren't given again: whoever deletes it would delete what is written by then. Redis gives them again
    /// behind a rewrite that left no incr file, so one that is loaded isn't history whatever a line says.
    fn settle_history(mut self) -> Result<Manifest, Invalid> {
        let mut history = std::mem::take(&mut self.history);
        let loaded = |part: &Part| self.parts().any(|loaded| loaded.name == part.name);
        if history.iter().any(|part| !part.is_incr() && loaded(part)) {
            return Err(Invalid { line: 0, what: NO_REWRITE });
        }
        history.retain(|part| !loaded(part));
        for part in &history {
            let last = if part.is_incr() { &mut self.last_incr } else { &mut self.last_base };
            *last = part.seq.max(*last);
        }
        self.history = history;
        Ok(self)
    }

    fn add(&mut self, part: Part, kind: Kind) -> Result<(), &'static str> {
        match kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.last_base = part.seq;
                self.base = Some(part);
            }
            Kind::Incr if part.seq <= self.last_incr => return Err("Found a non-monotonic sequence number"),
            Kind::Incr => {
                self.last_incr = part.seq;
                self.incr.push(part);
            }
            Kind::History => self.history.push(part),
        }
        Ok(())
    }

    /// The text, as Redis writes it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let all = self.base.iter().map(|part| (part, Kind::Base));
        let all = all.chain(self.history.iter().map(|part| (part, Kind::History)));
        for (part, kind) in all.chain(self.incr.iter().map(|part| (part, Kind::Incr))) {
            // Writing into a String can't fail.
            let _ = writeln!(out, "file {} seq {} type {}", quoted(&part.name), part.seq, kind.letter());
        }
        out
    }

    /// True if there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incr.is_empty()
    }

    /// The files to load, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incr)
    }

    /// The name of the next base.
    pub fn next_base(&self, file: &str, rdb: bool) -> Part {
        let seq = self.last_base + 1;
        let format = if rdb { "rdb" } else { "aof" };
        Part { name: format!("{file}.{seq}.base.{format}"), seq }
    }

    /// The next file for what is written.
    pub fn next_incr(&self, file: &str) -> Part {
        let seq = self.last_incr + 1;
        Part { name: format!("{file}.{seq}.incr.aof"), seq }
    }

    /// What is written goes on in another file.
    pub fn push_incr(&mut self, part: Part) {
        self.last_incr = part.seq;
        self.incr.push(part);
    }

    /// A base and the last `kept` files of what is written replace everything else. Redis has the newest history first.
    pub fn rewritten(&mut self, base: Part, kept: usize) {
        let old = self.incr.len().saturating_sub(kept);
        let before = std::mem::take(&mut self.history);
        self.history = self.incr.drain(..old).chain(self.base.take()).chain(before).collect();
        self.last_base = base.seq;
        self.base = Some(base);
    }

    /// The same set in another folder, in which `there` is now: under names that are free in both. What is there becomes
    /// history, as far as that can be written.
    pub fn taken_over(&self, there: &Manifest, file: &str) -> Manifest {
        let mut taken = Manifest::default();
        taken.skip_names_of(self);
        taken.skip_names_of(there);
        if let Some(base) = &self.base {
            let base = taken.next_base(file, base.name.ends_with(".rdb"));
            taken.last_base = base.seq;
            taken.base = Some(base);
        }
        for _ in &self.incr {
            taken.push_incr(taken.next_incr(file));
        }
        if taken.base.is_some() && there.base.is_some() {
            taken.history = there.incr.iter().chain(&there.base).chain(&there.history).cloned().collect();
        }
        taken
    }

    /// Names that another manifest gave away aren't given again.
    pub fn skip_names_of(&mut self, other: &Manifest) {
        self.last_base = self.last_base.max(other.last_base);
        self.last_incr = self.last_incr.max(other.last_incr);
    }

    /// The set of a single old file, moved into the folder as it is.
    pub fn of_old_file(file: &str) -> Manifest {
        let base = Part { name: file.to_owned(), seq: 1 };
        Manifest { base: Some(base), last_base: 1, ..Manifest::default() }
    }
}

/// One line.
fn part(line: &[u8]) -> Result<(Part, Kind), &'static str> {
    let words = words(line).filter(|words| words.len() >= 6 && words.len().is_multiple_of(2)).ok_or(FORMAT)?;
    let (mut name, mut seq, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let (key, value) = (pair[0].to_ascii_lowercase(), &pair[1]);
        match key.as_str() {
            "file" if value.contains('\0') => return Err(FORMAT),
            "file" if value.contains(['/', '\\']) || value.is_empty() => {
                return Err("File can't be a path, just a filename");
            }
            "file" => name = Some(value.clone()),
            "seq" => seq = value.parse().ok().filter(|seq| *seq > 0 && *seq < u64::MAX),
            "type" => {
                kind = Some(match value.chars().next() {
                    Some('b') => Kind::Base,
                    Some('i') => Kind::Incr,
                    Some('h') => Kind::History,
                    _ => return Err("Unknown AOF file type"),
                });
            }
            _ => {}
        }
    }
    match (name, seq, kind) {
        (Some(name), Some(seq), Some(kind)) => Ok((Part { name, seq }, kind)),
        _ => Err(FORMAT),
    }
}

/// A name as it stands in the file: between quotes if it has to be.
fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'\'');
    if !name.is_empty() && name.bytes().all(plain) {
        return name.to_owned();
    }
    let mut out = String::from("\"");
    for byte in name.bytes() {
        let _ = match byte {
            b'\\' | b'"' => write!(out, "\\{}", char::from(byte)),
            b'\n' => write!(out, "\\n"),
            b'\r' => write!(out, "\\r"),
            b'\t' => write!(out, "\\t"),
            7 => write!(out, "\\a"),
            8 => write!(out, "\\b"),
            b' '..=b'~' => write!(out, "{}", char::from(byte)),
            other => write!(out, "\\x{other:02x}"),
        };
    }
    out.push('"');
    out
}

/// The words of a line, quoted ones unescaped; None if quotes don't fit or a word is no text.
fn words(line: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    if line.contains(&0) {
        return None;
    }
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let (word, behind) = match rest[0] {
            b'"' => unquoted(&rest[1..])?,
            b'\'' => single_unquoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        words.push(String::from_utf8(word).ok()?);
        if behind.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return None;
        }
        rest = behind.trim_ascii_start();
    }
    Some(words)
}

/// What stands between here and the closing quote, and what follows it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some((word, &text[at + 1..])),
            b'\\' => {
                let (byte, len) = unescaped(&text[at + 1..])?;
                word.push(byte);
                at += 1 + len;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// The same between single quotes, where nothing but such a quote is escaped.
fn single_unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let (byte, behind) = match rest {
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [b'\'', behind @ ..] => return Some((word, behind)),
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        word.push(byte);
        rest = behind;
    }
}

/// The byte that an escape stands for, and how long it is.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    match (text.first()?, text.get(1).and_then(hex), text.get(2).and_then(hex)) {
        (b'x', Some(high), Some(low)) => Some(((high * 16 + low) as u8, 3)),
        (b'n', ..) => Some((b'\n', 1)),
        (b'r', ..) => Some((b'\r', 1)),
        (b't', ..) => Some((b'\t', 1)),
        (b'a', ..) => Some((7, 1)),
        (b'b', ..) => Some((8, 1)),
        (other, ..) => Some((*other, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OF_REDIS: &str = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
                            file appendonly.aof.1.base.rdb seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n";

    #[test]
    fn what_redis_writes_is_read_and_written_back() {
        let manifest = Manifest::parse(OF_REDIS.as_bytes()).expect("a manifest");
        assert_eq!(manifest.text(), OF_REDIS);
        assert_eq!(manifest.parts().map(|part| part.seq).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(manifest.next_base("appendonly.aof", true).name, "appendonly.aof.3.base.rdb");
        assert_eq!(manifest.next_incr("appendonly.aof").name, "appendonly.aof.3.incr.aof");
    }

    #[test]
    fn what_is_wrong_is_said_in_redis_words() {
        let cases: &[(&str, usize, &str)] = &[
            ("", 0, "Found an empty AOF manifest"),
            ("\n", 1, FORMAT),
            ("file a seq 1", 1, "The AOF manifest file contains too long line"),
            ("file a seq 1 type b\nfile b seq 2 type b\n", 2, "Found duplicate base file information"),
            ("file a seq 2 type i\nfile b seq 2 type i\n", 2, "Found a non-monotonic sequence number"),
            ("file a/b seq 1 type b\n", 1, "File can't be a path, just a filename"),
            ("file a seq 1 type x\n", 1, "Unknown AOF file type"),
            ("file a seq x type b\n", 1, FORMAT),
            ("file \"a seq 1 type b\n", 1, FORMAT),
            ("file a seq 1 type b more\n", 1, FORMAT),
            ("file 'a seq 1 type b\n", 1, FORMAT),
            ("file 'a'b seq 1 type b\n", 1, FORMAT),
            ("file a\0 seq 1 type b\n", 1, FORMAT),
            ("file a seq 1 type b \0 x\n", 1, FORMAT),
            ("file \"a\\x00\" seq 1 type b\n", 1, FORMAT),
        ];
        for (text, line, what) in cases {
            assert_eq!(Manifest::parse(text.as_bytes()), Err(Invalid { line: *line, what }), "{text:?}");
        }
        assert!(Manifest::parse(b"# a comment\nFILE a SEQ 1 TYPE b\n").is_ok());
    }

    #[test]
    fn names_stand_between_quotes_of_either_kind() {
        let name = |text: &str| {
            let manifest = Manifest::parse(format!("file {text} seq 1 type b\n").as_bytes()).expect(text);
            manifest.base.expect("a base").name
        };
        for (text, want) in [
            ("'b.aof'", "b.aof"),
            ("'two words'", "two words"),
            (r"'it\'s'", "it's"),
            (r#"'a"b'"#, r#"a"b"#),
            (r#""it's""#, "it's"),
            (r#""a\x41\"""#, r#"aA""#),
            ("it's", "it's"),
        ] {
            assert_eq!(name(text), want, "{text}");
        }
        assert_eq!(Manifest::of_old_file("it's").text(), "file \"it's\" seq 1 type b\n");
    }

    #[test]
    fn a_live_file_that_is_called_history_is_missed() {
        let live = |base: &str, incr: &[u64]| {
            let incr: String = incr.iter().map(|seq| format!("file f.{seq}.incr.aof seq {seq} type i\n")).collect();
            format!("{base}{incr}")
        };
        // As redis-server 7.0 writes them: of one set, in the middle of a rewrite, with `aof-disable-auto-gc`, with a base of a
        // Redis before 7, and with the append-only file switched off.
        let two = "file f.2.base.rdb seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.1.base.rdb seq 1 type h\n";
        let three = "file f.3.base.rdb seq 3 type b\nfile f.2.base.rdb seq 2 type h\nfile f.1.incr.aof seq 1 type h\n\
                     file f.1.base.rdb seq 1 type h\n";
        let old = "file f.2.base.rdb seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f seq 1 type h\n";
        for text in [
            live("file f.1.base.rdb seq 1 type b\n", &[1, 2, 3]),
            live(two, &[2, 3]),
            live(three, &[2]),
            live(old, &[2]),
        ] {
            assert!(Manifest::parse(text.as_bytes()).is_ok(), "{text}");
            for (at, _) in text.match_indices("type i") {
                let mut bad = text.clone();
                bad.replace_range(at..at + 6, "type h");
                let line = text[..at].lines().count();
                assert_eq!(Manifest::parse(bad.as_bytes()), Err(Invalid { line, what: NO_REWRITE }), "{bad}");
            }
        }
        for text in [two, three, old] {
            assert!(Manifest::parse(text.as_bytes()).is_ok(), "{text}");
        }
        let no_base = two.replace("type b", "type h");
        assert_eq!(Manifest::parse(no_base.as_bytes()), Err(Invalid { line: 1, what: NO_REWRITE }));
    }

    #[test]
    fn a_rewrite_makes_history() {
        let mut manifest = Manifest::default();
        manifest.rewritten(manifest.next_base("f", true), 0);
        for _ in 0..3 {
            manifest.push_incr(manifest.next_incr("f"));
        }
        manifest.rewritten(manifest.next_base("f", false), 1);
        let want = "file f.2.base.aof seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.2.incr.aof seq 2 type h\n\
                    file f.1.base.rdb seq 1 type h\nfile f.3.incr.aof seq 3 type i\n";
        assert_eq!(manifest.text(), want);
        assert_eq!(Manifest::of_old_file("f").text(), "file f seq 1 type b\n");
    }

    #[test]
    fn a_set_that_is_taken_over_has_names_free_in_both_folders() {
        let set = |base, incr: &[u64]| {
            let lines = incr.iter().map(|seq| format!("file a.aof.{seq}.incr.aof seq {seq} type i\n"));
            let text = format!("file a.aof.{base}.base.rdb seq {base} type b\n") + &lines.collect::<String>();
            Manifest::parse(text.as_bytes()).expect("a manifest")
        };
        let taken = set(3, &[5, 6]).taken_over(&set(9, &[2]), "a.aof");
        let want = "file a.aof.10.base.rdb seq 10 type b\nfile a.aof.2.incr.aof seq 2 type h\n\
                    file a.aof.9.base.rdb seq 9 type h\nfile a.aof.7.incr.aof seq 7 type i\n\
                    file a.aof.8.incr.aof seq 8 type i\n";
        assert_eq!(taken.text(), want);
        assert_eq!(Manifest::parse(want.as_bytes()).map(|read| read.text()).as_deref(), Ok(want));
        let alone = set(3, &[5]).taken_over(&Manifest::default(), "a.aof");
        assert_eq!(alone.text(), set(4, &[6]).text());
    }

    /// A rewrite while the file is switched off leaves no incr file, and its history may stay (a crash, `aof-disable-auto-gc`).
    #[test]
    fn a_new_file_never_has_the_name_of_one_that_is_to_be_deleted() {
        let off = "file f.2.base.rdb seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.1.base.rdb seq 1 type h\n";
        let mut manifest = Manifest::parse(off.as_bytes()).expect("a manifest");
        assert_eq!(manifest.next_incr("f").name, "f.2.incr.aof");
        assert_eq!(Manifest::default().taken_over(&manifest, "f").next_incr("f").name, "f.2.incr.aof");
        manifest.push_incr(manifest.next_incr("f"));
        assert_eq!(Manifest::parse(manifest.text().as_bytes()), Ok(manifest));
        let bases = "file f.2.base.rdb seq 2 type b\nfile f.7.base.rdb seq 7 type h\n";
        assert_eq!(Manifest::parse(bases.as_bytes()).expect("a manifest").next_base("f", true).name, "f.8.base.rdb");
    }

    /// Who wrote it gave a name twice: what is loaded stays.
    #[test]
    fn what_is_loaded_is_no_history() {
        let twice = "file f.2.base.rdb seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.1.base.rdb seq 1 type h\n\
                     file f.1.incr.aof seq 1 type i\n";
        let manifest = Manifest::parse(twice.as_bytes()).expect("a manifest");
        assert_eq!(manifest.history, [Part { name: "f.1.base.rdb".to_owned(), seq: 1 }]);
        assert_eq!(manifest.parts().count(), 2);
        let base = "file f.2.base.rdb seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.2.base.rdb seq 1 type h\n";
        assert_eq!(Manifest::parse(base.as_bytes()), Err(Invalid { line: 0, what: NO_REWRITE }));
    }

    proptest! {
        #[test]
        fn any_name_survives(name in "[^/\\\\\u{0}]{1,40}") {
            let mut manifest = Manifest::of_old_file(&name);
            manifest.push_incr(manifest.next_incr(&name));
            prop_assert_eq!(Manifest::parse(manifest.text().as_bytes()), Ok(manifest));
        }

        #[test]
        fn any_bytes_are_a_manifest_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..170usize) {
            let _ = Manifest::parse(&bytes);
            let mut near = OF_REDIS.as_bytes().to_vec();
            near.splice(at..at, bytes.into_iter().take(3));
            if let Ok(manifest) = Manifest::parse(&near) {
                prop_assert_eq!(Manifest::parse(manifest.text().as_bytes()).is_ok(), !manifest.text().is_empty());
            }
        }
    }
}
