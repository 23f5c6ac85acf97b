//! A TLS connection as a stream of the runtime, for plugins: links that were made, sockets that were taken over.

use super::handshake::words;
use super::session::Session;
use crate::net::socket::Arrived;
use async_io::Async;
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Time between two lines in the same words.
const REPEAT: Duration = Duration::from_secs(30);

/// The stream. Reader and writer may be two tasks: each waits for the socket by itself, neither while it holds the session.
pub(crate) struct Stream {
    socket: Async<TcpStream>,
    inner: Mutex<Inner>,
}

struct Inner {
    session: Session,
    /// Decrypted bytes; those before `at` are read.
    plain: Vec<u8>,
    at: usize,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls {:?}", self.socket.get_ref())
    }
}

impl Stream {
    /// From a session whose handshake is done.
    pub(crate) fn new(socket: Async<TcpStream>, session: Session) -> Stream {
        Stream { socket, inner: Mutex::new(Inner { session, plain: Vec::new(), at: 0 }) }
    }

    /// The socket, for its addresses.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// Ends both directions at once.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.socket.get_ref().shutdown(std::net::Shutdown::Both)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(read) = self.inner.lock().read(self.socket.get_ref(), buf) {
                return Poll::Ready(read);
            }
            ready!(self.socket.poll_readable(cx))?;
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.inner.lock().session.put(self.socket.get_ref(), buf)?;
            if taken > 0 || buf.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.socket.poll_writable(cx))?;
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.inner.lock().session.send(self.socket.get_ref())? {
            ready!(self.socket.poll_writable(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that nothing more comes, behind all that was written.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.inner.lock().session.close(self.socket.get_ref());
        Poll::Ready(self.socket.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

/// A plugin only sees that it ended, so the log says why; not each second, at which links are tried again.
fn tell(line: String) {
    static LAST: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    let mut last = LAST.lock();
    if !last.as_ref().is_some_and(|(said, at)| *said == line && at.elapsed() < REPEAT) {
        log::warn!("{line}");
        *last = Some((line, Instant::now()));
    }
}

impl Inner {
    /// None: nothing is there now.
    fn read(&mut self, socket: &TcpStream, buf: &mut [u8]) -> Option<io::Result<usize>> {
        while self.at == self.plain.len() {
            self.plain.clear();
            self.at = 0;
            match self.session.read(socket, &mut self.plain) {
                Arrived::Bytes { .. } => {}
                Arrived::Nothing => return None,
                Arrived::Ended => {
                    if let (Some(why), Ok(peer)) = (self.session.take_trouble(), socket.peer_addr()) {
                        tell(format!("The TLS connection with {peer} ends: {}", words(&why)));
                    }
                    return Some(Ok(0));
                }
            }
        }
        let rest = &self.plain[self.at..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Some(Ok(count))
    }
}
