//! A few commands of each family against redis-server, as `throughput` does it: 50 clients, without pipeline and with
//! sixteen. Prints a Markdown table and what of it is slower than it should be: nothing below redis-server, and what takes
//! constant time at sixteen not below half as much again.
//!
//! Of what a command costs that does next to nothing, most is the kernel's work for the socket, which is the same whoever
//! asks for it: what misses its ratio at sixteen is shown once more by what the servers' own code costs.
//!
//! `families [--rounds N] [--seconds S] [--only hash,list]`

use keystead_benches::{
    load::Work,
    pair::{self, Pair},
    peer::{Kind, Peer},
    proc,
    table::{head, row, short},
};
use std::{io, time::Duration};

/// Keys of each kind: as many as don't fit a processor's cache, as in any server worth its name.
const KEYS: u64 = 100_000;
/// Entries of each stream before the run.
const ENTRIES: u64 = 20;
const CLIENTS: usize = 50;

/// One row: family, command, whether it takes constant time. `{n}` is the number of a key.
type Row = (&'static str, &'static str, bool);

const ROWS: &[Row] = &[
    ("connection", "PING", true),
    ("connection", "ECHO 0123456789abcdef", true),
    ("string", "GET string:{n}", true),
    ("string", "SETEX new:{n} 1000 0123456789abcdef", true),
    ("string", "INCRBYFLOAT float:{n} 0.5", true),
    ("string", "GETRANGE string:{n} 2 9", true),
    ("string", "SETRANGE string:{n} 2 abc", true),
    ("string", "MGET string:{n} string:{n} string:{n} string:{n} string:{n} string:{n} string:{n} string:{n}", false),
    ("string", "MSET new:{n} 1 new:{n} 2 new:{n} 3 new:{n} 4 new:{n} 5 new:{n} 6 new:{n} 7 new:{n} 8", false),
    ("key", "EXISTS string:{n}", true),
    ("key", "EXPIRE string:{n} 100000", true),
    ("key", "TTL string:{n}", true),
    ("key", "TYPE hash:{n}", true),
    ("key", "COPY string:{n} copy:{n} REPLACE", true),
    ("key", "DUMP string:{n}", true),
    ("hash", "HGET hash:{n} field:5", true),
    ("hash", "HSET hash:{n} field:5 0123456789", true),
    ("hash", "HINCRBY counts:{n} field 1", true),
    ("hash", "HMGET hash:{n} field:1 field:5 field:9", false),
    ("hash", "HGETALL hash:{n}", false),
    ("list", "LMOVE list:{n} list:{n} LEFT RIGHT", true),
    ("list", "LLEN list:{n}", true),
    ("list", "LINDEX list:{n} 50", false),
    ("list", "LRANGE list:{n} 0 9", false),
    ("set", "SADD set:{n} member:5", true),
    ("set", "SISMEMBER set:{n} member:5", true),
    ("set", "SCARD set:{n}", true),
    ("set", "SRANDMEMBER set:{n}", true),
    ("set", "SINTER set:{n} set:{n}", false),
    ("sorted set", "ZSCORE zset:{n} member:50", true),
    ("sorted set", "ZADD zset:{n} 77 member:50", false),
    ("sorted set", "ZINCRBY zset:{n} 1 member:50", false),
    ("sorted set", "ZRANK zset:{n} member:50", false),
    ("sorted set", "ZRANGE zset:{n} 0 9", false),
    ("sorted set", "ZRANGEBYSCORE zset:{n} 20 30", false),
    ("bitmap", "SETBIT bits:{n} 700 1", true),
    ("bitmap", "GETBIT bits:{n} 700", true),
    ("bitmap", "BITCOUNT bits:{n}", false),
    ("bitmap", "BITFIELD bits:{n} INCRBY u8 8 1", true),
    ("hyperloglog", "PFADD hll:{n} member:{n}", true),
    ("hyperloglog", "PFCOUNT hll:{n}", true),
    ("geo", "GEOADD geo:{n} 13.4 52.5 place:5", false),
    ("geo", "GEOPOS geo:{n} place:5", true),
    ("geo", "GEOSEARCH geo:{n} FROMLONLAT 13.4 52.5 BYRADIUS 10 km", false),
    ("stream", "XADD stream:{n} MAXLEN ~ 200 * field 0123456789", true),
    ("stream", "XLEN stream:{n}", true),
    ("stream", "XRANGE stream:{n} - + COUNT 10", false),
    ("pub/sub", "PUBLISH channel:{n} 0123456789", true),
    ("scripting", "EVAL return{redis.call('GET',KEYS[1])} 1 string:{n}", true),
    ("server", "OBJECT ENCODING hash:{n}", true),
    ("server", "CLIENT ID", true),
    ("server", "DBSIZE", true),
];

