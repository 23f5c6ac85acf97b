//! A command's page: what COMMAND DOCS tells beyond its row. Owns the notation in which the core's commands
//! (`commands/pages`) and plugins write pages. Never: the reply's form (`commands/command_docs`), nor how a command reads
//! its arguments: a page only tells of it, and the tests hold it against the arity.
//!
//! A page is lines, in any order, each at most once but for the notes:
//!
//! ```text
//! ~ O(1)                                           how its time grows
//! key value [condition<NX|XX>@2.6.12] [GET@6.2.0]  its arguments
//! 7.0.0 `NX` and `GET` may stand together.         a note: since when it does something else
//! deprecated 6.2.0 `SET` with the `GET` argument   since when what takes its place
//! internal                                         of servers among themselves
//! ```
//!
//! An argument is `name:type` (`int`, `float`, `key`, `pattern`, `time`, `string`; without one a string, but for `key` and
//! `pattern`), a word in capitals, `WORD(argument)`, `name<one|of|these>` or `name{all of these}`; the last two may begin
//! with a word in capitals as well. `name=WORD` names a word otherwise than itself, `name:type/shown` shows it otherwise,
//! `#1` says that it is of the second key specification. Behind it: `...` several, `...+` several, its word each time,
//! `@6.2.0` since when, `!2.8.12` until when. `[x]` may be left out.

use std::fmt;

/// Deeper than any command's; a plugin's text shall not use up the stack.
const MAX_DEPTH: usize = 16;

/// What a page says. The texts are the page's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// How its time grows.
    pub complexity: Option<&'a str>,
    /// Its arguments in their order.
    pub arguments: Vec<Argument<'a>>,
    /// Version and what came with it; not those that an argument tells itself.
    pub notes: Vec<(&'a str, &'a str)>,
    /// Since which version something else is to be used, and what.
    pub deprecated: Option<(&'a str, &'a str)>,
    /// For servers among themselves.
    pub internal: bool,
}

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub struct Argument<'a> {
    /// Its name; of a word in capitals that word in lower case.
    pub name: String,
    /// What it is.
    pub kind: Kind<'a>,
    /// What is shown instead of its name.
    pub shown: Option<&'a str>,
    /// Which of the command's key specifications finds it.
    pub key_spec: Option<u8>,
    /// The word in front of it, or that it is.
    pub token: Option<&'a str>,
    /// The version that brought it.
    pub since: Option<&'a str>,
    /// The version since which it is not to be used.
    pub deprecated: Option<&'a str>,
    /// May be left out.
    pub optional: bool,
    /// May be there several times.
    pub multiple: bool,
    /// If so, with its word each time.
    pub multiple_token: bool,
}

/// What an argument is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A key.
    Key,
    /// A glob.
    Pattern,
    /// A point in time as a number.
    UnixTime,
    /// The word itself.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument<'a>>),
    /// All of these.
    Block(Vec<Argument<'a>>),
}

impl<'a> Kind<'a> {
    /// The name COMMAND DOCS has for it (<https://redis.io/docs/reference/command-arguments/>).
    pub fn name(&self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    /// What it is made of.
    pub fn parts(&self) -> &[Argument<'a>] {
        match self {
            Kind::OneOf(parts) | Kind::Block(parts) => parts,
            _ => &[],
        }
    }
}

/// Why a text is no page.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPage {
    what: &'static str,
    line: String,
    column: usize,
}

impl fmt::Display for BadPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {} of '{}'", self.what, self.column + 1, self.line)
    }
}

impl<'a> Page<'a> {
    /// Reads a page. An empty text is an empty page.
    pub fn read(text: &'a str) -> Result<Page<'a>, BadPage> {
        let mut page = Page::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            page.line(line).map_err(|(what, column)| BadPage { what, line: line.to_owned(), column })?;
        }
        Ok(page)
    }

    fn line(&mut self, line: &'a str) -> Result<(), (&'static str, usize)> {
        let twice = ("said twice", 0);
        let in_two = |text: &'a str| text.split_once(' ').ok_or(("a version and a text are needed", 0));
        if let Some(complexity) = line.strip_prefix("~ ") {
            return self.complexity.replace(complexity).map_or(Ok(()), |_| Err(twice));
        }
        if let Some(rest) = line.strip_prefix("deprecated ") {
            return self.deprecated.replace(in_two(rest)?).map_or(Ok(()), |_| Err(twice));
        }
        if line == "internal" {
            self.internal = true;
            return Ok(());
        }
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            self.notes.push(in_two(line)?);
            return Ok(());
        }
        if !self.arguments.is_empty() {
            return Err(twice);
        }
        let mut reader = Reader { line, at: 0, depth: 0 };
        self.arguments = reader.sequence(None)?;
        Ok(())
    }
}

