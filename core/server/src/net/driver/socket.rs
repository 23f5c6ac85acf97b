//! Reading and writing a client's raw socket without waiting. Decides nothing.

use super::super::socket::{Arrived, Raw};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Raw::Tcp(stream) => stream.as_fd(),
            Raw::Unix(stream) => stream.as_fd(),
            Raw::Tls(encrypted) => encrypted.socket.as_fd(),
        }
    }
}

/// Reads once into the spare room of `buffer`, of which there must be some.
pub(super) fn read(socket: &mut Raw, buffer: &mut Vec<u8>) -> Arrived {
    if let Raw::Tls(encrypted) = socket {
        return encrypted.read(buffer);
    }
    let room = buffer.capacity() - buffer.len();
    match rustix::net::recv(&*socket, rustix::buffer::spare_capacity(buffer), RecvFlags::DONTWAIT) {
        Ok((0, _)) => Arrived::Ended,
        Ok((count, _)) => Arrived::Bytes { count, more: count == room },
        Err(Errno::AGAIN | Errno::INTR) => Arrived::Nothing,
        Err(_) => Arrived::Ended,
    }
}

/// Writes what the socket takes; 0 when it takes nothing now (the same bytes must come first again). An error means that
/// the connection is broken.
pub(super) fn write(socket: &mut Raw, bytes: &[u8]) -> io::Result<usize> {
    if let Raw::Tls(encrypted) = socket {
        return encrypted.write(bytes);
    }
    match rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
