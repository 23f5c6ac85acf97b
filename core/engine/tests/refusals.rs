//! Texts of refusals that redis-server 7.2.4 has in words of its own: where a subcommand counts its arguments itself, and where
//! a number is read in a way that isn't the usual one. Beside 7.0 most of all this is compared in `tests/interop`.

mod kit;

use kit::Kit;

#[test]
fn in_the_words_of_redis() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let counted = |sub: &str, command: &str| {
        format!("-ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP.")
    };
    let not_int = "-ERR value is not an integer or out of range".to_owned();
    let cases = [
        ("PUBSUB CHANNELS a b", counted("CHANNELS", "PUBSUB")),
        ("PUBSUB shardchannels a b", counted("shardchannels", "PUBSUB")),
        ("CLIENT UNBLOCK 1 TIMEOUT more", counted("UNBLOCK", "CLIENT")),
        ("ACL GENPASS 32 more", counted("GENPASS", "ACL")),
        ("ACL CAT read more", counted("CAT", "ACL")),
        ("SLOWLOG GET 5 more", counted("GET", "SLOWLOG")),
        ("ACL GENPASS many", not_int.clone()),
        ("SELECT 4294967296", "-ERR value is out of range, value must between -2147483648 and 2147483647".to_owned()),
        ("SELECT 16", "-ERR DB index is out of range".to_owned()),
        ("SELECT x", not_int.clone()),
        ("SWAPDB 4294967296 1", "-ERR invalid first DB index".to_owned()),
        ("SWAPDB 0 -4294967296", "-ERR invalid second DB index".to_owned()),
        ("SWAPDB 0 16", "-ERR DB index is out of range".to_owned()),
        ("DEBUG REPLYBUFFER RESIZING x", not_int),
        ("DEBUG REPLYBUFFER X 1", counted("REPLYBUFFER", "DEBUG")),
    ];
    for (command, reply) in cases {
        assert_eq!(kit.cmd(c, command), format!("{reply}\r\n"), "{command}");
    }
    assert!(kit.cmd(c, "DEBUG PROTOCOL x").contains("string|integer|double|bignum|null|"));
    for command in ["MODULE LOAD /x.so", "module loadex /x.so CONFIG a b", "Module Unload x"] {
        let told = kit.cmd(c, command);
        assert!(
            told.starts_with("-ERR modules can't be loaded or unloaded: plugins are listed in"),
            "{command}: {told}"
        );
    }
    assert_eq!(kit.cmd(c, "MODULE nope"), "-ERR unknown subcommand 'nope'. Try MODULE HELP.\r\n");
    assert!(kit.cmd(c, "CLIENT HELP").ends_with("+    Print this help.\r\n"));
}

#[test]
fn kinds_of_replies_in_resp3() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "HELLO 3");
    assert_eq!(kit.cmd(c, "COMMAND LIST FILTERBY PATTERN getse*"), "*1\r\n$6\r\ngetset\r\n");
    assert!(kit.cmd(c, "MEMORY MALLOC-STATS").starts_with("$45\r\n"));
}

#[test]
fn shard_channels_are_not_subscribed_to_inside_multi() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for command in ["MULTI", "SUBSCRIBE a", "SSUBSCRIBE b"] {
        kit.cmd(c, command);
    }
    let subscribed = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let refused = "-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n";
    assert_eq!(kit.cmd(c, "EXEC"), format!("*2\r\n{subscribed}{refused}"));
}

/// COMMAND does something alone, and yet an unknown subcommand of it is refused before it is queued.
#[test]
fn an_unknown_subcommand_discards_its_transaction() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for command in ["COMMAND nothing", "CONFIG nothing"] {
        kit.cmd(c, "MULTI");
        assert!(kit.cmd(c, command).starts_with("-ERR unknown subcommand 'nothing'. Try"), "{command}");
        let discarded = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(kit.cmd(c, "EXEC"), discarded, "{command}");
    }
}

/// What was sent is quoted byte for byte, up to the zero byte that ends it for C; line ends become spaces.
#[test]
fn what_is_quoted_is_quoted_as_it_came() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let cases: [(&[&[u8]], &[u8]); 10] = [
        (&[b"\xff\r\nx", b"\xfe", b"a\0b"], b"ERR unknown command '\xff  x', with args beginning with: '\xfe' 'a' "),
        (&[b"OBJECT", b"\xff\xc3"], b"ERR unknown subcommand '\xff\xc3'. Try OBJECT HELP."),
        (&[b"XPENDING", b"k\xff\0y", b"g\x80"], b"NOGROUP No such key 'k\xff' or consumer group 'g\x80'"),
        (&[b"EXPIRE", b"k", b"1", b"\xff"], b"ERR Unsupported option \xff"),
        (&[b"ACL", b"CAT", b"\xff"], b"ERR Unknown category '\xff'"),
        (
            &[b"ACL", b"GENPASS", b"1", b"2"],
            b"ERR unknown subcommand or wrong number of arguments for 'GENPASS'. Try ACL HELP.",
        ),
        (&[b"CLIENT", b"LIST", b"TYPE", b"\xff"], b"ERR Unknown client type '\xff'"),
        (&[b"LATENCY", b"GRAPH", b"\xff"], b"ERR No samples available for event '\xff'"),
        (&[b"CONFIG", b"SET", b"\xff", b"1"], b"ERR Unknown option or number of arguments for CONFIG SET - '\xff'"),
        (&[b"DEBUG", b"ERROR", b"\xffERR \xfe"], b"\xffERR \xfe"),
    ];
    for (words, expected) in cases {
        let mut sent = format!("*{}\r\n", words.len()).into_bytes();
        words.iter().for_each(|word| {
            sent.extend(format!("${}\r\n", word.len()).bytes().chain(word.iter().copied()).chain(*b"\r\n"));
        });
        kit.feed(c, &sent);
        let mut out = Vec::new();
        kit.engine.swap_out(c, &mut out);
        assert_eq!(out.escape_ascii().to_string(), [b"-", expected, b"\r\n"].concat().escape_ascii().to_string());
    }
}
