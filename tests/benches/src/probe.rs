//! One client that waits for each reply, and the worst that it met.

use crate::{peer::Peer, proc::Sched, table::cell};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// A client that waits for each reply.
pub struct Probe(TcpStream);

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn connect(peer: &Peer) -> io::Result<Self> {
        let stream = TcpStream::connect(peer.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(stream))
    }

    /// Sends a command and waits for the first bytes of its reply; how long that took.
    ///
    /// # Errors
    /// When the connection ends, or an error is answered.
    pub fn call(&mut self, words: &[&str]) -> io::Result<Duration> {
        self.calls(&[words.iter().map(|word| (*word).to_owned()).collect()])
    }

    /// The same for several commands in one write, each with a reply of one short line; until all are there.
    ///
    /// # Errors
    /// When the connection ends, or an error is answered.
    pub fn calls(&mut self, commands: &[Vec<String>]) -> io::Result<Duration> {
        let mut request = Vec::new();
        for words in commands {
            request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
        let start = Instant::now();
        self.0.write_all(&request)?;
        let (mut reply, mut lines) = ([0; 4096], 0);
        while lines < commands.len() {
            let read = self.0.read(&mut reply)?;
            if read == 0 || reply[0] == b'-' {
                let told = String::from_utf8_lossy(&reply[..read]);
                return Err(io::Error::other(format!("{:?}: {told}", commands.first())));
            }
            lines += reply[..read].iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(start.elapsed())
    }
}

/// The worst of all waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// As the client saw it.
    pub seen: Duration,
    /// What is left of one without the time that threads waited for a processor.
    pub unexplained: Duration,
    /// The most that one thread ran.
    pub ran: Duration,
}

impl Worst {
    /// One more.
    pub fn add(&mut self, seen: Duration, sched: Sched) {
        self.seen = self.seen.max(seen);
        self.unexplained = self.unexplained.max(seen.saturating_sub(sched.waited));
        self.ran = self.ran.max(sched.ran);
    }

    /// The cells of a table that say what several repetitions met at worst, in milliseconds. What the server does, it does in
    /// each; what the machine does comes and goes.
    #[must_use]
    pub fn cells(repetitions: &[Self]) -> [String; 3] {
        [|one: &Self| one.seen, |one: &Self| one.unexplained, |one: &Self| one.ran]
            .map(|which| cell(&repetitions.iter().map(|one| which(one).as_secs_f64() * 1e3).collect::<Vec<_>>()))
    }
}
