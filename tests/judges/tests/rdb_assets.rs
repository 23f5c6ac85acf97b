//! The RDB files in Redis' own source tree, loaded here and by a stock redis-server: the keys must be the same. Without the
//! source package, offline say, it says SKIPPED and why. Nothing of the tree is kept in this repository.
#![allow(clippy::unwrap_used)]

mod tree;

use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, RedisServer, have, wait_until};
use std::path::Path;

/// Files of Redis 2.4 to 7.0 and how many keys each has; two of them have collections without elements, which are passed over.
const FILES: &[(&str, i64)] = &[
    ("encodings.rdb", 13),
    ("hash-zipmap.rdb", 1),
    ("hash-ziplist.rdb", 1),
    ("zset-ziplist.rdb", 1),
    ("list-quicklist.rdb", 2),
    ("scriptbackup.rdb", 0),
    ("corrupt_empty_keys.rdb", 0),
];

fn node(file: &[u8]) -> KeysteadBuilder {
    Keystead::builder().plugin("persistence-rdb", "(save: [])").plugin("scripting", "()").file("dump.rdb", file)
}

fn stock(assets: &Path, name: &str) -> RedisServer {
    RedisServer::start(&["--dir", assets.to_str().unwrap(), "--dbfilename", name])
}

#[test]
fn files_of_redis_own_tree_are_what_a_stock_server_makes_of_them() {
    let assets = match tree::tree("rdb-tree") {
        Ok(tree) if have("redis-server") => tree.join("tests/assets"),
        Ok(_) => return eprintln!("SKIPPED: there is no redis-server"),
        Err(why) => return eprintln!("SKIPPED: Redis' source can't be had: {why}"),
    };
    for (name, keys) in FILES {
        let file = std::fs::read(assets.join(name)).unwrap();
        let (ours, theirs) = (node(&file).start(), stock(&assets, name));
        let (mut ours_client, mut theirs_client) = (ours.client(), theirs.client());
        let count = ours_client.cmd("DBSIZE").as_int().unwrap();
        assert_eq!(theirs_client.cmd("DBSIZE").as_int(), Some(count), "{name}\n{}", ours.process.log());
        assert_eq!(count, *keys, "{name}");
        assert_eq!(ours_client.cmd("DEBUG DIGEST"), theirs_client.cmd("DEBUG DIGEST"), "{name}");
        // And what is saved of it is read there again.
        if count > 0 {
            ours_client.ok("SAVE");
            let again = stock(ours.dir(), "dump.rdb");
            assert_eq!(again.client().cmd("DEBUG DIGEST"), theirs_client.cmd("DEBUG DIGEST"), "{name}, saved again");
        }
    }
}

/// A stock server takes it as it is and dies of the first command; here the start is refused, with the place.
#[test]
fn a_ziplist_that_contradicts_itself_refuses_the_start() {
    let assets = match tree::tree("rdb-tree") {
        Ok(tree) => tree.join("tests/assets"),
        Err(why) => return eprintln!("SKIPPED: Redis' source can't be had: {why}"),
    };
    let file = std::fs::read(assets.join("corrupt_ziplist.rdb")).unwrap();
    let mut node = node(&file).launch();
    wait_until("the end", DEADLINE, || !node.process.is_alive());
    let log = node.process.log();
    assert!(log.contains("dump.rdb: ") && log.contains("byte "), "{log}");
}
