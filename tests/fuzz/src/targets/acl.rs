//! ACL rules: what SETUSER takes, ACL LIST tells so that it can be taken again with the same meaning; so can an ACL file.

use super::{Target, hold};
use crate::server::{Server, fresh};

pub const TARGET: Target = Target {
    name: "acl",
    words: &[
        "on",
        "off",
        "nopass",
        "resetpass",
        "reset",
        "~*",
        "%R~",
        "%W~k",
        "%RW~",
        "allkeys",
        "resetkeys",
        "&*",
        "allchannels",
        "resetchannels",
        "+@all",
        "-@all",
        "+@read",
        "-@dangerous",
        "+get",
        "-set",
        "+config|get",
        "+select|0",
        "+get|x",
        "allcommands",
        "nocommands",
        ">pw",
        "<pw",
        "#",
        "!",
        "(",
        ")",
        "(+get ~k)",
        "clearselectors",
        "skip-sanitize-payload",
        "sanitize-payload",
        " ",
        "\t",
        "\"",
    ],
    run,
};

fn run(input: &[u8]) -> Result<(), String> {
    fresh(|server| attempt(server, input))
}

fn attempt(server: &mut Server, input: &[u8]) -> Result<(), String> {
    let words: Vec<&[u8]> = input.split(|byte| b" \n".contains(byte)).filter(|word| !word.is_empty()).collect();
    let reply = server.run(&[&[&b"ACL"[..], b"SETUSER", b"u"], &words[..]].concat());
    if reply == b"+OK\r\n" {
        let line = list(server, b"user u ");
        let mut rules: Vec<&[u8]> = Vec::new();
        // Parentheses hold blanks; everything else is a word.
        let mut depth = 0;
        let mut start = 0;
        for (at, byte) in line.iter().enumerate() {
            match byte {
                b'(' if at == start => depth = 1,
                b')' if line.get(at + 1).is_none_or(|next| *next == b' ') => depth = 0,
                b' ' if depth == 0 => {
                    rules.push(&line[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        rules.push(&line[start..]);
        let again = server.run(&[&[&b"ACL"[..], b"SETUSER", b"v", b"reset"], &rules[..]].concat());
        hold(again == b"+OK\r\n", || format!("{} isn't taken: {}", line.escape_ascii(), again.escape_ascii()))?;
        let other = list(server, b"user v ");
        hold(line == other, || format!("{} became {}", line.escape_ascii(), other.escape_ascii()))?;
        for command in ["GET k", "CONFIG GET x", "SUBSCRIBE c", "MSET a 1 b 2", "SORT k BY x*", "SELECT 3"] {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            server.run(&[&[&b"ACL"[..], b"DRYRUN", b"u"], &words[..]].concat());
        }
    } else {
        hold(reply.starts_with(b"-ERR"), || format!("SETUSER: {}", reply.escape_ascii()))?;
        hold(reply.iter().filter(|byte| **byte == b'\n').count() == 1, || "an error of several lines".to_owned())?;
    }
    // As a file: all of it or nothing.
    let before = server.run(&[b"ACL", b"LIST"]);
    if server.engine.load_users(input, "fuzz").is_err() {
        let after = server.run(&[b"ACL", b"LIST"]);
        hold(before == after, || "a file that was refused changed users".to_owned())?;
    }
    Ok(())
}

/// What ACL LIST says of a user.
fn list(server: &mut Server, head: &[u8]) -> Vec<u8> {
    let reply = server.run(&[b"ACL", b"LIST"]);
    // `*n`, then `$len`, line, …; a line may hold line ends of its own.
    let mut rest = &reply[reply.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1)..];
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let digits = std::str::from_utf8(&rest[1..end - 1]).unwrap_or("0");
        let len: usize = digits.parse().unwrap_or(0);
        let line = &rest[end + 1..end + 1 + len];
        if let Some(rules) = line.strip_prefix(head) {
            return rules.to_vec();
        }
        rest = &rest[end + 1 + len + 2..];
    }
    Vec::new()
}
