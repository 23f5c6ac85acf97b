//! MONITOR: shows every command to those who asked. Owns the line's format.

use keystead_resp::{Args, OwnedArgs};

use crate::args::ArgsExt;
use crate::config::Config;
use crate::core::Core;
use crate::registry::Command;
use crate::session::{Session, State};
use crate::spec::{ADMIN, Group, SKIP_MONITOR};

/// Shows a command that is about to run, if it is one that stands in front of those it calls: a script.
pub(crate) fn before(core: &mut Core, state: &State, command: &Command, args: Args<'_>) {
    if calls_others(command) {
        feed(core, state, &state.info.addr, command, args);
    }
}

/// Shows a command that has run, whatever came of it, in the database in which that left the client.
pub(crate) fn after(core: &mut Core, state: &State, command: &Command, args: Args<'_>) {
    after_from(core, state, &state.info.addr, command, args);
}

/// The same for a script's command.
pub(crate) fn after_in_script(core: &mut Core, state: &State, command: &Command, args: Args<'_>) {
    after_from(core, state, "lua", command, args);
}

fn after_from(core: &mut Core, state: &State, from: &str, command: &Command, args: Args<'_>) {
    if !command.flags.any(ADMIN | SKIP_MONITOR) {
        feed(core, state, from, command, args);
    }
}

/// Scripts are told of in front, and so not behind.
fn calls_others(command: &Command) -> bool {
    command.group == Group::Scripting && command.flags.has(SKIP_MONITOR)
}

fn feed(core: &mut Core, state: &State, from: &str, command: &Command, args: Args<'_>) {
    if core.sessions.monitors.is_empty() {
        return;
    }
    let hidden = redact(&core.config, command, args);
    let args = hidden.as_ref().map_or(args, OwnedArgs::view);
    let line = line(core.wall_us(), state.db, from, args);
    for id in core.sessions.monitors.clone() {
        if id == state.id {
            core.sessions.own_lines.push((id, line.clone()));
        } else {
            core.deliver(id, |reply| reply.raw(&line));
        }
    }
}

/// Who watches sees its own commands too, behind the whole reply of each.
pub(crate) fn tell_own(core: &mut Core, session: &mut Session, wanted: bool) {
    let Session { out, state } = session;
    for (_, line) in core.sessions.own_lines.extract_if(.., |(id, _)| *id == state.id) {
        if wanted && !state.close_after_reply {
            out.extend_from_slice(&line);
        }
    }
}

/// The arguments with their secrets blotted out, where there are any: nobody may see a password in MONITOR or SLOWLOG.
pub(crate) fn redact(config: &Config, command: &Command, args: Args<'_>) -> Option<OwnedArgs> {
    let value_of_secret = |at: usize| args.get(at - 1).is_some_and(|name| is_secret(config, name));
    let secret = |at: usize| match command.full_name.as_str() {
        "auth" => at >= 1,
        "acl|setuser" => at >= 2,
        "hello" => at >= 2 && (args.is(at - 1, "auth") || at >= 3 && args.is(at - 2, "auth")),
        "migrate" => {
            let behind = |words: usize, name: &str| at >= 6 + words && args.is(at - words, name);
            behind(1, "auth") || behind(1, "auth2") || behind(2, "auth2")
        }
        "config|set" => at >= 3 && at % 2 == 1 && value_of_secret(at),
        // SENTINEL CONFIG SET and SENTINEL SET, which has options of one word and of two.
        "sentinel|config" | "sentinel|set" => at >= 4 && value_of_secret(at),
        _ => false,
    };
    (0..args.len())
        .any(secret)
        .then(|| args.iter().enumerate().map(|(at, arg)| if secret(at) { &b"(redacted)"[..] } else { arg }).collect())
}

/// Whether the value of a parameter, or of a sentinel's option, is a secret.
fn is_secret(config: &Config, name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    SECRETS.contains(&name.as_str()) || name.ends_with("-pass") || config.is_plugins_secret(&name)
}

/// Beside what ends in `-pass` (`tls-key-file-pass`, `sentinel-pass`, `auth-pass`) and what plugins call so.
const SECRETS: [&str; 7] =
    ["requirepass", "masterauth", "masteruser", "primaryauth", "primaryuser", "hello-key", "hello-key-old"];

fn line(now_us: u64, db: usize, addr: &str, args: Args<'_>) -> Vec<u8> {
    let mut line = format!("+{}.{:06} [{db} {addr}]", now_us / 1_000_000, now_us % 1_000_000).into_bytes();
    for arg in args.iter() {
        line.push(b' ');
        quote(arg, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Quotes bytes as redis-cli shows them.
pub(crate) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_redis() {
        let args: keystead_resp::OwnedArgs = [&b"set"[..], b"k\n", b"\x01\"\\"].iter().collect();
        let line = line(1_700_000_000_123_456, 3, "127.0.0.1:5", args.view());
        assert_eq!(
            String::from_utf8(line).expect("ascii"),
            "+1700000000.123456 [3 127.0.0.1:5] \"set\" \"k\\n\" \"\\x01\\\"\\\\\"\r\n"
        );
    }
}
