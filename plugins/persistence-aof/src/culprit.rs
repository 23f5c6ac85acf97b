//! Which command of a file an error speaks of. The core executes many at once and names the one that it can't; where that one
//! stands is looked up only then, for the start is refused. Pure.

use keystead_resp::{Args, Decoded, Decoder, Limits};

/// The core shows no more of a command's name.
const SHOWN: usize = 128;

/// The name that an error speaks of: what stands between its first quotes.
pub fn named(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once('\'')?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// Where in a part of a file that begins with a whole unit the first command of this name begins.
pub fn find(part: &[u8], name: &str) -> Option<usize> {
    let limits = Limits { max_bulk: u64::MAX, ..Limits::default() };
    let mut at = 0;
    while let Some(first) = part.get(at) {
        if *first == b'#' {
            at += part[at..].iter().position(|byte| *byte == b'\n')? + 1;
            continue;
        }
        let Ok(Decoded::Command { consumed, args, .. }) = Decoder::new().decode(&part[at..], &limits) else {
            return None;
        };
        if is_named(Args::new(&part[at..], &args), name) {
            return Some(at);
        }
        at += consumed;
    }
    None
}

/// By its word, its subcommand's (`unknown subcommand 'b'`), or both (`a|b`).
fn is_named(args: Args<'_>, name: &str) -> bool {
    let word = |index| args.get(index).map(|word| String::from_utf8_lossy(&word[..word.len().min(SHOWN)]).into_owned());
    let (Some(command), sub) = (word(0), word(1).unwrap_or_default()) else { return false };
    [&command, &sub, &format!("{command}|{sub}")].iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_behind_others_and_annotations() {
        let select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".as_slice();
        let time = b"#TS:1\r\n".as_slice();
        for (command, error) in [
            (
                b"*2\r\n$3\r\nbla\r\n$3\r\nfoo\r\n".as_slice(),
                "ERR unknown command 'bla', with args beginning with: 'foo' ",
            ),
            (b"*1\r\n$3\r\nset\r\n", "ERR wrong number of arguments for 'set' command"),
            (b"*2\r\n$6\r\nSCRIPT\r\n$3\r\nbla\r\n", "ERR unknown subcommand 'bla'. Try SCRIPT HELP."),
            (b"*2\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n", "ERR wrong number of arguments for 'script|load' command"),
        ] {
            let file = [time, select, command, time, select].concat();
            let name = named(error).expect("a name");
            assert_eq!(find(&file, name), Some(time.len() + select.len()), "{error}");
            assert_eq!(find(select, name), None);
        }
        assert_eq!(named("ERR syntax error"), None);
        assert_eq!(find(b"no commands", "no"), None);
    }
}
