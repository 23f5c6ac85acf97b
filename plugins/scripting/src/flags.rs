//! The first line of a script or library: `#!lua name=lib flags=no-writes,allow-oom`. Pure.

use keystead_plugin::Flags as CommandFlags;
use keystead_resp::OwnedArgs;

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

    /// The flags of the command that runs it, in place of what the row says for any script (Redis'
    /// `scriptFlagsToCmdFlags`). `READONLY` besides, which is to say that it may read: then its reply may have to wait for a
    /// disk.
    pub fn of_command(self, row: CommandFlags) -> CommandFlags {
        use CommandFlags as C;
        if self.compat {
            return row | C::READONLY;
        }
        let mut flags = row.without(C::WRITE | C::DENYOOM | C::STALE_OK | C::MAY_REPLICATE);
        flags = flags | if self.no_writes { C::READONLY } else { C::WRITE };
        if !self.no_writes && !self.allow_oom {
            flags = flags | C::DENYOOM;
        }
        if self.allow_stale {
            flags = flags | C::STALE_OK;
        }
        flags
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
pub fn script(body: &[u8]) -> Result<(Flags, &[u8]), Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Ok((Flags { compat: true, ..Flags::default() }, body));
    }
    let (line, rest) = first_line(body).ok_or(b"ERR Invalid script shebang")?;
    let words = words(line).ok_or(b"ERR Invalid engine in script shebang")?;
    let mut words = words.view().iter();
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return Err([b"ERR Unexpected engine in script shebang: ", engine].concat());
    }
    let mut flags = Flags::default();
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err([b"ERR Unknown lua shebang option: ", word].concat());
        };
        let wrong = list.split(|byte| *byte == b',').filter(|_| !list.is_empty()).find(|name| !flags.set(name));
        if let Some(name) = wrong {
            return Err([&b"ERR Unexpected flag in script shebang: "[..], name].concat());
        }
    }
    Ok((flags, rest))
}

/// The first line, and the rest with the line's end. None if no line ends before a zero byte.
pub fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | 0)).filter(|end| text[*end] == b'\n')?;
    Some(text.split_at(end))
}

/// The words of a first line, quoted as those of an inline command; none if quotes are left open.
pub fn words(line: &[u8]) -> Option<OwnedArgs> {
    keystead_resp::split_args(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_does_is_said_of_its_command() {
        use CommandFlags as C;
        let row = C::STALE_OK | C::MAY_REPLICATE | C::NO_SCRIPT;
        let of = |text: &[u8]| script(text).unwrap().0.of_command(row).0;
        assert_eq!(of(b"return 1"), (row | C::READONLY).0);
        assert_eq!(of(b"#!lua\n"), (C::NO_SCRIPT | C::WRITE | C::DENYOOM).0);
        assert_eq!(of(b"#!lua flags=no-writes\n"), (C::NO_SCRIPT | C::READONLY).0);
        assert_eq!(of(b"#!lua flags=no-writes,allow-stale\n"), (C::NO_SCRIPT | C::READONLY | C::STALE_OK).0);
    }

    #[test]
    fn first_lines() {
        let (flags, rest) = script(b"return 1").unwrap();
        assert!(flags.compat && rest == b"return 1");
        let (flags, rest) = script(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert_eq!(flags.names(), ["no-writes", "allow-oom"]);
        assert_eq!(rest, b"\nreturn 1");
        let (flags, rest) = script(b"#!lua \"flags=no-writes\" 'flags=allow-oom' flags=\nreturn 1").unwrap();
        assert_eq!(flags.names(), ["no-writes", "allow-oom"]);
        assert_eq!(rest, b"\nreturn 1");
        let refused: [(&[u8], &[u8]); 9] = [
            (b"#!lua", b"ERR Invalid script shebang"),
            (b"#!lua\0\n", b"ERR Invalid script shebang"),
            (b"#!lua \"flags=\n", b"ERR Invalid engine in script shebang"),
            (b"#!bad\n", b"ERR Unexpected engine in script shebang: #!bad"),
            (b"#!\xff\n", b"ERR Unexpected engine in script shebang: #!\xff"),
            (b"#!lua what=1\n", b"ERR Unknown lua shebang option: what=1"),
            (b"#!lua flags=no-writes,bad\n", b"ERR Unexpected flag in script shebang: bad"),
            (b"#!lua flags=no-writes,\n", b"ERR Unexpected flag in script shebang: "),
            (b"#!lua flags=\xff\n", b"ERR Unexpected flag in script shebang: \xff"),
        ];
        for (text, wanted) in refused {
            assert_eq!(script(text).unwrap_err(), wanted);
        }
        assert!(!script(b"#!lua\n").unwrap().0.compat);
    }
}
