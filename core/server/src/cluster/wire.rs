//! What a conversation of the command line goes over: a socket, plain or with TLS.

use crate::tls;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A connection.
pub(super) enum Wire {
    /// As it is.
    Plain(TcpStream),
    /// With TLS.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Shakes hands over a socket that is there.
    pub(super) fn encrypted(mut socket: TcpStream, host: &str, config: Arc<ClientConfig>) -> io::Result<Wire> {
        let failed = |error: io::Error| io::Error::other(format!("TLS handshake failed: {}", tls::words_of(&error)));
        let mut session = ClientConnection::new(config, tls::server_name(host)).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(failed)?;
        }
        Ok(Wire::Encrypted(Box::new(StreamOwned::new(session, socket))))
    }

    /// The socket.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Encrypted(stream) => stream.get_ref(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(into),
            Wire::Encrypted(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Encrypted(stream) => stream.flush(),
        }
    }
}
