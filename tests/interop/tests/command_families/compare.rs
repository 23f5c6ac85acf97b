//! When two replies count as equal, and whether two servers hold the same data.

use super::peers::{Ours, Redis};
use super::{show, streams};

/// Replies whose order Redis leaves open.
const UNORDERED: &[&str] = &[
    "SMEMBERS",
    "SINTER",
    "SUNION",
    "SDIFF",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "KEYS",
    "SSCAN",
    "HSCAN",
    "SCAN",
    "ZSCAN",
    "SPOP",
    "HRANDFIELD",
];

/// Commands that give times: the two clocks are read a moment apart.
const CLOCKS: &[&str] = &["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "OBJECT"];

/// What 7.0 answers where 7.2 answers otherwise: command, 7.0, 7.2.
const REWORDED: &[(&str, &str, &str)] = &[
    // 7.2 looks at the arguments also where the key doesn't exist.
    ("BITCOUNT", ":0", "-ERR"),
    ("BITPOS", ":", "-ERR"),
    ("BITCOUNT", "WRONGTYPE", "-ERR"),
    ("BITPOS", "WRONGTYPE", "-ERR"),
    // 7.0 negates the smallest integer, which has no opposite.
    ("LPOS", "", "value is out of range"),
    // 7.2 names the command.
    ("XREAD", "Unbalanced XREAD list", "Unbalanced 'xread' list"),
    ("XREADGROUP", "Unbalanced XREAD list", "Unbalanced 'xreadgroup' list"),
    // 7.2 added WITHSCORE.
    ("ZRANK", "wrong number of arguments", ""),
    ("ZREVRANK", "wrong number of arguments", ""),
];

fn is(argv: &[Vec<u8>], names: &[&str]) -> bool {
    names.iter().any(|name| argv[0].eq_ignore_ascii_case(name.as_bytes()))
}

/// The leaves of a reply, heads of arrays too.
fn in_order(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < reply.len() {
        let end = at + reply[at..].windows(2).position(|w| w == b"\r\n").unwrap() + 2;
        let mut stop = end;
        if matches!(reply[at], b'$' | b'=') && reply[at + 1] != b'-' {
            let n: usize = std::str::from_utf8(&reply[at + 1..end - 2]).unwrap().parse().unwrap();
            stop = end + n + 2;
        }
        all.push(reply[at..stop].to_vec());
        at = stop;
    }
    all
}

/// The leaves of a reply, sorted: the same elements in whatever order.
fn leaves(reply: &[u8], pairs: bool) -> Vec<Vec<u8>> {
    let mut all = in_order(reply);
    if pairs && all.len() % 2 == 1 {
        let mut joined: Vec<Vec<u8>> = all[1..].chunks(2).map(<[_]>::concat).collect();
        joined.push(all[0].clone());
        all = joined;
    }
    all.sort();
    all
}

fn close(a: &[u8], b: &[u8]) -> bool {
    let number = |r: &[u8]| std::str::from_utf8(r).ok()?.trim().strip_prefix(':')?.parse::<i64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b || (a >= 0 && b >= 0 && a.abs_diff(b) <= 3000),
        _ => a == b,
    }
}

/// Commands whose replies hold scores.
const SCORED: &[&str] = &[
    "ZADD",
    "ZINCRBY",
    "ZSCORE",
    "ZMSCORE",
    "ZRANK",
    "ZREVRANK",
    "ZRANGE",
    "ZREVRANGE",
    "ZRANGEBYSCORE",
    "ZREVRANGEBYSCORE",
    "ZPOPMIN",
    "ZPOPMAX",
    "ZMPOP",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "ZUNION",
    "ZINTER",
    "ZDIFF",
    "ZRANDMEMBER",
    "ZSCAN",
];

/// The same but for the spelling of scores: 7.0 writes 17 digits, 7.2 the fewest that mean the same. Of a score that differs
/// ours must be that shortest spelling and Redis' the 17 digits of the same number; everything else must be equal.
fn same_scores(theirs: &[u8], mine: &[u8]) -> bool {
    let parts = |reply: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(reply).split("\r\n").filter(|line| !line.starts_with('$')).map(str::to_owned).collect()
    };
    let (a, b) = (parts(theirs), parts(mine));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || same_score(a, b))
}

fn same_score(theirs: &str, mine: &str) -> bool {
    let (theirs, mine) = match (theirs.strip_prefix(','), mine.strip_prefix(',')) {
        (Some(theirs), Some(mine)) => (theirs, mine),
        (None, None) => (theirs, mine),
        _ => return false,
    };
    let Ok(value) = mine.parse::<f64>() else { return false };
    let (mut long, mut short) = (Vec::new(), Vec::new());
    keystead_resp::number::format_f64_17g(value, &mut long);
    keystead_resp::number::format_f64(value, &mut short);
    long == theirs.as_bytes() && short == mine.as_bytes()
}

/// Two replies from a little before the place where they part.
pub fn parting(theirs: &[u8], mine: &[u8]) -> String {
    let same = theirs.iter().zip(mine).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(60);
    let part = |r: &[u8]| String::from_utf8_lossy(&r[from..r.len().min(same + 200)]).escape_debug().to_string();
    format!("they part at byte {same}\n redis: {}\n  ours: {}", part(theirs), part(mine))
}