/// What ends a word.
const MARKS: &[u8] = b" []{}<>()|@!#.";

struct Reader<'a> {
    line: &'a str,
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, (&'static str, usize)>;

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = self.line[self.at..].starts_with(mark);
        self.at += if found { mark.len() } else { 0 };
        found
    }

    fn need(&mut self, mark: &str, what: &'static str) -> Read<()> {
        if self.take(mark) { Ok(()) } else { Err((what, self.at)) }
    }

    /// The text up to a mark, or to one of `also`.
    fn word(&mut self, also: &[u8]) -> Read<&'a str> {
        let rest = &self.line[self.at..];
        let end = rest.bytes().position(|byte| MARKS.contains(&byte) || also.contains(&byte)).unwrap_or(rest.len());
        if end == 0 {
            return Err(("a word is missing", self.at));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn version(&mut self) -> &'a str {
        let rest = &self.line[self.at..];
        let end = rest.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Arguments with spaces between them, to the mark or the line's end.
    fn sequence(&mut self, end: Option<&str>) -> Read<Vec<Argument<'a>>> {
        let mut all = Vec::new();
        loop {
            while self.take(" ") {}
            match end {
                Some(mark) if self.take(mark) => return Ok(all),
                None if self.peek().is_none() => return Ok(all),
                _ => all.push(self.item()?),
            }
        }
    }

    fn item(&mut self) -> Read<Argument<'a>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(("too deep", self.at));
        }
        let optional = self.take("[");
        let mut argument = self.argument()?;
        argument.optional = optional;
        if self.take("...") {
            argument.multiple = true;
            argument.multiple_token = self.take("+");
        }
        if self.take("@") {
            argument.since = Some(self.version());
        }
        if self.take("!") {
            argument.deprecated = Some(self.version());
        }
        if optional {
            self.need("]", "']' is missing")?;
        }
        self.depth -= 1;
        Ok(argument)
    }

    fn argument(&mut self) -> Read<Argument<'a>> {
        let first = self.word(b":/=")?;
        if self.take("=") {
            // `=` itself may be the word.
            let token = if self.take("=") { "=" } else { self.word(b"")? };
            return Ok(Argument::new(first, Kind::PureToken, Some(if token == "\"\"" { "" } else { token })));
        }
        let token = Some(first).filter(|word| !word.bytes().any(|byte| byte.is_ascii_lowercase()));
        let mut argument = match self.peek() {
            Some(b'<') => Argument::new(first, Kind::OneOf(self.choice()?), token),
            Some(b'{') => {
                self.at += 1;
                Argument::new(first, Kind::Block(self.sequence(Some("}"))?), token)
            }
            Some(b'(') if token.is_some() => {
                self.at += 1;
                let inner = self.item()?;
                self.need(")", "')' is missing")?;
                Argument { token, ..inner }
            }
            _ if token.is_some() => Argument::new(first, Kind::PureToken, token),
            _ => self.value(first)?,
        };
        if self.take("#") {
            argument.key_spec = if self.take("-") { None } else { Some(self.digit()?) };
        }
        Ok(argument)
    }

    fn digit(&mut self) -> Read<u8> {
        let digit = self.peek().filter(u8::is_ascii_digit).ok_or(("a digit is missing", self.at))?;
        self.at += 1;
        Ok(digit - b'0')
    }

    fn choice(&mut self) -> Read<Vec<Argument<'a>>> {
        self.at += 1;
        let mut all = vec![self.item()?];
        while self.take("|") {
            all.push(self.item()?);
        }
        self.need(">", "'>' is missing")?;
        Ok(all)
    }

    fn value(&mut self, name: &'a str) -> Read<Argument<'a>> {
        let at = self.at;
        let kind = if self.take(":") { self.word(b"/")? } else { name };
        let kind = match kind {
            "int" => Kind::Integer,
            "float" => Kind::Double,
            "key" => Kind::Key,
            "pattern" => Kind::Pattern,
            "time" => Kind::UnixTime,
            "string" => Kind::String,
            // No type: any name.
            _ if self.at == at => Kind::String,
            _ => return Err(("no such type", at + 1)),
        };
        // A name without a type that reads like one is a text all the same, but for `key` and `pattern`.
        let kind = if self.at == at && !matches!(kind, Kind::Key | Kind::Pattern) { Kind::String } else { kind };
        let key_spec = matches!(kind, Kind::Key).then_some(0);
        let shown = if self.take("/") { Some(self.word(b"")?) } else { None };
        Ok(Argument { key_spec, shown, ..Argument::new(name, kind, None) })
    }
}

