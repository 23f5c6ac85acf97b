//! A load generator: one thread, one epoll, prebuilt requests whose keys are patched in place. It costs about half of
//! redis-benchmark per request, so that the server is what is measured. Counts replies; never looks into them but for
//! their length and a leading `-`.

use rustix::event::epoll;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Digits of a key's number in every request: `key:000000012345` is 16 bytes.
const KEY_DIGITS: usize = 12;
/// Longest single read; a batch of 64 replies of 64 bytes fits.
const READ_SIZE: usize = 64 * 1024;

/// What is sent, again and again.
#[derive(Clone, Debug)]
pub struct Work {
    /// Arguments; `{key}` stands for `key:` and twelve digits drawn from `keys`, `{n}` for the digits alone.
    pub command: Vec<String>,
    /// How many different keys.
    pub keys: u64,
    /// Clients at once.
    pub clients: usize,
    /// Requests a client sends before it waits for their replies.
    pub pipeline: usize,
    /// How long to run.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Replies received.
    pub requests: u64,
    /// Of them errors.
    pub errors: u64,
    /// How long it took.
    pub time: Duration,
}

impl Outcome {
    /// Requests per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a benchmark's count fits a double")]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }
}

/// A request with the places where its key's digits stand.
struct Template {
    bytes: Vec<u8>,
    digits: Vec<usize>,
}

impl Template {
    fn new(command: &[String], pipeline: usize) -> Self {
        let mut bytes = Vec::new();
        let mut digits = Vec::new();
        for _ in 0..pipeline {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for argument in command {
                let text = argument.replace("{key}", "key:{n}");
                let zeros = "0".repeat(KEY_DIGITS);
                let filled = text.replace("{n}", &zeros);
                bytes.extend_from_slice(format!("${}\r\n", filled.len()).as_bytes());
                if let Some(at) = text.find("{n}") {
                    digits.push(bytes.len() + at);
                }
                bytes.extend_from_slice(filled.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
        }
        Self { bytes, digits }
    }

    fn fill(&mut self, random: &mut Random, keys: u64) {
        for at in &self.digits {
            let mut number = random.below(keys);
            for digit in self.bytes[*at..*at + KEY_DIGITS].iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        }
    }
}

/// xorshift64*: good enough to spread keys, and cheap.
pub struct Random(u64);

impl Random {
    /// A generator that repeats itself for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit.max(1)
    }
}

/// Counts whole replies in a stream of simple strings, errors, integers, bulk strings and arrays of them.
#[derive(Default)]
pub(crate) struct Counter {
    /// Bytes of a bulk string still to be skipped.
    skip: usize,
    /// Elements of open arrays still to come, each of which is no reply of its own.
    inner: usize,
    line: Vec<u8>,
    errors: u64,
}

impl Counter {
    /// Error replies so far.
    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    /// Takes the next bytes of the stream; tells how many replies ended in them.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut done = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                if self.skip == 0 {
                    done += self.finish();
                }
                continue;
            }
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let kind = *self.line.first().unwrap_or(&bytes[0]);
            match kind {
                b'$' | b'*' => {
                    self.line.extend_from_slice(&bytes[..end]);
                    let length =
                        std::str::from_utf8(&self.line[1..]).ok().and_then(|t| t.trim_end().parse::<i64>().ok());
                    match (kind, usize::try_from(length.unwrap_or(-1))) {
                        (b'$', Ok(length)) => self.skip = length + 2,
                        (b'*', Ok(elements)) if elements > 0 => self.inner += elements + usize::from(self.inner == 0),
                        _ => {}
                    }
                    if self.skip == 0 {
                        done += self.finish();
                    }
                }
                other => {
                    self.errors += u64::from(other == b'-');
                    done += self.finish();
                }
            }
            self.line.clear();
            bytes = &bytes[end + 1..];
        }
        done
    }

    /// One element ended: a reply if no array is open, or the last of one.
    fn finish(&mut self) -> usize {
        if self.inner == 0 {
            return 1;
        }
        self.inner -= 1;
        usize::from(self.inner == 0)
    }
}

struct Client {
    stream: TcpStream,
    counter: Counter,
    waiting: usize,
}

/// Runs `work` against the server at `address`.
///
/// # Errors
/// When the server can't be reached or closes a connection.
pub fn run(address: SocketAddr, work: &Work, seed: u64) -> io::Result<Outcome> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::with_capacity(work.clients);
    for index in 0..work.clients {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        clients.push(Client { stream, counter: Counter::default(), waiting: 0 });
    }
    let mut template = Template::new(&work.command, work.pipeline);
    let mut random = Random::new(seed);
    let mut events = Vec::with_capacity(work.clients.max(16));
    let mut buffer = vec![0; READ_SIZE];
    let mut outcome = Outcome { requests: 0, errors: 0, time: Duration::ZERO };
    let start = Instant::now();
    for client in &mut clients {
        send(client, &mut template, &mut random, work)?;
    }
    let mut open = clients.len();
    while open > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        let stopping = start.elapsed() >= work.time;
        for event in &events {
            let client = &mut clients[usize::try_from(event.data.u64()).unwrap_or(0)];
            let read = match client.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let replies = client.counter.count(&buffer[..read]);
            outcome.requests += replies as u64;
            client.waiting = client.waiting.saturating_sub(replies);
            if client.waiting == 0 {
                if stopping {
                    epoll::delete(&poll, &client.stream)?;
                    open -= 1;
                } else {
                    send(client, &mut template, &mut random, work)?;
                }
            }
        }
    }
    outcome.time = start.elapsed();
    outcome.errors = clients.iter().map(|c| c.counter.errors).sum();
    Ok(outcome)
}

fn send(client: &mut Client, template: &mut Template, random: &mut Random, work: &Work) -> io::Result<()> {
    template.fill(random, work.keys);
    client.waiting = work.pipeline;
    let mut rest = &template.bytes[..];
    while !rest.is_empty() {
        match client.stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            // The batch is far smaller than a socket buffer; a full one empties as the server reads.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_across_any_split() {
        let stream = b"+OK\r\n$3\r\nabc\r\n:12\r\n$-1\r\n*2\r\n$1\r\na\r\n:1\r\n-ERR no\r\n*0\r\n$0\r\n\r\n";
        for split in 0..stream.len() {
            let mut counter = Counter::default();
            let count = counter.count(&stream[..split]) + counter.count(&stream[split..]);
            assert_eq!((count, counter.errors), (8, 1), "split at {split}");
        }
    }

    #[test]
    fn keys_are_patched_in_place() {
        let mut template = Template::new(&["SET".into(), "{key}".into(), "v".into()], 2);
        template.fill(&mut Random::new(7), 1000);
        let text = String::from_utf8(template.bytes.clone()).unwrap();
        assert_eq!(text.matches("$16\r\nkey:000000000").count(), 2, "{text}");
    }
}
