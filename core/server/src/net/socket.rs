//! A client's socket, TCP or unix, as one type. Owns the descriptor and nothing else.

use async_std::net::TcpStream;
use async_std::os::unix::net::UnixStream;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connected stream as the kernel gave it: non-blocking, known to no reactor yet. A driver polls it itself.
#[derive(Debug)]
pub(crate) enum Raw {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Raw {
    /// The descriptor's number, for CLIENT LIST.
    pub(crate) fn fd(&self) -> RawFd {
        match self {
            Raw::Tcp(stream) => stream.as_raw_fd(),
            Raw::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl From<Raw> for Socket {
    fn from(raw: Raw) -> Socket {
        match raw {
            Raw::Tcp(stream) => Socket::Tcp(stream.into()),
            Raw::Unix(stream) => Socket::Unix(stream.into()),
        }
    }
}

/// A connected stream of the runtime; a clone is the same socket.
#[derive(Clone, Debug)]
pub(crate) enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

macro_rules! each {
    ($socket:expr, $stream:ident => $what:expr) => {
        match $socket {
            Socket::Tcp($stream) => $what,
            Socket::Unix($stream) => $what,
        }
    };
}

impl Socket {
    /// Ends both directions at once; later reads and writes fail.
    pub(crate) fn shutdown(&self) {
        let _ = each!(self, stream => stream.shutdown(std::net::Shutdown::Both));
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_close(cx))
    }
}