impl<'a> Argument<'a> {
    fn new(name: &str, kind: Kind<'a>, token: Option<&'a str>) -> Argument<'a> {
        Argument {
            name: name.to_ascii_lowercase(),
            kind,
            shown: None,
            key_spec: None,
            token,
            since: None,
            deprecated: None,
            optional: false,
            multiple: false,
            multiple_token: false,
        }
    }

    /// The fewest words it takes, and the most if there is an end.
    pub fn words(&self) -> (usize, Option<usize>) {
        let own = usize::from(self.token.is_some());
        let parts = || self.kind.parts().iter().map(Argument::words);
        let (least, most) = match &self.kind {
            Kind::PureToken => (0, Some(0)),
            Kind::OneOf(_) => (parts().map(|p| p.0).min().unwrap_or(0), parts().map(|p| p.1).max().unwrap_or(None)),
            Kind::Block(_) => (parts().map(|p| p.0).sum(), parts().map(|p| p.1).sum()),
            _ => (1, Some(1)),
        };
        let open = self.multiple || self.kind.parts().iter().any(|part| part.words().1.is_none());
        (if self.optional { 0 } else { own + least }, most.filter(|_| !open).map(|most| own + most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_all_of_set() {
        let text =
            "~ O(1)\nkey value [condition<NX|XX>@2.6.12] [EX(seconds:int)@2.6.12]\n7.0.0 More.\ndeprecated 9.0.0 `X`";
        let page = Page::read(text).unwrap();
        assert_eq!(page.complexity, Some("O(1)"));
        assert_eq!((page.notes, page.deprecated), (vec![("7.0.0", "More.")], Some(("9.0.0", "`X`"))));
        let [key, value, condition, ex] = &page.arguments[..] else { panic!("{:?}", page.arguments) };
        assert_eq!((key.kind.name(), key.key_spec, value.kind.name()), ("key", Some(0), "string"));
        assert_eq!((condition.since, condition.optional, condition.kind.parts().len()), (Some("2.6.12"), true, 2));
        assert_eq!((ex.name.as_str(), ex.token, ex.kind.name()), ("seconds", Some("EX"), "integer"));
    }

    #[test]
    fn every_mark_is_read() {
        let text = r#"id<auto=*|empty=""|equal==|id> [GET(p:pattern/shown#1)...+] LIMIT{a:int [b:float]}... old/ip:port!2.8.12 k:key#-"#;
        let [id, get, limit, old, key] = &Page::read(text).unwrap().arguments[..] else { panic!() };
        let tokens: Vec<_> = id.kind.parts().iter().map(|part| part.token).collect();
        assert_eq!(tokens, [Some("*"), Some(""), Some("="), None]);
        assert_eq!((get.shown, get.key_spec, get.multiple, get.multiple_token), (Some("shown"), Some(1), true, true));
        assert_eq!((limit.words(), id.words()), ((2, None), (1, Some(1))));
        assert_eq!((old.shown, old.deprecated), (Some("ip:port"), Some("2.8.12")));
        assert_eq!((key.kind.name(), key.key_spec), ("key", None));
    }

    #[test]
    fn what_is_no_page_is_named_with_its_place() {
        let deep = "a{".repeat(100);
        for (text, what) in [
            ("key [value", "']' is missing at column 11"),
            ("key:integer", "no such type at column 5"),
            ("a<B|C", "'>' is missing"),
            ("A(b", "')' is missing"),
            ("a#x", "a digit is missing"),
            ("a ]", "a word is missing at column 3"),
            ("a\nb", "said twice"),
            ("7.0.0", "a version and a text are needed"),
            (deep.as_str(), "too deep"),
        ] {
            let error = Page::read(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
