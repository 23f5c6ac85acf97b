//! A client's socket, TCP, TLS or unix, as one type. Owns the descriptor, and with TLS the keys, and nothing else.

use crate::tls;
use async_io::Async;
use async_std::net::TcpStream;
use async_std::os::unix::net::UnixStream;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What one attempt to read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// So many bytes.
    Bytes {
        /// How many; with TLS 0 too, while a record isn't whole.
        count: usize,
        /// There may be more.
        more: bool,
    },
    /// Nothing at this moment.
    Nothing,
    /// The peer has ended, or the connection is broken.
    Ended,
}

/// A connected stream as the kernel gave it: non-blocking, known to no reactor yet. A driver polls it itself.
pub(crate) enum Raw {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
    /// Over TCP with TLS.
    Tls(Box<Encrypted>),
}

/// A socket and its session. Says goodbye when it is dropped.
pub(crate) struct Encrypted {
    pub(crate) socket: std::net::TcpStream,
    /// None only while it is taken apart.
    session: Option<tls::Session>,
}

impl Encrypted {
    /// From a handshake that is done.
    pub(crate) fn new(socket: std::net::TcpStream, session: tls::Session) -> Encrypted {
        Encrypted { socket, session: Some(session) }
    }

    /// See [`tls::Session::read`].
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>) -> Arrived {
        self.session.as_mut().map_or(Arrived::Ended, |session| session.read(&self.socket, buffer))
    }

    /// See [`tls::Session::write`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.as_mut().map_or(Ok(0), |session| session.write(&self.socket, bytes))
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.close(&self.socket);
        }
    }
}

impl Raw {
    /// The descriptor's number, for CLIENT LIST.
    pub(crate) fn fd(&self) -> RawFd {
        match self {
            Raw::Tcp(stream) => stream.as_raw_fd(),
            Raw::Unix(stream) => stream.as_raw_fd(),
            Raw::Tls(encrypted) => encrypted.socket.as_raw_fd(),
        }
    }

    /// The runtime polls it from now on. An error when the runtime can't watch it.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Raw::Tcp(stream) => Socket::Tcp(stream.into()),
            Raw::Unix(stream) => Socket::Unix(stream.into()),
            Raw::Tls(mut encrypted) => {
                let Some(session) = encrypted.session.take() else { return Err(io::ErrorKind::NotConnected.into()) };
                let socket = Async::new(encrypted.socket.try_clone()?)?;
                Socket::Tls(Arc::new(tls::Stream::new(socket, session)))
            }
        })
    }
}

/// A connected stream of the runtime; a clone is the same socket.
#[derive(Clone, Debug)]
pub(crate) enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP with TLS.
    Tls(Arc<tls::Stream>),
}

/// The same done to either kind of plain stream, and something else to TLS.
macro_rules! each {
    ($socket:expr, $stream:ident => $what:expr, $tls:ident => $other:expr) => {
        match $socket {
            Socket::Tcp($stream) => $what,
            Socket::Unix($stream) => $what,
            Socket::Tls($tls) => $other,
        }
    };
}

impl Socket {
    /// Ends both directions at once; later reads and writes fail.
    pub(crate) fn shutdown(&self) {
        let _ = each!(self, stream => stream.shutdown(std::net::Shutdown::Both), tls => tls.shutdown());
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf), tls => tls.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf), tls => tls.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx), tls => tls.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_close(cx), tls => tls.poll_close(cx))
    }
}
