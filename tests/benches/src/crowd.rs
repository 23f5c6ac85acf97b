//! Primaries that aren't there: one listener at many addresses of 127/8 that answers sentinels as primaries without
//! replicas do, on one thread with one epoll, and remembers when each word came. Owns its sockets; keeps no data.

use rustix::event::epoll;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Addresses used of each 127.1.x.
const PER_NET: usize = 250;
/// The listener's number in the epoll; connections count from 0.
const LISTENER: u64 = u64::MAX;
/// Longest single read: a burst of a sentinel's words to one primary fits.
const READ: usize = 16 << 10;

/// The address of the nth primary.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "both are below 256 for the 64,000 addresses there are")]
pub fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, (n / PER_NET) as u8, (n % PER_NET + 1) as u8)
}

/// What a sentinel says by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PING on the command link.
    Ping,
    /// INFO
    Info,
    /// PUBLISH of a hello.
    Hello,
}

/// A word and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// To which primary.
    pub primary: u32,
    /// From which port: one for each link.
    pub from: u16,
    /// What.
    pub kind: Kind,
    /// When.
    pub at: Instant,
}

/// The primaries.
pub struct Crowd {
    port: u16,
    heard: Arc<Mutex<Vec<Moment>>>,
}

impl Crowd {
    /// Starts them; they live as long as this process.
    ///
    /// # Errors
    /// No socket or epoll to be had.
    pub fn start() -> io::Result<Crowd> {
        let listener = TcpListener::bind(("0.0.0.0", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let mut server =
            Server { poll, listener, links: BTreeMap::new(), next: 0, feeds: BTreeMap::new(), heard: heard.clone() };
        thread::spawn(move || server.run());
        Ok(Crowd { port, heard })
    }

    /// Their port, the same at each address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was heard since the last time this was asked.
    #[must_use]
    pub fn heard(&self) -> Vec<Moment> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Link {
    stream: TcpStream,
    primary: u32,
    from: u16,
    input: Vec<u8>,
    feed: bool,
}

struct Server {
    poll: std::os::fd::OwnedFd,
    listener: TcpListener,
    links: BTreeMap<u64, Link>,
    next: u64,
    /// Subscribers of each primary's hello channel.
    feeds: BTreeMap<u32, Vec<u64>>,
    heard: Arc<Mutex<Vec<Moment>>>,
}

impl Server {
    fn run(&mut self) {
        let mut events = Vec::with_capacity(1024);
        loop {
            events.clear();
            if epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
                continue;
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    number => self.serve(number),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, from)) = self.listener.accept() {
            let Ok(IpAddr::V4(here)) = stream.local_addr().map(|addr| addr.ip()) else { continue };
            let number = self.next;
            let data = epoll::EventData::new_u64(number);
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_ok();
            if ready && epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN).is_ok() {
                self.next += 1;
                let link = Link { stream, primary: here.to_bits(), from: from.port(), input: Vec::new(), feed: false };
                self.links.insert(number, link);
            }
        }
    }

    fn serve(&mut self, number: u64) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let mut chunk = [0; READ];
        let count = match link.stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(count) if count > 0 => count,
            _ => return drop(self.links.remove(&number)), // closing it takes it out of the epoll
        };
        link.input.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        while let Some(words) = self.links.get_mut(&number).and_then(|link| command(&mut link.input)) {
            self.answer(number, &words, &mut out);
        }
        if let Some(link) = self.links.get_mut(&number) {
            // Answers are short and the other side reads them: a full socket is one that is gone.
            let _ = link.stream.write_all(&out);
        }
    }

    fn answer(&mut self, number: u64, words: &[Vec<u8>], out: &mut Vec<u8>) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let (primary, from, feed) = (link.primary, link.from, link.feed);
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        match name.as_slice() {
            b"PING" if feed => return out.extend_from_slice(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            b"PING" => out.extend_from_slice(b"+PONG\r\n"),
            b"INFO" => {
                let text = format!(
                    "# Server\r\nrun_id:{primary:040x}\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
                );
                bulk(text.as_bytes(), out);
            }
            b"SUBSCRIBE" => {
                link.feed = true;
                self.feeds.entry(primary).or_default().push(number);
                out.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n");
                bulk(words.get(1).map_or(b"", Vec::as_slice), out);
                out.extend_from_slice(b":1\r\n");
            }
            b"PUBLISH" => {
                self.publish(primary, words);
                out.extend_from_slice(b":1\r\n");
            }
            _ => out.extend_from_slice(b"+OK\r\n"),
        }
        let kind = match name.as_slice() {
            b"PING" => Kind::Ping,
            b"INFO" => Kind::Info,
            b"PUBLISH" => Kind::Hello,
            _ => return,
        };
        let moment = Moment { primary, from, kind, at: Instant::now() };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
    }

    fn publish(&mut self, primary: u32, words: &[Vec<u8>]) {
        let mut message = b"*3\r\n$7\r\nmessage\r\n".to_vec();
        words.iter().skip(1).for_each(|word| bulk(word, &mut message));
        let links = &mut self.links;
        if let Some(feeds) = self.feeds.get_mut(&primary) {
            feeds.retain(|to| links.get_mut(to).is_some_and(|link| link.stream.write_all(&message).is_ok()));
        }
    }
}

fn bulk(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Takes one whole command, an array of bulk strings, out of the input.
fn command(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let count = number(input, &mut at)?;
    let mut words = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let length = number(input, &mut at)?;
        words.push(input.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    if at > input.len() {
        return None;
    }
    input.drain(..at);
    Some(words)
}

/// The number behind `*` or `$`, and on to the next line.
fn number(input: &[u8], at: &mut usize) -> Option<usize> {
    let line = input.get(*at..)?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    *at += end + 1;
    std::str::from_utf8(line.get(1..end)?).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_out_whole_however_they_are_cut() {
        let bytes = b"*1\r\n$4\r\nPING\r\n*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n";
        for cut in 0..bytes.len() {
            let (mut input, mut found) = (Vec::new(), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                input.extend_from_slice(part);
                while let Some(words) = command(&mut input) {
                    found.push(words.len());
                }
            }
            assert_eq!((found, input.len()), (vec![1, 3], 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_thousand_addresses_are_a_thousand() {
        let all: std::collections::BTreeSet<Ipv4Addr> = (0..1000).map(address).collect();
        assert_eq!(all.len(), 1000);
    }
}
