//! The longest time one client waits while a snapshot is open and single elements of million-element collections change.
//! The snapshot is held open by a replica that reads its full sync slowly. Prints a Markdown table.

use keystead_benches::{
    load::Random,
    peer::{Kind, Peer},
    table::{head, row},
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

const ELEMENTS: u64 = 1_000_000;
/// How long the probing goes on for each collection.
const PROBE: Duration = Duration::from_secs(2);

/// A client that waits for each reply.
struct Probe(TcpStream);

impl Probe {
    fn connect(peer: &Peer) -> io::Result<Self> {
        let stream = TcpStream::connect(peer.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(stream))
    }

    fn call(&mut self, words: &[&str]) -> io::Result<Duration> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        let start = Instant::now();
        self.0.write_all(&request)?;
        let mut reply = [0; 4096];
        let read = self.0.read(&mut reply)?;
        if read == 0 || reply[0] == b'-' {
            return Err(io::Error::other(format!("{words:?}: {}", String::from_utf8_lossy(&reply[..read]))));
        }
        Ok(start.elapsed())
    }
}

/// Elements added by one command while filling.
const FILL: u64 = 1000;

fn fill(probe: &mut Probe, kind: &str) -> io::Result<()> {
    let command = match kind {
        "list" => "RPUSH",
        "hash" => "HSET",
        "set" => "SADD",
        _ => "ZADD",
    };
    for start in (0..ELEMENTS).step_by(usize::try_from(FILL).unwrap_or(1)) {
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

/// One change of one element.
fn change(kind: &str, n: u64) -> Vec<String> {
    let words: Vec<String> = match kind {
        "list" => vec!["LSET".into(), "list".into(), n.to_string(), "changed".into()],
        "hash" => vec!["HSET".into(), "hash".into(), format!("field:{n}"), "changed".into()],
        "set" => vec!["SADD".into(), "set".into(), format!("new:{n}")],
        _ => vec!["ZADD".into(), "zset".into(), (n * 7 % ELEMENTS).to_string(), format!("member:{n}")],
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

fn worst(kind: Kind) -> io::Result<Vec<String>> {
    let peer = Peer::start(kind, None, &[])?;
    let _ = peer.call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    let mut probe = Probe::connect(&peer)?;
    for collection in ["list", "hash", "set", "zset"] {
        fill(&mut probe, collection)?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let replica = slow_replica(&peer, stop.clone())?;
    let mut cells = vec![kind.name().to_owned()];
    let mut random = Random::new(11);
    for collection in ["list", "hash", "set", "zset"] {
        let mut longest = Duration::ZERO;
        let start = Instant::now();
        while start.elapsed() < PROBE {
            let words = change(collection, random.below(ELEMENTS));
            longest = longest.max(probe.call(&words.iter().map(String::as_str).collect::<Vec<_>>())?);
        }
        cells.push(format!("{:.2}", longest.as_secs_f64() * 1e3));
    }
    stop.store(true, Ordering::Relaxed);
    let read = replica.join().map_err(|_| io::Error::other("the replica panicked"))?;
    cells.push(format!("{:.1}", f64::from(u32::try_from(read / 1024).unwrap_or(u32::MAX)) / 1024.0));
    Ok(cells)
}

fn main() -> io::Result<()> {
    println!("Four collections of {ELEMENTS} elements; milliseconds a single-element change took at worst.\n");
    println!(
        "{}",
        head(&[
            "server",
            "list (LSET)",
            "hash (HSET)",
            "set (SADD)",
            "sorted set (ZADD)",
            "MiB of the sync read meanwhile"
        ])
    );
    for kind in [Kind::Redis, Kind::Keystead] {
        println!("{}", row(&worst(kind)?));
    }
    Ok(())
}
