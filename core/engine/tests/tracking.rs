//! Client-side caching: who is told what, when, and through whom.

mod kit;

use keystead_engine::{OwnedArgs, SessionId};
use kit::Kit;

fn push(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

const ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// A RESP3 client that caches, and one that writes.
fn pair(options: &str) -> (Kit, SessionId, SessionId) {
    let mut kit = Kit::default();
    let (c, w) = (kit.connect(), kit.connect());
    kit.cmd(c, "HELLO 3");
    assert_eq!(kit.cmd(c, &format!("CLIENT TRACKING ON {options}")), "+OK\r\n");
    (kit, c, w)
}

#[test]
fn keys_that_were_read_are_told_once() {
    let (mut kit, c, w) = pair("");
    kit.cmd(c, "MGET a b");
    kit.cmd(c, "SET x 1");
    assert!(kit.cmd(w, "INFO").contains("tracking_clients:1\r\n"));
    assert!(
        kit.cmd(w, "INFO").contains("tracking_total_keys:2\r\ntracking_total_items:2\r\ntracking_total_prefixes:0")
    );
    kit.cmd(w, "SET a 1");
    assert_eq!(kit.read(c), push("a"));
    kit.cmd(w, "SET a 2");
    kit.cmd(w, "SET x 2");
    assert_eq!(kit.read(c), "");
    // Its own change comes behind the reply, in a transaction behind all of them.
    assert_eq!(kit.cmd(c, "SET b 1"), format!("+OK\r\n{}", push("b")));
    kit.cmd(c, "MGET a b");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "DEL a");
    kit.cmd(c, "DEL b");
    assert_eq!(kit.cmd(c, "EXEC"), format!("*2\r\n:1\r\n:1\r\n{}{}", push("a"), push("b")));
    // A key that runs out.
    kit.cmd(w, "SET t 1 PX 100");
    kit.cmd(c, "GET t");
    kit.advance(200);
    assert_eq!(kit.read(c), push("t"));
    // Everything.
    kit.cmd(c, "GET a");
    kit.cmd(w, "FLUSHALL");
    assert_eq!(kit.read(c), ALL);
    assert_eq!(kit.cmd(c, "FLUSHDB"), format!("+OK\r\n{ALL}"));
    // Off: silence.
    kit.cmd(c, "GET a");
    assert_eq!(kit.cmd(c, "CLIENT TRACKING OFF"), "+OK\r\n");
    kit.cmd(w, "SET a 1");
    assert_eq!(kit.read(c), "");
    assert!(kit.cmd(w, "INFO").contains("tracking_total_keys:0\r\n"));
}

#[test]
fn opting_in_and_out() {
    let (mut kit, c, w) = pair("OPTIN NOLOOP");
    kit.cmd(c, "GET a");
    assert_eq!(kit.cmd(c, "CLIENT CACHING YES"), "+OK\r\n");
    assert!(kit.cmd(c, "CLIENT TRACKINGINFO").contains("optin\r\n$11\r\ncaching-yes\r\n$6\r\nnoloop\r\n"));
    kit.cmd(c, "GET b");
    kit.cmd(c, "GET c");
    kit.cmd(w, "MSET a 1 b 1 c 1");
    assert_eq!(kit.read(c), push("b"));
    kit.send(c, "CLIENT CACHING YES\r\nGET a\r\n");
    assert_eq!(kit.cmd(c, "SET a 3"), "+OK\r\n", "NOLOOP");
    assert!(kit.cmd(c, "CLIENT CACHING NO").starts_with("-ERR CLIENT CACHING NO is only valid"));
    let (mut kit, c, w) = pair("OPTOUT");
    kit.cmd(c, "GET a");
    kit.send(c, "CLIENT CACHING NO\r\nGET b\r\n");
    kit.cmd(w, "MSET a 1 b 1");
    assert_eq!(kit.read(c), push("a"));
}

/// CLIENT CACHING is used up by the next command, also by one that doesn't run.
#[test]
fn a_refused_command_uses_up_what_was_said_of_caching() {
    for refused in ["NOSUCH", "GET", "CLIENT", "GET a b"] {
        let (mut kit, c, w) = pair("OPTOUT");
        kit.cmd(c, "CLIENT CACHING NO");
        assert!(kit.cmd(c, refused).starts_with("-ERR"));
        kit.cmd(c, "GET x");
        kit.cmd(w, "SET x 1");
        let told = kit.read(c);
        // CLIENT itself leaves it.
        assert_eq!(told, if refused == "CLIENT" { String::new() } else { push("x") }, "{refused}");
    }
}

