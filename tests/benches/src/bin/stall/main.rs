//! The longest time one client waits while a snapshot is open and single elements of million-element collections change.
//! The snapshot is held open by a replica that reads its full sync slowly. Prints a Markdown table; a second one is `whole.rs`'.
//!
//! A client may also wait because the machine gave the processor to somebody else. The scheduler says how long threads
//! waited for one, so the table tells both: what the client saw, and what is left without such waiting; beside it the
//! most processor time any thread but the snapshot's own took for one change. A virtual machine's host takes processors away
//! and no counter says when; so each row is measured several times, and what the server does comes in each.

mod whole;

use keystead_benches::{
    load::Random,
    peer::{Kind, Peer},
    probe::{Probe, Worst},
    table::{head, row},
    watch::Watch,
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Elements of a collection, if no argument says otherwise.
const ELEMENTS: u64 = 1_000_000;
/// How long the probing goes on for each collection, each time.
const PROBE: Duration = Duration::from_secs(2);
/// How often each row is measured.
const REPETITIONS: usize = 5;

/// Elements added by one command while filling.
const FILL: u64 = 1000;

fn fill(probe: &mut Probe, kind: &str, elements: u64) -> io::Result<()> {
    let command = match kind {
        "list" => "RPUSH",
        "hash" => "HSET",
        "set" => "SADD",
        _ => "ZADD",
    };
    for start in (0..elements).step_by(usize::try_from(FILL).unwrap_or(1)) {
        let mut words = vec![command.to_owned(), kind.to_owned()];
        for n in start..start + FILL {
            match kind {
                "hash" => words.extend([format!("field:{n}"), format!("value:{n}")]),
                "zset" => words.extend([n.to_string(), format!("member:{n}")]),
                _ => words.push(format!("element:{n}")),
            }
        }
        probe.call(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn fill_all(peer: &Peer, elements: u64) -> io::Result<()> {
    let mut probe = Probe::connect(peer)?;
    ["list", "hash", "set", "zset"].into_iter().try_for_each(|kind| fill(&mut probe, kind, elements))
}

/// One change of one element.
fn change(kind: &str, n: u64, elements: u64) -> Vec<String> {
    let words: Vec<String> = match kind {
        "list" => vec!["LSET".into(), "list".into(), n.to_string(), "changed".into()],
        "hash" => vec!["HSET".into(), "hash".into(), format!("field:{n}"), "changed".into()],
        "set" => vec!["SADD".into(), "set".into(), format!("new:{n}")],
        _ => vec!["ZADD".into(), "zset".into(), (n * 7 % elements).to_string(), format!("member:{n}")],
    };
    words
}

/// Asks for a full sync and reads it at a trickle until told to stop.
fn slow_replica(peer: &Peer, stop: Arc<AtomicBool>) -> io::Result<thread::JoinHandle<u64>> {
    let mut stream = TcpStream::connect(peer.address)?;
    stream.write_all(b"*3\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n")?;
    let mut reply = [0; 64];
    stream.read_exact(&mut reply[..5])?;
    stream.write_all(b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(thread::spawn(move || {
        let mut total = 0;
        let mut buffer = [0; 16 * 1024];
        while !stop.load(Ordering::Relaxed) {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => total += read as u64,
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(5));
        }
        total
    }))
}

/// Prints a row.
fn line(peer: &Peer, what: &str, repetitions: &[Worst]) {
    let cells = [peer.kind.name(), what].map(str::to_owned).into_iter();
    println!("{}", row(&cells.chain(Worst::cells(repetitions)).collect::<Vec<_>>()));
}

fn worst(kind: Kind, elements: u64) -> io::Result<()> {
    let peer = Peer::start(kind, None, &[])?;
    let _ = peer.call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    let mut probe = Probe::connect(&peer)?;
    fill_all(&peer, elements)?;
    let stop = Arc::new(AtomicBool::new(false));
    let replica = slow_replica(&peer, stop.clone())?;
    let mut random = Random::new(11);
    for (collection, command) in [("list", "LSET"), ("hash", "HSET"), ("set", "SADD"), ("zset", "ZADD")] {
        let mut watch = Watch::new(peer.pid());
        let mut once = || -> io::Result<Worst> {
            let (mut worst, start) = (Worst::default(), Instant::now());
            while start.elapsed() < PROBE {
                let words = change(collection, random.below(elements), elements);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                watch.look();
                let seen = probe.call(&words)?;
                worst.add(seen, watch.look());
            }
            Ok(worst)
        };
        let repetitions = (0..REPETITIONS).map(|_| once()).collect::<io::Result<Vec<_>>>()?;
        line(&peer, command, &repetitions);
    }
    stop.store(true, Ordering::Relaxed);
    let read = replica.join().map_err(|_| io::Error::other("the replica panicked"))?;
    if read == 0 {
        return Err(io::Error::other("the replica got nothing: no snapshot was open"));
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let elements = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(ELEMENTS);
    println!(
        "Four collections of {elements} elements, one element changed at a time for {} s each; milliseconds at worst, the \
         median of {REPETITIONS} times (and the least and the most).\n",
        PROBE.as_secs()
    );
    println!(
        "{}",
        head(&[
            "server",
            "change",
            "seen by the client",
            "less waiting for a processor",
            "processor time of one thread"
        ])
    );
    [Kind::Redis, Kind::Keystead].into_iter().try_for_each(|kind| worst(kind, elements))?;
    whole::table(elements, fill_all)
}
