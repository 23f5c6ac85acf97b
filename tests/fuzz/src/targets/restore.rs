//! RESTORE: payloads whose inside is changed and whose checksum is right. What is taken must be sound: every command of its
//! type works on it, and it can be told again.

use super::{Target, hold};
use crate::server::{Server, fresh};
use keystead_rdb::{dump_payload, parse_dump};

pub const TARGET: Target =
    Target { name: "restore", words: &["\u{0}", "\u{1}", "\u{1}\u{0}", "abc", "HYLL", "listpack"], run };

const QUESTIONS: &[&str] = &[
    "OBJECT ENCODING k",
    "LRANGE k 0 -1",
    "LPUSH k x",
    "LREM k 0 e1",
    "RPOP k",
    "SMEMBERS k",
    "SADD k new 1",
    "SPOP k",
    "HGETALL k",
    "HSET k f1 new",
    "HDEL k f0",
    "HRANDFIELD k -3",
    "HTTL k FIELDS 1 f1",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZADD k 7 m1",
    "ZRANGEBYLEX k - +",
    "ZPOPMAX k",
    "XRANGE k - +",
    "XADD k * a b",
    "XINFO STREAM k FULL",
    "XREADGROUP GROUP g c COUNT 3 STREAMS k >",
    "XPENDING k g - + 10",
    "XAUTOCLAIM k g d 0 0",
    "XTRIM k MAXLEN 1",
    "PFCOUNT k",
    "PFADD k a",
    "PFMERGE k k",
    "BITFIELD k GET u8 0",
    "INCR k",
    "APPEND k x",
    "SORT k BY nosort",
    "MEMORY USAGE k",
    "COPY k c",
    "DUMP k",
];

/// An input is a payload; only its type and inside are used.
fn run(input: &[u8]) -> Result<(), String> {
    fresh(|server| attempt(server, input))
}

fn attempt(server: &mut Server, input: &[u8]) -> Result<(), String> {
    let (kind, body) = match parse_dump(input) {
        Ok((kind, body)) => (kind, body),
        Err(_) if input.len() > 10 => (input[0], &input[1..input.len() - 10]),
        Err(_) => return Ok(()),
    };
    // Through the checksum as well.
    server.run(&[b"RESTORE", b"raw", b"0", input, b"REPLACE"]);
    let reply = server.run(&[b"RESTORE", b"k", b"0", &dump_payload(kind, body)]);
    if reply != b"+OK\r\n" {
        return hold(reply.starts_with(b"-"), || format!("RESTORE: {}", reply.escape_ascii()));
    }
    // What was taken is told again and taken again, as the same value.
    let told = server.run(&[b"DUMP", b"k"]);
    let start = told.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    let again = server.run(&[b"RESTORE", b"again", b"0", &told[start..told.len() - 2]]);
    hold(again == b"+OK\r\n", || format!("what was taken isn't taken again: {}", again.escape_ascii()))?;
    let same = server.run(&[b"DUMP", b"again"]) == told || kind == 0 || told.len() > 256;
    let (one, other) = (server.run(&[b"TYPE", b"k"]), server.run(&[b"TYPE", b"again"]));
    hold(same || one == other, || format!("{} became {}", one.escape_ascii(), other.escape_ascii()))?;
    for question in QUESTIONS {
        let words: Vec<&[u8]> = question.split(' ').map(str::as_bytes).collect();
        let reply = server.run(&words);
        hold(!reply.is_empty(), || format!("{question}: no reply"))?;
    }
    Ok(())
}
