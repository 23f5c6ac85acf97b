//! The first line of a script or library: `#!lua name=lib flags=no-writes,allow-oom`. Pure.

/// What a script says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// No first line: as scripts were before there were flags.
    pub compat: bool,
    /// `no-writes`
    pub no_writes: bool,
    /// `allow-oom`
    pub allow_oom: bool,
    /// `allow-stale`
    pub allow_stale: bool,
    /// `no-cluster`
    pub no_cluster: bool,
    /// `allow-cross-slot-keys`
    pub cross_slot: bool,
}

impl Flags {
    /// Sets a flag by its name; false if there is none of that name.
    pub fn set(&mut self, name: &[u8]) -> bool {
        match name {
            b"no-writes" => self.no_writes = true,
            b"allow-oom" => self.allow_oom = true,
            b"allow-stale" => self.allow_stale = true,
            b"no-cluster" => self.no_cluster = true,
            b"allow-cross-slot-keys" => self.cross_slot = true,
            _ => return false,
        }
        true
    }

    /// The names that are set, as FUNCTION LIST shows them.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.no_writes, "no-writes"),
            (self.allow_oom, "allow-oom"),
            (self.allow_stale, "allow-stale"),
            (self.no_cluster, "no-cluster"),
            (self.cross_slot, "allow-cross-slot-keys"),
        ];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }
}

/// An EVAL script taken apart: its flags, and the text behind the first line's words (the line end stays, so that line
/// numbers are the client's).
pub fn script(body: &[u8]) -> Result<(Flags, &[u8]), String> {
    if !body.starts_with(b"#!") {
        return Ok((Flags { compat: true, ..Flags::default() }, body));
    }
    let Some(end) = body.iter().position(|byte| *byte == b'\n') else {
        return Err("ERR Invalid script shebang".to_owned());
    };
    let mut words = words(&body[..end]);
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        let engine = String::from_utf8_lossy(engine);
        return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
    }
    let mut flags = Flags::default();
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            let word = String::from_utf8_lossy(word);
            return Err(format!("ERR Unknown lua shebang option: {word}"));
        };
        for name in list.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
            if !flags.set(name) {
                return Err(format!("ERR Unexpected flag in script shebang: {}", String::from_utf8_lossy(name)));
            }
        }
    }
    Ok((flags, &body[end..]))
}

/// Words between blanks.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let (flags, rest) = script(b"return 1").unwrap();
        assert!(flags.compat && rest == b"return 1");
        let (flags, rest) = script(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert_eq!(flags.names(), ["no-writes", "allow-oom"]);
        assert_eq!(rest, b"\nreturn 1");
        let refused = [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!bad\n", "ERR Unexpected engine in script shebang: #!bad"),
            ("#!lua what=1\n", "ERR Unknown lua shebang option: what=1"),
            ("#!lua flags=no-writes,bad\n", "ERR Unexpected flag in script shebang: bad"),
        ];
        for (text, wanted) in refused {
            assert_eq!(script(text.as_bytes()).unwrap_err(), wanted);
        }
        assert!(!script(b"#!lua\n").unwrap().0.compat);
    }
}