#[test]
fn prefixes_are_told_of_every_change() {
    let (mut kit, c, w) = pair("BCAST PREFIX a PREFIX b");
    kit.cmd(w, "SET c 1");
    assert_eq!(kit.read(c), "");
    kit.send(w, "SET a1 1\r\nSET a2 1\r\nSET a1 2\r\nSET b 1\r\n");
    let two = ">2\r\n$10\r\ninvalidate\r\n*2\r\n$2\r\na1\r\n$2\r\na2\r\n";
    assert_eq!(kit.read(c), format!("{two}{}", push("b")), "one message a prefix and turn");
    assert_eq!(
        kit.cmd(c, "CLIENT TRACKING ON BCAST PREFIX ab"),
        "-ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.\r\n"
    );
    assert_eq!(
        kit.cmd(c, "CLIENT TRACKING ON BCAST PREFIX x PREFIX xy"),
        "-ERR Prefix 'x' overlaps with another provided prefix 'xy'. Prefixes for a single client must not overlap.\r\n"
    );
    let (mut kit, c, w) = pair("BCAST NOLOOP");
    assert_eq!(kit.cmd(c, "SET a 1"), "+OK\r\n");
    assert_eq!(kit.read(c), "");
    kit.cmd(w, "SET b 1");
    assert_eq!(kit.read(c), push("b"));
}

#[test]
fn another_client_listens() {
    let mut kit = Kit::default();
    let (c, w, l) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(l, "SUBSCRIBE __redis__:invalidate");
    assert_eq!(kit.cmd(c, &format!("CLIENT TRACKING ON REDIRECT {}", l.id)), "+OK\r\n");
    assert_eq!(kit.cmd(c, "CLIENT GETREDIR"), format!(":{}\r\n", l.id));
    kit.cmd(c, "GET a");
    kit.cmd(w, "SET a 1");
    let message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
    assert_eq!(kit.read(l), format!("{message}*1\r\n$1\r\na\r\n"));
    kit.cmd(w, "FLUSHALL");
    assert_eq!(kit.read(l), format!("{message}$-1\r\n"));
    // The listener changes a key itself: told behind its reply.
    kit.cmd(l, "UNSUBSCRIBE");
    kit.cmd(l, "HELLO 3");
    kit.cmd(c, "GET a");
    assert_eq!(kit.cmd(l, "SET a 1"), format!("+OK\r\n{}", push("a")));
    // Gone.
    kit.cmd(c, "HELLO 3");
    kit.cmd(c, "GET a");
    kit.gone(l);
    kit.cmd(w, "SET a 2");
    assert_eq!(kit.read(c), format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{}\r\n", l.id));
    assert!(kit.cmd(c, "CLIENT TRACKINGINFO").contains("broken_redirect"));
    assert!(kit.cmd(c, "CLIENT INFO").contains("flags=tR "));
    let nobody = "-ERR The client ID you want redirect to does not exist\r\n";
    assert_eq!(kit.cmd(c, "CLIENT TRACKING ON REDIRECT 999"), nobody);
}

#[test]
fn a_full_table_forgets_and_tells() {
    let (mut kit, c, _) = pair("");
    kit.cmd(c, "CONFIG SET tracking-table-max-keys 2");
    let told: String = ["a", "b", "c", "d"].map(|key| kit.cmd(c, &format!("GET {key}"))).concat() + &kit.read(c);
    assert_eq!(told.matches("invalidate").count(), 2, "{told}");
    assert!(kit.cmd(c, "INFO stats").contains("tracking_total_keys:2\r\n"));
    kit.cmd(c, "RESET");
    assert_eq!(kit.cmd(c, "CLIENT GETREDIR"), ":-1\r\n");
}

/// A limit that is lowered drives out keys some at a time, with each turn and each heartbeat; one that is full drives out as
/// many as come.
#[test]
fn a_lowered_limit_is_reached_in_steps() {
    const KEYS: usize = 2000;
    let (mut kit, c, w) = pair("");
    let words: String = (0..KEYS).map(|n| format!(" k{n}")).collect();
    kit.cmd(c, &format!("MGET{words}"));
    let told = |text: &str| text.matches("invalidate").count();
    kit.cmd(w, "CONFIG SET tracking-table-max-keys 100");
    assert_eq!(told(&kit.read(c)), 100, "at once, though no heartbeat came, as redis/redis#11715 wants it");
    let behind = kit.cmd(c, "MGET new:1 new:2 new:3") + &kit.read(c);
    assert_eq!(told(&behind), 103, "as many as came, and some more");
    let mut left = KEYS - 200;
    let mut ticks = 0;
    while left > 100 {
        let next = kit.turn(|engine| engine.tick());
        let gone = told(&kit.read(c));
        assert!((1..=200).contains(&gone), "{gone}");
        left -= gone;
        assert!(left == 100 || next.is_none_or(|at| at <= kit.now.mono_ms() + 5), "{next:?}");
        ticks += 1;
    }
    assert!(left == 100 && ticks > 5, "{left} are left behind {ticks}");
    assert!(kit.cmd(w, "INFO stats").contains("tracking_total_keys:100\r\n"));
    assert_eq!(kit.turn(|engine| engine.tick()), None, "nothing more to do");
}

#[test]
fn modes_that_do_not_fit() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for (options, why) in [
        ("maybe", "syntax error"),
        ("on what", "syntax error"),
        ("on prefix a", "PREFIX option requires BCAST mode to be enabled"),
        ("on bcast optin", "OPTIN and OPTOUT are not compatible with BCAST"),
        ("on optin optout", "You can't specify both OPTIN mode and OPTOUT mode"),
        ("on redirect 1 redirect 1", "A client can only redirect to a single other client"),
    ] {
        assert_eq!(kit.cmd(c, &format!("CLIENT TRACKING {options}")), format!("-ERR {why}\r\n"));
    }
    assert!(kit.cmd(c, "CLIENT CACHING YES").starts_with("-ERR CLIENT CACHING can be called only when"));
    kit.cmd(c, "CLIENT TRACKING on optin");
    assert!(kit.cmd(c, "CLIENT TRACKING on optout").starts_with("-ERR You can't switch OPTIN/OPTOUT mode"));
    assert!(kit.cmd(c, "CLIENT TRACKING on bcast").starts_with("-ERR You can't switch BCAST mode on/off"));
    assert_eq!(kit.cmd(c, "CLIENT CACHING maybe"), "-ERR syntax error\r\n");
}

