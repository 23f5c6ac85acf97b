//! Reading and writing a client's raw socket without waiting. Decides nothing.

use super::super::socket::Raw;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Raw::Tcp(stream) => stream.as_fd(),
            Raw::Unix(stream) => stream.as_fd(),
        }
    }
}

/// What one attempt to read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// So many bytes.
    Bytes {
        /// How many.
        count: usize,
        /// They filled the room: there may be more.
        more: bool,
    },
    /// Nothing at this moment.
    Nothing,
    /// The peer has ended, or the connection is broken.
    Ended,
}

/// Reads once into the spare room of `buffer`, of which there must be some.
pub(super) fn read(socket: &Raw, buffer: &mut Vec<u8>) -> Arrived {
    let room = buffer.capacity() - buffer.len();
    match rustix::net::recv(socket, rustix::buffer::spare_capacity(buffer), RecvFlags::DONTWAIT) {
        Ok((0, _)) => Arrived::Ended,
        Ok((count, _)) => Arrived::Bytes { count, more: count == room },
        Err(Errno::AGAIN | Errno::INTR) => Arrived::Nothing,
        Err(_) => Arrived::Ended,
    }
}

/// Writes what the socket takes; 0 when it takes nothing now. An error means that the connection is broken.
pub(super) fn write(socket: &Raw, bytes: &[u8]) -> io::Result<usize> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
