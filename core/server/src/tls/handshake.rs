//! Handshakes, on tasks of their own: the arithmetic of keys takes a millisecond and more, which no client of the driver
//! should wait for. Bounds their time and their number.

use super::context::Both;
use super::session::Session;
use super::stream::Stream;
use async_io::Async;
use futures::channel::oneshot;
use futures::future::{Either, select};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, Error, InvalidMessage, ServerConnection};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a handshake may take. Redis has no such limit; an honest one takes a few round trips.
const TIME: Duration = Duration::from_secs(10);
/// Handshakes at once. Beyond, the oldest is given up for the newest: those who open connections and say nothing can't
/// keep others out, and hold no more than this many descriptors.
const AT_ONCE: usize = 256;

/// The handshakes of accepted connections that are going on.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<Going>>);

#[derive(Default)]
struct Going {
    next: u64,
    /// Dropping an entry ends its handshake.
    all: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Pending {
    fn enter(&self) -> (u64, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let mut going = self.0.lock();
        if going.all.len() >= AT_ONCE {
            going.all.pop_first();
        }
        going.next += 1;
        let id = going.next;
        going.all.insert(id, end);
        (id, ended)
    }

    /// Shakes hands with who connected. The error is told in the log by the caller.
    pub(crate) async fn accept(&self, socket: TcpStream, both: &Both) -> Result<(TcpStream, Session), String> {
        let (id, ended) = self.enter();
        let connection = ServerConnection::new(both.server.clone()).map_err(|e| e.to_string())?;
        let shaking = pin!(async_std::future::timeout(TIME, shake(socket, Session::accepted(connection))));
        let done = match select(shaking, ended).await {
            Either::Left((Ok(Ok((socket, session))), _)) => {
                socket.into_inner().map(|socket| (socket, session)).map_err(|e| e.to_string())
            }
            Either::Left((Ok(Err(why)), _)) => Err(words(&why)),
            Either::Left((Err(_), _)) => Err("handshake timed out".into()),
            Either::Right(_) => Err("too many handshakes at once".into()),
        };
        self.0.lock().all.remove(&id);
        done
    }
}

/// Shakes hands with whom we connected to.
pub(crate) async fn connect(socket: TcpStream, host: &str, both: Option<&Both>) -> Result<Stream, String> {
    let Some(config) = both.and_then(|both| both.client.clone()) else {
        return Err("TLS isn't configured: tls-cert-file, tls-key-file and tls-ca-cert-file are needed".into());
    };
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED)));
    let connection = ClientConnection::new(config, name).map_err(|e| e.to_string())?;
    let session = Session::new(Connection::Client(connection));
    match async_std::future::timeout(TIME, shake(socket, session)).await {
        Ok(Ok((socket, session))) => Ok(Stream::new(socket, session)),
        Ok(Err(why)) => Err(format!("TLS handshake failed: {}", words(&why))),
        Err(_) => Err("TLS handshake timed out".into()),
    }
}

async fn shake(socket: TcpStream, mut session: Session) -> io::Result<(Async<TcpStream>, Session)> {
    let socket = Async::new(socket)?;
    loop {
        while !session.send(socket.get_ref())? {
            socket.writable().await?;
        }
        if !session.is_handshaking() {
            return Ok((socket, session));
        }
        if !session.shake(socket.get_ref())? {
            socket.readable().await?;
        }
    }
}

/// Why it failed, in words that a person who runs Redis knows.
fn words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "wrong version number: that is no TLS".into()
        }
        Some(Error::NoCertificatesPresented) => "peer did not return a certificate".into(),
        Some(Error::InvalidCertificate(why)) => format!("certificate verify failed: {why}"),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the peer closed the connection".into(),
        None => error.to_string(),
    }
}