/// Fills a server: what the rows read.
fn fill(peer: &Peer) -> io::Result<()> {
    let elements = |key: u64, command: &str, kind: &str, count: u64, element: fn(u64) -> String| {
        let elements: Vec<String> = (0..count).map(element).collect();
        words(&format!("{command} {kind}:{key:012} {}", elements.join(" ")))
    };
    peer.feed((0..KEYS).flat_map(move |key| {
        [
            words(&format!("SET string:{key:012} 0123456789abcdef")),
            words(&format!("SETRANGE bits:{key:012} 99 x")),
            elements(key, "HSET", "hash", 10, |n| format!("field:{n} 0123456789")),
            elements(key, "RPUSH", "list", 100, |n| format!("element:{n}")),
            elements(key, "SADD", "set", 10, |n| format!("member:{n}")),
            elements(key, "ZADD", "zset", 100, |n| format!("{n} member:{n}")),
            elements(key, "PFADD", "hll", 20, |n| format!("member:{n}")),
            elements(key, "GEOADD", "geo", 20, |n| format!("13.4 52.{n:02} place:{n}")),
        ]
    }))?;
    let entry = |key: u64| words(&format!("XADD stream:{key:012} * field 0123456789"));
    peer.feed((0..KEYS).flat_map(move |key| (0..ENTRIES).map(move |_| entry(key))))
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The least ratio a row should show.
fn least((_, _, constant): &Row, pipeline: usize) -> f64 {
    if *constant && pipeline > 1 { 1.5 } else { 1.0 }
}

fn main() -> io::Result<()> {
    let (mut rounds, mut seconds, mut only) = (5, 0.25, String::new());
    let mut options = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (options.next(), options.next()) {
        match name.as_str() {
            "--rounds" => rounds = value.parse().map_err(io::Error::other)?,
            "--seconds" => seconds = value.parse().map_err(io::Error::other)?,
            "--only" => only = value,
            other => return Err(io::Error::other(format!("unknown option {other}"))),
        }
    }
    let pinned = proc::processors() > 1;
    if pinned {
        proc::pin_self(1);
    }
    let server_cpu = pinned.then_some(0);
    let (redis, ours) = (Peer::start(Kind::Redis, server_cpu, &[])?, Peer::start(Kind::Keystead, server_cpu, &[])?);
    let chosen = |family: &str| only.is_empty() || only.split(',').any(|wanted| wanted == family);
    let rows = ROWS.iter().filter(|(family, ..)| chosen(family));
    if rows.clone().any(|(family, command, _)| *family != "pub/sub" && command.contains("{n}")) {
        for peer in [&redis, &ours] {
            fill(peer)?;
        }
    }
    println!(
        "{CLIENTS} clients. Server pinned to one processor, client on the other: {pinned}. Rounds: {rounds}, {seconds} s each, \
         alternating. Median (min–max).\n"
    );
    println!("{}", head(&[&["family", "command", "pipeline"], &Pair::HEAD[..]].concat()));
    let (mut slow, mut bound) = (Vec::new(), Vec::new());
    for one in rows {
        for pipeline in [1, 16] {
            let time = Duration::from_secs_f64(seconds);
            let work = Work { command: words(one.1), keys: KEYS, clients: CLIENTS, pipeline, time };
            let pair = pair::measure(one.1, &work, &[&redis, &ours], rounds)?;
            let head = [one.0.to_owned(), format!("`{}`", one.1.replace('|', "\\|")), pipeline.to_string()];
            println!("{}", row(&[&head[..], &pair.cells()].concat()));
            let (ratio, least) = (pair.rate_ratio(), least(one, pipeline));
            if ratio < least {
                slow.push(format!("`{}` at {pipeline}: {}", one.1, short(ratio)));
            }
            if (1.0..least).contains(&ratio) {
                bound.push(row(&[&head[..], &pair.own_cells()].concat()));
            }
        }
    }
    println!("\nBelow what is wanted: {}.", if slow.is_empty() { "nothing".to_owned() } else { slow.join("; ") });
    if !bound.is_empty() {
        println!("\nFaster, but by less than half: what of it is the servers' own code, and what the kernel's.\n");
        println!("{}", head(&[&["family", "command", "pipeline"], &Pair::OWN_HEAD[..]].concat()));
        bound.iter().for_each(|row| println!("{row}"));
    }
    Ok(())
}
