//! The longest time others wait while one client changes, deletes or replaces whole collections of a million elements, and
//! while tables grow and shrink. One client pings all the time, another does what a row says. Prints a Markdown table.

use keystead_benches::{
    peer::{Kind, Peer},
    probe::{Probe, Worst},
    table::head,
    watch::Watch,
};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{REPETITIONS, line};

/// Commands in one write while a table grows or shrinks.
const PIPELINE: usize = 16;
/// How long others are watched behind a row: what is freed or expires later must not keep them waiting either.
const AFTER: Duration = Duration::from_millis(500);

/// A row: what it is called, what makes ready for it, what is measured. `%` is half the number of elements.
struct Row(&'static str, &'static [&'static str], &'static [&'static str]);

/// Redis documents those from LTRIM on as O(N), and frees at once what DEL, an expiry and SET take away.
const ROWS: &[Row] = &[
    Row("DEL of a list", &["COPY list a"], &["DEL a"]),
    Row("DEL of a hash", &["COPY hash a"], &["DEL a"]),
    Row("DEL of a set", &["COPY set a"], &["DEL a"]),
    Row("DEL of a sorted set", &["COPY zset a"], &["DEL a"]),
    Row("UNLINK of a sorted set", &["COPY zset a"], &["UNLINK a"]),
    Row("a sorted set expires", &["COPY zset a"], &["PEXPIRE a 50"]),
    Row("SET over a hash", &["COPY hash a"], &["SET a 1"]),
    Row("LTRIM to half", &["COPY list a"], &["LTRIM a 0 %"]),
    Row("SPOP of half", &["COPY set a"], &["SPOP a %"]),
    Row("ZREMRANGEBYRANK of half", &["COPY zset a"], &["ZREMRANGEBYRANK a 0 %"]),
    Row("ZREMRANGEBYSCORE of half", &["COPY zset a"], &["ZREMRANGEBYSCORE a -inf (%"]),
    Row("SUNIONSTORE of two", &[], &["SUNIONSTORE a set other"]),
    Row("COPY of a hash", &[], &["COPY hash a"]),
    Row("SMEMBERS", &[], &["SMEMBERS set"]),
    Row("SORT of a set, BY nosort", &[], &["SORT set BY nosort LIMIT 0 10"]),
    Row("SORT of a list", &[], &["SORT list ALPHA LIMIT 0 10"]),
];

/// Words of a command.
type Words = Vec<String>;

/// The rows of one server. Collections named `list`, `hash`, `set` and `zset` are there.
fn rows(peer: &Peer, elements: u64, fill: impl Fn(&Peer, u64) -> io::Result<()>) -> io::Result<()> {
    let mut client = Probe::connect(peer)?;
    for n in (0..elements / 2).step_by(1000) {
        let members = (n..n + 1000).map(|n| format!("other:{n}"));
        client.calls(&[["SADD".to_owned(), "other".to_owned()].into_iter().chain(members).collect()])?;
    }
    for Row(name, ready, measured) in ROWS {
        let all = |lines: &[&str]| -> Vec<Words> {
            let half = (elements / 2).to_string();
            lines.iter().map(|line| line.replace('%', &half).split(' ').map(str::to_owned).collect()).collect()
        };
        let once = || {
            all(ready).into_iter().try_for_each(|line| client.calls(&[line]).map(drop))?;
            let worst =
                watched(peer, |client| all(measured).into_iter().try_for_each(|line| client.calls(&[line]).map(drop)))?;
            client.call(&["DEL", "a"])?;
            Ok(worst)
        };
        line(peer, name, &repeated(once)?);
    }
    grows_and_shrinks(peer, elements, "the table of keys", |n| {
        ["SET", "DEL"].map(|word| {
            let value = (word == "SET").then(|| "x".to_owned());
            [word.to_owned(), format!("key:{n:012}")].into_iter().chain(value).collect()
        })
    })?;
    grows_and_shrinks(peer, elements, "a set", |n| {
        ["SADD", "SREM"].map(|word| vec![word.to_owned(), "a".to_owned(), format!("element:{n}")])
    })?;
    for (name, command) in [
        ("KEYS that finds nothing", ["KEYS", "nothing"]),
        ("FLUSHALL ASYNC", ["FLUSHALL", "ASYNC"]),
        ("FLUSHALL", ["FLUSHALL", "SYNC"]),
    ] {
        let once = || {
            client.call(&["FLUSHALL"])?;
            fill(peer, elements)?;
            peer.fill(elements, 8)?;
            watched(peer, |client| client.call(&command).map(drop))
        };
        line(peer, name, &repeated(once)?);
    }
    Ok(())
}

/// A row for a table that grows by a million commands and one for it shrinking again.
fn grows_and_shrinks(peer: &Peer, elements: u64, name: &str, commands: impl Fn(u64) -> [Words; 2]) -> io::Result<()> {
    let both = || -> io::Result<[Worst; 2]> {
        let [grows, shrinks] =
            [0, 1].map(|way| watched(peer, |client| each(client, elements, |n| commands(n)[way].clone())));
        Ok([grows?, shrinks?])
    };
    let repetitions = repeated(both)?;
    for (way, word) in ["grows", "shrinks"].into_iter().enumerate() {
        line(peer, &format!("{name} {word}"), &repetitions.iter().map(|both| both[way]).collect::<Vec<_>>());
    }
    Ok(())
}

fn repeated<T>(mut once: impl FnMut() -> io::Result<T>) -> io::Result<Vec<T>> {
    (0..REPETITIONS).map(|_| once()).collect()
}

/// One command for each number, some in a write.
fn each(client: &mut Probe, elements: u64, command: impl Fn(u64) -> Vec<String>) -> io::Result<()> {
    for begin in (0..elements).step_by(PIPELINE) {
        client.calls(&(begin..).take(PIPELINE).map(&command).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Does something on a connection of its own while another client pings; how long that one waited.
fn watched(peer: &Peer, work: impl FnOnce(&mut Probe) -> io::Result<()>) -> io::Result<Worst> {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let pinging = scope.spawn(|| -> io::Result<Worst> {
            let mut client = Probe::connect(peer)?;
            let mut watch = Watch::of(peer.pid(), |name| ["clients", "redis-server"].contains(&name));
            let mut worst = Worst::default();
            client.call(&["PING"])?;
            watch.look();
            begun.store(true, Ordering::Release);
            while !done.load(Ordering::Acquire) {
                let seen = client.call(&["PING"])?;
                worst.add(seen, watch.look());
            }
            Ok(worst)
        });
        while !begun.load(Ordering::Acquire) && !pinging.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        let worked = Probe::connect(peer).and_then(|mut client| work(&mut client));
        thread::sleep(AFTER);
        done.store(true, Ordering::Release);
        let worst = pinging.join().unwrap_or_else(|_| Err(io::Error::other("the pinging client panicked")));
        worked.and(worst)
    })
}

/// The second table, of both servers.
pub fn table(elements: u64, fill: impl Fn(&Peer, u64) -> io::Result<()>) -> io::Result<()> {
    println!(
        "\nWhat others wait (PING on a connection of their own) while one client does this to {elements} elements, \
         and {} ms after; milliseconds at worst, the median of {REPETITIONS} times (and the least and the most).\n",
        AFTER.as_millis()
    );
    let columns = ["server", "what", "seen by another", "less waiting for a processor", "processor time of one thread"];
    println!("{}", head(&columns));
    [Kind::Redis, Kind::Keystead].into_iter().try_for_each(|kind| {
        let peer = Peer::start(kind, None, &[])?;
        fill(&peer, elements)?;
        rows(&peer, elements, &fill)
    })
}