/// The command that needed the room didn't change them: its reply comes behind.
#[test]
fn evicted_keys_are_told_of_before_the_reply() {
    let (mut kit, c, _) = pair("");
    kit.cmd(c, "CONFIG SET maxmemory-policy volatile-random");
    kit.cmd(c, "SET k v EX 1000");
    kit.cmd(c, "GET k");
    let big = kit.cmd(c, "SETBIT big 16000000 0");
    kit.cmd(c, "CONFIG SET maxmemory 1mb");
    assert_eq!((big.as_str(), kit.cmd(c, "GETBIT big 0")), (":0\r\n", format!("{}:0\r\n", push("k"))));
}

/// Redis signals the key whatever LTRIM cut; what was cut it counts.
#[test]
fn a_trim_that_cuts_nothing_is_told() {
    let (mut kit, c, w) = pair("");
    kit.cmd(w, "RPUSH l a b");
    kit.cmd(c, "LRANGE l 0 -1");
    kit.cmd(c, "WATCH l");
    let changes = |kit: &mut Kit| {
        let info = kit.cmd(w, "INFO persistence");
        info.lines().find(|line| line.starts_with("rdb_changes_since_last_save")).map(str::to_owned)
    };
    let before = changes(&mut kit);
    assert_eq!(kit.cmd(w, "LTRIM l 0 -1"), "+OK\r\n");
    assert_eq!(kit.read(c), push("l"));
    kit.cmd(c, "MULTI");
    kit.cmd(c, "PING");
    assert_eq!(kit.cmd(c, "EXEC"), "_\r\n");
    assert_eq!(changes(&mut kit), before);
}

/// A key that two clients changed in one turn is news to both, whoever was the last.
#[test]
fn a_prefix_is_told_of_changes_by_others_beside_its_own() {
    for own_is_last in [false, true] {
        let (mut kit, c, w) = pair("BCAST NOLOOP PREFIX a");
        let set: OwnedArgs = ["SET", "ab", "1"].iter().collect();
        let order = if own_is_last { [w, c] } else { [c, w] };
        kit.turn(|engine| order.iter().for_each(|id| _ = engine.execute(*id, set.view())));
        let told = kit.read(c);
        assert_eq!(told, format!("+OK\r\n{}", push("ab")), "{own_is_last}");
        // Twice by itself is still by itself alone.
        kit.turn(|engine| [c, c].iter().for_each(|id| _ = engine.execute(*id, set.view())));
        assert_eq!(kit.read(c), "+OK\r\n+OK\r\n");
    }
}