/// How the lines of HELP end.
const HELP_7_0: &[u8] = b"    Prints this help.\r\n";
const HELP_7_2: &[u8] = b"    Print this help.\r\n";

/// True if the replies agree.
pub fn same(argv: &[Vec<u8>], theirs: &[u8], mine: &[u8]) -> bool {
    if theirs == mine || theirs.strip_suffix(HELP_7_0) == Some(mine.strip_suffix(HELP_7_2).unwrap_or(b"no help")) {
        return true;
    }
    let both_refuse = theirs.starts_with(b"-") && mine.starts_with(b"-") && mine.contains(&0);
    if both_refuse
        && String::from_utf8_lossy(theirs).trim_end() == ended_by_nul(&String::from_utf8_lossy(mine)).trim_end()
    {
        return true;
    }
    // BY a word without a star means not to sort: a set's elements come in whatever order.
    let constant = |two: &[Vec<u8>]| two[0].eq_ignore_ascii_case(b"by") && !two[1].contains(&b'*');
    let unsorted = is(argv, &["SORT", "SORT_RO"]) && argv.windows(2).any(constant);
    if (is(argv, UNORDERED) || unsorted) && theirs[0] == mine[0] {
        return leaves(theirs, is(argv, &["HGETALL"])) == leaves(mine, is(argv, &["HGETALL"]));
    }
    if is(argv, &["XINFO", "XPENDING"]) {
        let ours = |reply| streams::timeless(argv, in_order(reply));
        return ours(theirs) == ours(mine);
    }
    if is(argv, SCORED) && same_scores(theirs, mine) {
        return true;
    }
    if is(argv, CLOCKS) {
        return close(theirs, mine);
    }
    let (theirs, mine) = (String::from_utf8_lossy(theirs), String::from_utf8_lossy(mine));
    REWORDED.iter().any(|(name, old, new)| is(argv, &[name]) && theirs.contains(old) && mine.contains(new))
}

/// Redis' errors end a client's word where C's string does, ours show it whole: `'a\0b'` is `'a'` there.
/// Line ends at the end are trimmed there.
fn ended_by_nul(mine: &str) -> String {
    let Some((before, rest)) = mine.split_once('\0') else { return mine.to_owned() };
    let end = rest.find('\'').or_else(|| rest.rfind("\r\n"));
    format!("{before}{}", end.map_or("", |end| &rest[end..]))
}

fn cmd(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.to_vec()).collect()
}

/// Compares all keys: names, types, deadlines, contents, and the digest of everything.
pub fn states(redis: &mut Redis, ours: &mut Ours, at: &str) {
    let names = cmd(&[b"KEYS", b"*"]);
    let (theirs, mine) = (redis.run(&names), ours.run(&names));
    let (sorted, sorted_mine) = (leaves(&theirs, false).concat(), leaves(&mine, false).concat());
    assert!(sorted == sorted_mine, "{at}: KEYS {}", parting(&sorted, &sorted_mine));
    let keys: Vec<Vec<u8>> = leaves(&theirs, false)
        .into_iter()
        .filter(|l| l[0] == b'$')
        .map(|l| {
            let start = l.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
            l[start..l.len() - 2].to_vec()
        })
        .collect();
    for key in keys {
        // Lists, sets and strings are named otherwise in 7.2 (listpack) or keep another form; Redis' SORT turns the
        // sorted set it reads into a skip list.
        let sorts = ["keys", "lists with many"].iter().any(|family| at.starts_with(family));
        if !sorts && matches!(&redis.run(&cmd(&[b"TYPE", &key]))[..], b"+hash\r\n" | b"+zset\r\n") {
            let question = cmd(&[b"OBJECT", b"ENCODING", &key]);
            let (theirs, mine) = (redis.run(&question), ours.run(&question));
            assert!(theirs == mine, "{at}: {} {}", show(&question), parting(&theirs, &mine));
        }
        for question in [
            cmd(&[b"TYPE", &key]),
            cmd(&[b"PEXPIRETIME", &key]),
            cmd(&[b"GET", &key]),
            cmd(&[b"LRANGE", &key, b"0", b"-1"]),
            cmd(&[b"HGETALL", &key]),
            cmd(&[b"SMEMBERS", &key]),
            cmd(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
            cmd(&[b"XRANGE", &key, b"-", b"+"]),
            cmd(&[b"XINFO", b"STREAM", &key, b"FULL", b"COUNT", b"0"]),
        ] {
            let (theirs, mine) = (redis.run(&question), ours.run(&question));
            assert!(same(&question, &theirs, &mine), "{at}: {} {}", show(&question), parting(&theirs, &mine));
        }
    }
    let digest = cmd(&[b"DEBUG", b"DIGEST"]);
    if ours.run(&digest).starts_with(b"-ERR unknown") {
        return;
    }
    assert_eq!(
        String::from_utf8_lossy(&redis.run(&digest)),
        String::from_utf8_lossy(&ours.run(&digest)),
        "{at}: DEBUG DIGEST"
    );
}
