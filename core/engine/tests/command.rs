//! COMMAND and SLOWLOG, bytes in, bytes out.

mod kit;

use kit::Kit;

/// The key of a command that may write.
const CHANGED: &str = "*1\r\n*2\r\n$1\r\nk\r\n*3\r\n+RW\r\n+access\r\n+update\r\n";

#[test]
fn keys_are_extracted_in_redis_words() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let cases = [
        ("COMMAND GETKEYS GET a", "*1\r\n$1\r\na\r\n"),
        ("COMMAND GETKEYS DEL a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("COMMAND GETKEYSANDFLAGS GET a", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n"),
        ("COMMAND GETKEYS PING", "-ERR The command has no key arguments\r\n"),
        ("COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command\r\n"),
        ("COMMAND GETKEYS nope x", "-ERR Invalid command specified\r\n"),
        // A count of keys that doesn't fit is an error of the command's, whatever follows it.
        ("COMMAND GETKEYS ZUNIONSTORE d 2 a b", "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("COMMAND GETKEYS ZUNIONSTORE d 3 a b", "-ERR Invalid arguments specified for command\r\n"),
        ("COMMAND GETKEYSANDFLAGS ZUNIONSTORE d 3 a b", "-ERR Invalid arguments specified for command\r\n"),
        ("COMMAND GETKEYS ZUNIONSTORE d x a", "-ERR Invalid arguments specified for command\r\n"),
        ("COMMAND GETKEYS LMPOP 0 a LEFT", "-ERR Invalid arguments specified for command\r\n"),
        // A subcommand that isn't there is no command, and a container without one has no keys.
        ("COMMAND GETKEYS OBJECT nope k", "-ERR Invalid command specified\r\n"),
        ("COMMAND GETKEYSANDFLAGS COMMAND nope", "-ERR Invalid command specified\r\n"),
        ("COMMAND GETKEYS OBJECT ENCODING k", "*1\r\n$1\r\nk\r\n"),
        ("COMMAND GETKEYS OBJECT", "-ERR The command has no key arguments\r\n"),
        // Each of two specifications must find something.
        ("COMMAND GETKEYS PFMERGE d", "-ERR Invalid arguments specified for command\r\n"),
        ("COMMAND GETKEYS PFMERGE d a", "*2\r\n$1\r\nd\r\n$1\r\na\r\n"),
        // What isn't understood may write.
        ("COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0", "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+RO\r\n+access\r\n"),
        ("COMMAND GETKEYSANDFLAGS BITFIELD k", "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+RO\r\n+access\r\n"),
        ("COMMAND GETKEYSANDFLAGS BITFIELD k GET u8", CHANGED),
        ("COMMAND GETKEYSANDFLAGS BITFIELD k OVERFLOW SAT GET u8 0 nope", CHANGED),
        ("COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0 INCRBY u8 0 1", CHANGED),
        ("COMMAND GETKEYSANDFLAGS BITFIELD k GET set 0", "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n+RO\r\n+access\r\n"),
        ("COMMAND GETKEYS MIGRATE h 1 k 0 10 KEYS a", "-ERR Invalid arguments specified for command\r\n"),
        ("COMMAND GETKEYS MIGRATE h 1 k 0 10 AUTH KEYS COPY", "*1\r\n$1\r\nk\r\n"),
        ("COMMAND GETKEYS MIGRATE h 1 k 0 10 KEYS", "*1\r\n$1\r\nk\r\n"),
        ("COMMAND GETKEYS MIGRATE h 1 \"\" 0 10 COPY KEYS a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("COMMAND INFO nope", "*1\r\n$-1\r\n"),
        ("COMMAND LIST FILTERBY MODULE nope", "*0\r\n"),
        ("COMMAND LIST FILTERBY x y", "-ERR syntax error\r\n"),
        ("COMMAND nope", "-ERR unknown subcommand 'nope'. Try COMMAND HELP.\r\n"),
    ];
    for (line, want) in cases {
        assert_eq!(kit.cmd(c, line), want, "{line}");
    }
}

#[test]
fn info_has_ten_elements_and_the_table_s_facts() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let reply = kit.cmd(c, "COMMAND INFO get");
    assert!(
        reply.starts_with("*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"),
        "{reply}"
    );
    assert!(reply.contains("+@read\r\n") && reply.contains("+@string\r\n") && reply.contains("+@fast\r\n"), "{reply}");
    let docs = kit.cmd(c, "COMMAND DOCS get");
    assert!(docs.starts_with("*2\r\n$3\r\nget\r\n*10\r\n$7\r\nsummary\r\n"), "{docs}");
    let count = kit.cmd(c, "COMMAND COUNT");
    assert_eq!(kit.cmd(c, "COMMAND").split("\r\n").next().unwrap()[1..], count.trim()[1..]);
}

#[test]
fn docs_tell_arguments_and_their_history() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let told = |kit: &mut Kit, line: &str| -> String {
        let words = kit.cmd(c, line);
        words.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    };
    let set = told(&mut kit, "COMMAND DOCS set");
    for part in [
        "complexity O(1) history 2.6.12 Added `NX`, `XX`, `EX`, `PX`. 6.0.0 Added `KEEPTTL`. 6.2.0 Added `GET`, `EXAT`, `PXAT`. 7.0.0",
        "arguments name key type key display_text key key_spec_index :0 name value type string display_text value name condition",
        "name seconds type integer display_text seconds token EX since 2.6.12",
    ] {
        assert!(set.contains(part), "{part}\n{set}");
    }
    let getset = told(&mut kit, "COMMAND DOCS getset");
    let part = "doc_flags +deprecated deprecated_since 6.2.0 replaced_by `SET` with the `GET` argument arguments";
    assert!(getset.contains(part), "{getset}");
}

#[test]
fn the_slow_log_is_empty_without_a_clock() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for (line, want) in [
        ("SLOWLOG LEN", ":0\r\n"),
        ("SLOWLOG GET", "*0\r\n"),
        ("SLOWLOG GET a", "-ERR count should be greater than or equal to -1\r\n"),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n"),
        ("SLOWLOG RESET", "+OK\r\n"),
    ] {
        assert_eq!(kit.cmd(c, line), want, "{line}");
    }
}

/// The shapes of `addReplyCommandInfo` (server.c): sets, but for subcommands where there are some.
#[test]
fn resp3_has_sets_where_redis_has_them() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "HELLO 3");
    let get = kit.cmd(c, "COMMAND INFO get");
    assert!(get.contains("~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n") && get.ends_with("~0\r\n"), "{get}");
    let ping = kit.cmd(c, "COMMAND INFO ping");
    assert!(ping.contains("~2\r\n+request_policy:all_shards\r\n") && ping.ends_with("~0\r\n~0\r\n"), "{ping}");
    let client = kit.cmd(c, "COMMAND INFO object");
    assert!(client.contains("~0\r\n~0\r\n*5\r\n*10\r\n"), "{client}");
}
