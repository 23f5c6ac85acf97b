//! Random rules and random commands: Keystead's verdict (ACL DRYRUN) is that of a stock redis-server, and so is what
//! ACL GETUSER says of keys and channels. `ACL_SEED=n` runs one seed.
//!
//! Left out because 7.2 differs from the 7.0 that is compared with: the texts of refusals, the order of command rules in
//! ACL GETUSER, `sanitize-payload` among the flags.

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};

/// A small generator: the rules matter, not the numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const RULES: &[&str] = &[
    "+@all",
    "-@all",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "+@list",
    "-@list",
    "+@keyspace",
    "+@fast",
    "-@slow",
    "+@dangerous",
    "-@dangerous",
    "+@admin",
    "-@admin",
    "+@connection",
    "+@pubsub",
    "-@pubsub",
    "+@sortedset",
    "+@blocking",
    "-@set",
    "+@transaction",
    "+get",
    "-get",
    "+set",
    "-set",
    "+config",
    "+config|get",
    "-config|get",
    "-config",
    "+client|list",
    "-client",
    "+select|0",
    "+select",
    "-select",
    "+object|encoding",
    "+memory|usage",
    "+copy",
    "+sort",
    "~*",
    "~a*",
    "~[ab]",
    "~a?",
    "%R~a",
    "%W~b",
    "%RW~c",
    "%R~*",
    "%W~x",
    "allkeys",
    "resetkeys",
    "&*",
    "&a",
    "&a*",
    "&n?ws",
    "resetchannels",
    "allchannels",
    "clearselectors",
    "(+get ~b)",
    "(%R~a +@all)",
    "(+@write %W~b &c)",
    "(+@pubsub &n*)",
    "nocommands",
    "allcommands",
    "on",
    "off",
    "nopass",
    "reset",
    "+nope",
    "~a b",
    "+@nope",
    "%X~a",
    "-select|0",
    "+get|a",
    "+config|nope",
];

const COMMANDS: &[&str] = &[
    "GET a",
    "GET b",
    "SET a 1",
    "SET b 1 GET",
    "SETNX c 1",
    "MGET a b c",
    "MSET a 1 b 2",
    "DEL a b",
    "EXISTS a",
    "TYPE c",
    "INCR a",
    "APPEND b x",
    "STRLEN b",
    "GETDEL a",
    "GETEX a",
    "GETRANGE a 0 1",
    "SETRANGE b 0 x",
    "BITFIELD a GET u8 0",
    "BITFIELD b SET u8 0 1",
    "BITOP AND c a b",
    "BITCOUNT a",
    "LPUSH a 1",
    "LPOP b",
    "LRANGE a 0 1",
    "LMOVE a b LEFT LEFT",
    "RPOPLPUSH a b",
    "LMPOP 2 a b LEFT",
    "BLPOP a b 0",
    "BLMOVE a b LEFT LEFT 0",
    "SADD a 1",
    "SREM b 1",
    "SMOVE a b 1",
    "SINTERSTORE c a b",
    "SDIFF a b",
    "SINTERCARD 2 a b",
    "ZADD a 1 x",
    "ZRANGE a 0 1",
    "ZRANGESTORE c a 0 1",
    "ZREM b x",
    "ZUNIONSTORE c 2 a b",
    "ZINTER 2 a b",
    "ZPOPMIN a",
    "BZPOPMIN a b 0",
    "ZMPOP 1 a MIN",
    "HSET a f 1",
    "HGET b f",
    "HDEL a f",
    "HGETALL a",
    "HLEN b",
    "HINCRBY a f 1",
    "RENAME a b",
    "RENAMENX a c",
    "COPY a b",
    "SORT a",
    "SORT a STORE b",
    "SORT a BY w_* GET # STORE b STORE c",
    "SORT_RO a",
    "TTL a",
    "EXPIRE a 1",
    "PERSIST b",
    "OBJECT ENCODING a",
    "OBJECT FREQ b",
    "MEMORY USAGE a",
    "DUMP a",
    "RESTORE b 0 x",
    "TOUCH a",
    "UNLINK a",
    "WATCH a b",
    "PUBLISH a x",
    "PUBLISH news x",
    "SPUBLISH c x",
    "SUBSCRIBE a news",
    "SSUBSCRIBE c",
    "PSUBSCRIBE a*",
    "PSUBSCRIBE n?ws",
    "UNSUBSCRIBE z",
    "PUBSUB CHANNELS",
    "PING",
    "ECHO x",
    "SELECT 0",
    "SELECT 1",
    "CONFIG GET x",
    "CONFIG SET maxmemory 0",
    "CLIENT LIST",
    "CLIENT ID",
    "CLIENT KILL ID 3",
    "INFO",
    "FLUSHALL",
    "KEYS *",
    "SCAN 0",
    "DBSIZE",
    "MULTI",
    "EXEC",
    "AUTH x",
    "QUIT",
    "HELLO 3",
    "ACL WHOAMI",
    "COMMAND COUNT",
    "DEBUG OBJECT a",
    "LASTSAVE",
    "SWAPDB 0 1",
    "SLOWLOG GET",
    "LATENCY LATEST",
];