/// Freeing the names of a large table takes long: it is left to whoever has the time.
#[test]
fn a_table_that_is_forgotten_is_freed_outside_the_turn() {
    for line in ["FLUSHALL", "CLIENT TRACKING OFF"] {
        let (mut kit, c, w) = pair("");
        let names: String = (0..2000).map(|n| format!(" {n}")).collect();
        kit.cmd(c, &format!("MGET{names}"));
        assert!(kit.cmd(w, "INFO").contains("tracking_total_keys:2000\r\n"));
        kit.engine.begin_turn(kit.now);
        let _ = kit.engine.execute(c, line.split(' ').collect::<OwnedArgs>().view());
        let end = kit.engine.end_turn();
        assert!(!end.garbage.is_empty(), "{line}");
        assert!(kit.cmd(w, "INFO").contains("tracking_total_keys:0\r\ntracking_total_items:0\r\n"), "{line}");
    }
}

/// Nobody is told through a client that was closed in the same turn: who redirects to it hears that, and no key is lost.
#[test]
fn a_target_that_was_just_killed_is_gone() {
    let mut kit = Kit::default();
    let [c, target, killer] = std::array::from_fn(|_| kit.connect());
    kit.cmd(c, "HELLO 3");
    let id = kit.cmd(target, "CLIENT ID").trim_start_matches(':').trim_end().to_owned();
    assert_eq!(kit.cmd(c, &format!("CLIENT TRACKING ON REDIRECT {id}")), "+OK\r\n");
    kit.cmd(c, "GET a");
    assert_eq!(kit.send(killer, format!("CLIENT KILL ID {id}\r\nSET a 1\r\n")), ":1\r\n+OK\r\n");
    assert_eq!(kit.read(c), format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
    assert!(kit.cmd(c, "CLIENT TRACKINGINFO").contains("broken_redirect"));
}

/// What one connection hears of a change in both ways, in the order of redis-server 7.0.15: `-key` that it must forget it.
#[test]
fn invalidations_and_events_come_in_redis_order() {
    let cases = [
        ("SET s 1", "", "new s|-s|set s"),
        ("SET s 1 EX 9", "SET s 0", "-s|set s|expire s"),
        ("DEL s", "SET s 0", "-s|del s"),
        ("RENAME s t", "SET s 0", "new t|-s|-t|rename_from s|rename_to t"),
        ("MOVE s 1", "SET s 0", "new s|-s|move_from s|move_to s"),
        ("LPOP s", "RPUSH s a", "lpop s|del s|-s"),
        ("LREM s 0 a", "RPUSH s a", "-s|lrem s|del s"),
        ("ZPOPMIN s", "ZADD s 1 a", "zpopmin s|-s|del s"),
        ("ZREM s a", "ZADD s 1 a", "zrem s|del s|-s"),
        ("SREM s a", "SADD s a", "-s|srem s|del s"),
        ("GET s", "SET s 0 PX 10", "expired s|-s|keymiss s"),
    ];
    for (command, before, expected) in cases {
        let mut kit = Kit::default();
        let (c, w) = (kit.connect(), kit.connect());
        kit.cmd(c, "CONFIG SET notify-keyspace-events AEnm");
        kit.cmd(c, "DEBUG SET-ACTIVE-EXPIRE 0");
        kit.cmd(c, "HELLO 3");
        kit.cmd(c, "PSUBSCRIBE __keyevent*");
        kit.cmd(c, "CLIENT TRACKING ON");
        kit.cmd(w, before);
        kit.cmd(c, "MGET s t");
        kit.later(50);
        kit.read(c);
        kit.cmd(w, command);
        let heard = kit.read(c);
        let words: Vec<&str> = heard.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).collect();
        let mut told = Vec::new();
        for push in words.split(|word| word.starts_with('>')).filter(|push| !push.is_empty()) {
            match push {
                ["invalidate", keys @ ..] => {
                    told.extend(keys.iter().filter(|key| !key.is_empty()).map(|key| format!("-{key}")))
                }
                [_, _, channel, key, ..] => {
                    told.push(format!("{} {key}", channel.rsplit(':').next().unwrap_or_default()))
                }
                _ => {}
            }
        }
        assert_eq!(told.join("|"), expected, "{command}");
    }
}
