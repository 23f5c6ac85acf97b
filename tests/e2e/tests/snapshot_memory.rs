//! What snapshots take in memory, measured from outside: of a collection no more than a piece, of what is overwritten
//! meanwhile one copy, however many read, and nothing for which a key would have to go.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::time::Duration;

/// A figure of /proc/<pid>/status, in bytes.
fn status(node: &Keystead, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", node.process.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// How far memory rises above what it is now, while something is done.
fn growth(node: &Keystead, work: impl FnOnce()) -> u64 {
    // The highest mark falls back to what is used.
    std::fs::write(format!("/proc/{}/clear_refs", node.process.pid()), "5").unwrap();
    let before = status(node, "VmRSS");
    work();
    status(node, "VmHWM").saturating_sub(before)
}

fn pipelined(client: &mut Client, commands: impl Iterator<Item = Vec<String>>) {
    let mut waiting = 0;
    for command in commands {
        client.send(&command).unwrap();
        waiting += 1;
        if waiting == 500 {
            (0..std::mem::take(&mut waiting)).for_each(|_| assert!(!matches!(client.read().unwrap(), Reply::Error(_))));
        }
    }
    (0..waiting).for_each(|_| assert!(!matches!(client.read().unwrap(), Reply::Error(_))));
}

#[test]
fn a_large_collection_is_saved_in_pieces() {
    let node = Keystead::builder().plugin("persistence-rdb", "(save: [], rdbcompression: false)").start();
    let mut client = node.client();
    let value = "v".repeat(90);
    let rows = 0..4000;
    pipelined(
        &mut client,
        rows.clone().map(|row| {
            let fields = (0..100).flat_map(|n| [format!("field:{row}:{n}"), value.clone()]);
            ["HSET".to_owned(), "hash".to_owned()].into_iter().chain(fields).collect()
        }),
    );
    pipelined(
        &mut client,
        rows.map(|row| {
            let elements = (0..100).map(|n| format!("{row}:{n}:{value}"));
            ["RPUSH".to_owned(), "list".to_owned()].into_iter().chain(elements).collect()
        }),
    );
    let before = client.cmd("DEBUG DIGEST");
    let grown = growth(&node, || drop(node.client().ok("SAVE")));
    let file = std::fs::metadata(node.dir().join("dump.rdb")).unwrap().len();
    assert!(file > 70 << 20, "{file}");
    assert!(grown < 12 << 20, "a file of {file} bytes with two records took {grown} bytes of memory");
    client.ok("DEBUG RELOAD");
    assert_eq!(client.cmd("DEBUG DIGEST"), before);
    let file = node.dir().join("dump.rdb");
    let loaded = Keystead::builder().plugin("persistence-rdb", "()").file("dump.rdb", &std::fs::read(file).unwrap());
    assert_eq!(loaded.start().client().cmd("DEBUG DIGEST"), before, "the file's pieces make the records");
}

/// Values that a cut copies rather than shares, and so many that the copies outweigh what is read before the writes begin:
/// that stands in the batches and in the sockets' buffers, which the kernel lets grow to ten megabytes.
const KEYS: usize = 30_000;
const VALUE: usize = 2_000;

/// How far memory rises when every key is overwritten while a replica's full sync stands still, and a save beside it.
fn rise(save: bool) -> u64 {
    // Writers are slowed by what the sync pins, measured by this limit.
    let limit = r#"limits: (client_output_buffer_limit: "normal 0 0 0 slave 64gb 64gb 0 pubsub 0 0 0")"#;
    let node = Keystead::builder()
        .section(limit)
        .plugin("replication", "()")
        .plugin("persistence-rdb", "(save: [], rdb_key_save_delay: 1000000)")
        .start();
    let mut client = node.client();
    client.ok(&format!("DEBUG POPULATE {KEYS} key {VALUE}"));
    let mut replica = node.client();
    replica.ok("REPLCONF capa eof");
    replica.set_reply_limit(DEADLINE);
    // The cut is taken before this answer; the payload behind it is never read.
    let answer = replica.cmd("PSYNC ? -1").as_text().unwrap();
    assert!(answer.starts_with("FULLRESYNC"), "{answer}");
    if save {
        client.ok("BGSAVE");
        let names = || std::fs::read_dir(node.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        wait_until("the save writes", DEADLINE, || names().any(|name| name.to_string_lossy().starts_with("temp-")));
    }
    client.set_reply_limit(Duration::from_secs(60));
    let value = "w".repeat(VALUE);
    growth(&node, || {
        pipelined(&mut client, (0..KEYS).map(|n| vec!["SET".to_owned(), format!("key:{n}"), value.clone()]));
    })
}

#[test]
fn a_save_beside_a_full_sync_copies_nothing_again() {
    let data = (KEYS * VALUE) as u64;
    let (alone, both) = (rise(false), rise(true));
    assert!(alone > data / 2, "the sync alone took {alone} bytes: this measures nothing");
    // Beside the copies a reader has its own buffers, and what the other one had read before: see `KEYS`. Copied again, it
    // would be all of the data.
    assert!(both < alone + data / 2, "{alone} bytes for one reader, {both} for two, of {data} bytes of data");
}

/// A save holds some hundred kilobytes on their way to the file. redis-server's forked child has them in a process of its own.
#[test]
fn a_save_evicts_no_key_and_refuses_no_command() {
    let node = Keystead::builder().plugin("persistence-rdb", "(save: [])").start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 1000 key 100");
    let save = |client: &mut Client| {
        client.ok("BGSAVE");
        wait_until("the save has ended", DEADLINE, || {
            pipelined(client, (0..500).map(|_| ["SET", "key:1", "short"].map(str::to_owned).to_vec()));
            client.info("persistence")["rdb_bgsave_in_progress"] == "0"
        });
    };
    save(&mut client);
    let used = client.info("")["used_memory"].parse::<u64>().unwrap();
    client.ok(&format!("CONFIG SET maxmemory {} maxmemory-policy allkeys-lru", used + (150 << 10)));
    (0..8).for_each(|_| save(&mut client));
    assert_eq!(client.info("")["evicted_keys"], "0");
    client.ok("CONFIG SET maxmemory-policy noeviction");
    (0..4).for_each(|_| save(&mut client));
    wait_until("what saves held is given back", DEADLINE, || client.info("")["mem_not_counted_for_evict"] == "0");
}