/// The verdict without the words: 7.2 tells them differently.
fn verdict(reply: &Reply) -> String {
    let text = reply.as_text().unwrap_or_default();
    let text = text.as_str();
    if text == "OK" {
        return text.to_owned();
    }
    if text.contains("permissions to run") {
        return "command".to_owned();
    }
    // "… to access the 'name' key"
    match text.split_once("to access the ") {
        Some((_, what)) => what.to_owned(),
        None => format!("{reply:?}"),
    }
}

/// Keys and channels of the user and of its selectors.
fn rights(client: &mut Client) -> Vec<String> {
    let texts = client.cmd("ACL GETUSER u");
    let Reply::Array(items) = texts else { return vec![format!("{texts:?}")] };
    let mut found = Vec::new();
    let mut add = |items: &[Reply]| {
        for pair in items.chunks(2) {
            if matches!(pair[0].as_text().as_deref(), Some("keys" | "channels")) {
                found.push(pair[1].as_text().unwrap_or_default());
            }
        }
    };
    add(&items);
    if let Some(Reply::Array(selectors)) = items.last() {
        for selector in selectors {
            if let Reply::Array(items) = selector {
                add(items);
            }
        }
    }
    found
}

#[test]
fn verdicts_are_those_of_redis() {
    if !have("redis-server") {
        println!("SKIPPED: no redis-server");
        return;
    }
    let seed = std::env::var("ACL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    println!("ACL_SEED={seed}");
    let mut dice = Dice(seed);
    let (keystead, redis) = (Keystead::plain(), RedisServer::start(&[]));
    let (mut ours, mut theirs) = (keystead.client(), redis.client());
    for round in 0..150 {
        if round % 5 == 0 {
            for client in [&mut ours, &mut theirs] {
                client.ok("ACL SETUSER u reset");
            }
        }
        let rules: Vec<&str> = (0..1 + dice.below(6)).map(|_| dice.pick(RULES)).collect();
        let set = [&["ACL", "SETUSER", "u"], rules.as_slice()].concat();
        let (a, b) = (ours.command(&set), theirs.command(&set));
        assert_eq!(a, b, "{set:?}");
        assert_eq!(rights(&mut ours), rights(&mut theirs), "after {set:?}");
        for _ in 0..40 {
            let command = dice.pick(COMMANDS);
            let line = format!("ACL DRYRUN u {command}");
            let (a, b) = (verdict(&ours.cmd(&line)), verdict(&theirs.cmd(&line)));
            let user = ours.cmd("ACL LIST");
            assert_eq!(a, b, "{command} after {set:?}: {user:?}");
        }
    }
}

/// Full names of a row of COMMAND and of its subcommands.
fn names(row: Reply) -> Vec<String> {
    let row = row.items();
    let own = row[0].as_text();
    let subs = row.into_iter().nth(9).map(|subs| subs.items()).unwrap_or_default();
    own.into_iter().chain(subs.into_iter().flat_map(names)).collect()
}

/// A file with users is good on a node without plugins too.
#[test]
fn rules_may_name_whatever_redis_has() {
    if !have("redis-server") {
        println!("SKIPPED: no redis-server");
        return;
    }
    let (keystead, redis) = (Keystead::plain(), RedisServer::start(&[]));
    let mut ours = keystead.client();
    let all: Vec<String> = redis.client().ok("COMMAND").items().into_iter().flat_map(names).collect();
    assert!(all.iter().any(|name| name == "script|kill"), "{all:?}");
    let refused: Vec<&String> =
        all.iter().filter(|name| ours.cmd(&format!("ACL SETUSER u +{name} -{name}")).is_error()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
