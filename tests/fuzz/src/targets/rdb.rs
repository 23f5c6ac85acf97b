//! RDB files: in pieces the same comes out as from the whole, and every record given out can be loaded or is refused.

use super::{Target, hold, pieces};
use keystead_engine::keyspace::Loaded;
use keystead_rdb::{Event, FileParser, ParserLimits, records};

pub const TARGET: Target = Target {
    name: "rdb",
    words: &["REDIS0010", "REDIS0012", "\u{0}", "redis-ver", "7.0.15", "repl-id", "aof-base"],
    run,
};

/// Before what ends it.
const ERROR: &str = "ERROR ";
/// Before a record that can't be read.
const REFUSED: &str = "REFUSED ";

fn run(input: &[u8]) -> Result<(), String> {
    let mut functions = Vec::new();
    let mut whole = events([input].into_iter(), &mut functions);
    let mut parts = events(pieces(input), &mut Vec::new());
    // Records before the damage come out or not, by how the pieces fell.
    if whole.last().is_some_and(|last| last.starts_with(ERROR)) {
        (whole, parts) = (whole.split_off(whole.len() - 1), parts.split_off(parts.len().saturating_sub(1)));
    }
    // How much of a batch stands behind a record that is refused depends on the pieces too; its load ends there.
    for found in [&mut whole, &mut parts] {
        let end = found.iter().position(|line| line.starts_with(REFUSED)).map_or(found.len(), |at| at + 1);
        found.truncate(end);
    }
    hold(whole == parts, || format!("whole {whole:?}, in pieces {parts:?}"))
}

/// What the file says, records one by one, and the error that ended it.
fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>, functions: &mut Vec<Vec<u8>>) -> Vec<String> {
    let limits = ParserLimits { verify_checksum: false, ..ParserLimits::default() };
    let (mut parser, mut found) = (FileParser::new(limits), Vec::new());
    for piece in pieces {
        parser.feed(piece);
        loop {
            match parser.next_event() {
                Err(error) => {
                    found.push(format!("{ERROR}{error}"));
                    return found;
                }
                Ok(None) => break,
                Ok(Some(Event::Batch { db, bytes, .. })) => {
                    for record in records(bytes) {
                        found.push(match record {
                            Err(error) => format!("{REFUSED}db {db}: {error}"),
                            Ok(record) => match Loaded::decode(Default::default(), &record) {
                                Ok(loaded) => {
                                    format!("db {db}: {} until {:?}", loaded.key().escape_ascii(), loaded.deadline())
                                }
                                Err(error) => format!("db {db}: {}: {error}", record.key.escape_ascii()),
                            },
                        });
                    }
                }
                Ok(Some(Event::Function(code))) => functions.push(code),
                Ok(Some(event)) => found.push(format!("{event:?}")),
            }
        }
    }
    if let Err(error) = parser.finish() {
        found.push(format!("{ERROR}{error}"));
    }
    found
}
