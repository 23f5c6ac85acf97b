//! The TLS side of one connection between its socket and the plain bytes. Does no more than the socket allows at this
//! moment, waits for nothing; the driver and `stream` say when.

use crate::net::socket::Arrived;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustls::{Connection, ServerConnection};
use std::io::{self, BufRead, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;

/// Bytes taken from the socket at once: one record with all around it fits.
const READ: usize = 20 * 1024;
/// Plain bytes whose records wait for the socket: rustls takes no more at once than its own buffer holds.
const WRITE: usize = 64 * 1024;

/// A connection's keys and what is between the two sides.
pub(crate) struct Session {
    connection: Connection,
    /// Plain bytes that came with the end of the handshake.
    early: Vec<u8>,
    /// Plain bytes given to rustls whose records haven't all left; their giver isn't told yet.
    inflight: usize,
    /// The peer has said that nothing more comes, or has broken the rules.
    ended: bool,
    /// Why it ended, if there is more to say than that.
    trouble: Option<io::Error>,
}

impl Session {
    /// A handshake that has not begun.
    pub(crate) fn new(connection: Connection) -> Session {
        Session { connection, early: Vec::new(), inflight: 0, ended: false, trouble: None }
    }

    /// The same for an accepted connection.
    pub(crate) fn accepted(connection: ServerConnection) -> Session {
        Session::new(Connection::Server(connection))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer's first message is here whole, and makes sense.
    pub(super) fn was_greeted(&self) -> bool {
        self.connection.handshake_kind().is_some()
    }

    /// Reads once from the socket and goes on with the handshake; false: nothing came yet.
    pub(super) fn shake(&mut self, socket: &TcpStream) -> io::Result<bool> {
        let mut early = std::mem::take(&mut self.early);
        let taken = self.receive(socket, &mut early);
        self.early = early;
        match taken? {
            Taken::Bytes(_) => Ok(true),
            Taken::Nothing => Ok(false),
            Taken::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads what one look at the socket brings, decrypted, behind what is in the buffer.
    pub(crate) fn read(&mut self, socket: &TcpStream, buffer: &mut Vec<u8>) -> Arrived {
        if !self.early.is_empty() {
            let count = self.early.len();
            buffer.append(&mut std::mem::take(&mut self.early));
            return Arrived::Bytes { count, more: true };
        }
        if self.ended {
            return Arrived::Ended;
        }
        let before = buffer.len();
        let taken = self.receive(socket, buffer).unwrap_or_else(|why| {
            log::debug!("A TLS connection ends: {why}");
            self.trouble = Some(why);
            Taken::Ended
        });
        let count = buffer.len() - before;
        match taken {
            Taken::Bytes(raw) => {
                // Only while most of it is payload: the reader's budget counts nothing else.
                Arrived::Bytes { count, more: (raw == READ && count > READ / 2) || self.ended }
            }
            _ if count > 0 => Arrived::Bytes { count, more: true },
            Taken::Nothing => Arrived::Nothing,
            Taken::Ended => Arrived::Ended,
        }
    }

    /// Why it ended, said once: that the peer takes no certificate of ours, say, which TLS 1.3 tells behind the handshake.
    pub(super) fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    fn receive(&mut self, socket: &TcpStream, plain: &mut Vec<u8>) -> io::Result<Taken> {
        let mut room = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut raw: &[u8] = match rustix::net::recv(socket, &mut room[..], RecvFlags::DONTWAIT) {
            Ok(((_, _), 0)) | Err(Errno::CONNRESET) => {
                self.ended = true;
                return Ok(Taken::Ended);
            }
            Ok(((bytes, _), _)) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Taken::Nothing),
            Err(error) => return Err(error.into()),
        };
        let count = raw.len();
        while !raw.is_empty() && !self.ended {
            self.connection.read_tls(&mut raw)?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(why) => {
                    self.ended = true;
                    // The peer should learn why.
                    let _ = self.send(socket);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            };
            drain(&mut self.connection.reader(), plain)?;
            self.ended = state.peer_has_closed();
        }
        if self.connection.wants_write() {
            // An answer of the protocol's own. If the socket takes nothing now, it goes with the next write.
            self.send(socket)?;
        }
        Ok(Taken::Bytes(count))
    }

    /// Encrypts and sends. The bytes that left whole; 0: the socket takes nothing now, and the call must be repeated with
    /// the same bytes first. An error means that the connection is broken.
    pub(crate) fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if self.inflight == 0 {
            // What the protocol still has to say goes first, so that rustls has room for what it promised to take.
            if !self.send(socket)? {
                return Ok(0);
            }
            self.inflight = self.connection.writer().write(&bytes[..bytes.len().min(WRITE)])?;
        }
        match self.send(socket)? {
            true => Ok(std::mem::take(&mut self.inflight)),
            false => Ok(0),
        }
    }

    /// Encrypts and begins to send. The bytes taken, which `send` brings to their end; 0: none, the socket is full.
    pub(super) fn put(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.send(socket)? {
            return Ok(0);
        }
        let count = self.connection.writer().write(&bytes[..bytes.len().min(WRITE)])?;
        self.send(socket)?;
        Ok(count)
    }

    /// Sends records that wait; true: all have left.
    pub(super) fn send(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Out(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Tells the peer that nothing more comes, as far as the socket takes it.
    pub(crate) fn close(&mut self, socket: &TcpStream) {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify();
            let _ = self.send(socket);
        }
    }
}

/// What came from the socket.
enum Taken {
    /// So many bytes of records.
    Bytes(usize),
    Nothing,
    Ended,
}

fn drain(reader: &mut rustls::Reader<'_>, plain: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let count = match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(bytes) => {
                plain.extend_from_slice(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        reader.consume(count);
    }
}

/// The socket as rustls writes to it: several records with one call, no waiting, no signal.
struct Out<'a>(&'a TcpStream);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let (mut none, flags) = (SendAncillaryBuffer::default(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        Ok(rustix::net::sendmsg(self.0, parts, &mut none, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
