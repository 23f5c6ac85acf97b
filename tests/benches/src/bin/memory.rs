//! Bytes per key: a million keys of 16 bytes with values of 8 and 64 bytes, resident memory after less before.
//! Prints a Markdown table.

use keystead_benches::{
    peer::{Kind, Peer},
    table::{head, row},
};
use std::io;

const KEYS: u64 = 1_000_000;

fn main() -> io::Result<()> {
    println!("{}", head(&["value bytes", "redis-server, bytes per key", "keystead, bytes per key"]));
    for size in [8, 64] {
        let mut cells = vec![size.to_string()];
        for kind in [Kind::Redis, Kind::Keystead] {
            let peer = Peer::start(kind, None, &[])?;
            let before = peer.resident();
            peer.fill(KEYS, size)?;
            cells.push((peer.resident().saturating_sub(before) / KEYS).to_string());
        }
        println!("{}", row(&cells));
    }
    Ok(())
}
