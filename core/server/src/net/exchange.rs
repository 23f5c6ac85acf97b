//! Conversations with other servers on behalf of a command (MIGRATE): blocking sockets on a thread that may wait, kept for a
//! while so that many keys need one connection. Owns the sockets; what is said is the engine's.

use keystead_engine::offload::{Exchange, Exchanged, IoFailure};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most connections that are kept (`MIGRATE_SOCKET_CACHE_ITEMS`).
const MOST_KEPT: usize = 64;
/// How long a connection is kept unused (`MIGRATE_SOCKET_CACHE_TTL`).
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(10);
/// The longest line an answer may have, as Redis' buffer.
const LONGEST_LINE: u64 = 1024;

/// One connection.
struct Peer {
    stream: BufReader<TcpStream>,
    /// What is selected there, once that is known.
    db: Option<i64>,
    used: Instant,
}

/// Connections to other servers that may be used again.
pub(crate) struct Peers {
    kept: Mutex<BTreeMap<String, Peer>>,
    /// How many, for INFO.
    count: Arc<AtomicU64>,
}

/// How far a conversation came before it broke off.
struct Broken {
    why: IoFailure,
    accepted: Vec<bool>,
    refused: Option<String>,
    /// A new connection may do better: nothing was answered yet, and it isn't that time ran out.
    again: bool,
}

impl Peers {
    /// None yet; their number is shown in `count`.
    pub(crate) fn new(count: Arc<AtomicU64>) -> Peers {
        Peers { kept: Mutex::default(), count }
    }

    /// Something with those that are kept.
    fn with<T>(&self, body: impl FnOnce(&mut BTreeMap<String, Peer>) -> T) -> T {
        let mut kept = self.kept.lock();
        let result = body(&mut kept);
        self.count.store(kept.len() as u64, Ordering::Relaxed);
        result
    }

    /// Says everything and hears the answers. A kept connection that turns out to be dead is replaced once.
    pub(crate) fn exchange(&self, exchange: &Exchange) -> Exchanged {
        let name = format!("{}:{}", exchange.host, exchange.port);
        let mut broken = None;
        for first in [true, false] {
            let mut peer = match self.take(&name).map_or_else(|| connect(exchange), Ok) {
                Ok(peer) => peer,
                // Redis connects without waiting: that nobody listens shows when it writes.
                Err(error) => {
                    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                    let why = if refused { IoFailure::Writing } else { IoFailure::Connecting };
                    return Exchanged { failure: Some(why), ..Exchanged::default() };
                }
            };
            match talk(&mut peer, exchange) {
                Ok(done) => {
                    self.keep(name, peer);
                    return done;
                }
                Err(end) => {
                    let again = end.again && first;
                    broken = Some(end);
                    if !again {
                        break;
                    }
                }
            }
        }
        let failed = broken.map(|end| (end.accepted, end.refused, end.why));
        let (accepted, refused, why) = failed.unwrap_or((Vec::new(), None, IoFailure::Connecting));
        Exchanged { accepted, refused, failure: Some(why) }
    }

    fn take(&self, name: &str) -> Option<Peer> {
        self.with(|kept| kept.remove(name))
    }

    fn keep(&self, name: String, mut peer: Peer) {
        peer.used = Instant::now();
        self.with(|kept| {
            if kept.len() >= MOST_KEPT {
                kept.pop_first();
            }
            kept.insert(name, peer);
        });
    }

    /// Closes what wasn't used for a while.
    pub(crate) fn close_idle(&self) {
        self.with(|kept| kept.retain(|_, peer| peer.used.elapsed() < KEPT_FOR));
    }
}

fn connect(exchange: &Exchange) -> io::Result<Peer> {
    let limit = Duration::from_millis(exchange.timeout_ms);
    // As atoi reads it: what follows the digits doesn't count.
    let digits: String = exchange.port.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = digits.parse().map_err(io::Error::other)?;
    let mut last = io::Error::other("no address");
    for address in (exchange.host.as_str(), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Peer { stream: BufReader::new(stream), db: None, used: Instant::now() });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn talk(peer: &mut Peer, exchange: &Exchange) -> Result<Exchanged, Broken> {
    let broken = |why, error: &io::Error| Broken { why, accepted: Vec::new(), refused: None, again: !timed_out(error) };
    let limit = Some(Duration::from_millis(exchange.timeout_ms));
    let socket = peer.stream.get_ref();
    let set = socket.set_read_timeout(limit).and_then(|()| socket.set_write_timeout(limit));
    set.map_err(|error| broken(IoFailure::Writing, &error))?;
    let opening = opening(peer.db, exchange);
    let said = opening.iter().chain(&exchange.commands).try_for_each(|words| peer.stream.get_mut().write_all(words));
    said.map_err(|error| broken(IoFailure::Writing, &error))?;
    let mut refused = None;
    for _ in &opening {
        let line = line(peer).map_err(|error| broken(IoFailure::Reading, &error))?;
        refused = refused.or(error_of(&line));
    }
    let opened = refused.is_none();
    let mut accepted = Vec::with_capacity(exchange.commands.len());
    for _ in &exchange.commands {
        match line(peer) {
            Ok(line) => {
                let error = error_of(&line);
                accepted.push(opened && error.is_none());
                refused = refused.or(error);
            }
            Err(error) => {
                let again = accepted.is_empty() && refused.is_none() && !timed_out(&error);
                return Err(Broken { why: IoFailure::Reading, accepted, refused, again });
            }
        }
    }
    peer.db = refused.is_none().then_some(exchange.db);
    Ok(Exchanged { accepted, refused, failure: None })
}

/// AUTH and SELECT, where they are needed.
fn opening(selected: Option<i64>, exchange: &Exchange) -> Vec<Vec<u8>> {
    let command = |words: &[&[u8]]| {
        let mut out = Vec::new();
        keystead_engine::resp::write_command(&mut out, words.iter().copied());
        out
    };
    let auth = exchange.auth.as_ref().map(|(user, password)| match user {
        Some(user) => command(&[b"AUTH", user, password]),
        None => command(&[b"AUTH", password]),
    });
    let db = exchange.db.to_string();
    let select = (selected != Some(exchange.db)).then(|| command(&[b"SELECT", db.as_bytes()]));
    auth.into_iter().chain(select).collect()
}

/// The next line, without its end.
fn line(peer: &mut Peer) -> io::Result<String> {
    use io::Read;
    let mut bytes = Vec::new();
    (&mut peer.stream).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    if !bytes.ends_with(b"\n") {
        return Err(io::Error::other("the other side closed the connection, or its answer is no line"));
    }
    Ok(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

fn error_of(line: &str) -> Option<String> {
    line.strip_prefix('-').map(str::to_owned)
}
