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
use rustls::{CertificateError, ClientConnection, Connection, Error, InvalidMessage, ServerConnection};
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

/// How often the log says that handshakes were given up: whoever floods us must not fill a disk.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Why an accepted connection has no session.
pub(crate) enum NotShaken {
    /// It was given up for newer ones. The log is told here, of all of them together.
    Crowded,
    /// To be told by the caller.
    Failed(String),
}

/// The handshakes of accepted connections that are going on.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<Going>>);

#[derive(Default)]
struct Going {
    next: u64,
    /// Dropping an entry ends its handshake.
    all: BTreeMap<u64, oneshot::Sender<()>>,
    /// Given up since the log was told.
    crowded: u64,
}

impl Pending {
    fn enter(&self) -> (u64, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let mut going = self.0.lock();
        if going.all.len() >= AT_ONCE {
            going.all.pop_first();
            going.crowded += 1;
            if going.crowded == 1 {
                async_std::task::spawn(self.clone().tell_crowded());
            }
        }
        going.next += 1;
        let id = going.next;
        going.all.insert(id, end);
        (id, ended)
    }

    async fn tell_crowded(self) {
        async_std::task::sleep(TOLD_EVERY).await;
        let count = std::mem::take(&mut self.0.lock().crowded);
        log::warn!(
            "Error accepting client connections: too many handshakes at once, {count} were given up for newer ones"
        );
    }

    /// Shakes hands with who connected.
    pub(crate) async fn accept(&self, socket: TcpStream, both: &Both) -> Result<(TcpStream, Session), NotShaken> {
        let (id, ended) = self.enter();
        let failed = NotShaken::Failed;
        let connection = ServerConnection::new(both.server.clone()).map_err(|e| failed(e.to_string()))?;
        let shaking = pin!(async_std::future::timeout(TIME, shake(socket, Session::accepted(connection))));
        let done = match select(shaking, ended).await {
            Either::Left((Ok(Ok((socket, session))), _)) => {
                socket.into_inner().map(|socket| (socket, session)).map_err(|e| failed(e.to_string()))
            }
            Either::Left((Ok(Err(why)), _)) => Err(failed(words(&why))),
            Either::Left((Err(_), _)) => Err(failed("handshake timed out".into())),
            Either::Right(_) => Err(NotShaken::Crowded),
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
        Some(Error::InvalidCertificate(why)) => format!("certificate verify failed: {}", certificate(why)),
        Some(Error::AlertReceived(alert)) => format!("the peer refused it: {}", spaced(&format!("{alert:?}"))),
        Some(Error::PeerIncompatible(why)) => format!("nothing in common: {}", spaced(&format!("{why:?}"))),
        Some(Error::PeerMisbehaved(why)) => format!("the peer breaks the rules: {}", spaced(&format!("{why:?}"))),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the peer closed the connection".into(),
        None => error.to_string(),
    }
}

/// What is wrong with the peer's certificate.
fn certificate(why: &CertificateError) -> String {
    use CertificateError as E;
    #[allow(deprecated)]
    let text = match why {
        E::Expired | E::ExpiredContext { .. } => "certificate expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "certificate is not yet valid",
        E::UnknownIssuer => "it comes from no authority that is known here",
        E::BadEncoding => "it can't be read",
        E::BadSignature => "its signature is wrong",
        E::UnhandledCriticalExtension => "it has a critical extension that isn't known here",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "it was issued for another purpose",
        E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it or one above it has a key or a signature of a kind that isn't read: RSA with 2048 to 8192 bits, EC on P-256 \
             or P-384, and Ed25519 are"
        }
        E::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is an authority's, and none of those that are known here",
            "UnsupportedCriticalExtension" => "it has a critical extension that isn't known here",
            "UnsupportedCertVersion" => "it isn't of X.509 version 3",
            other => return spaced(other),
        },
        other => return other.to_string(),
    };
    text.to_owned()
}

/// A name of several words that are written as one.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && text.ends_with(|before: char| before.is_lowercase()) {
            text.push(' ');
        }
        text.push(letter);
    }
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_no_names_of_rust_s() {
        let told = |error: Error| words(&io::Error::other(error));
        let (expired, issuer) = (CertificateError::Expired, CertificateError::UnknownIssuer);
        assert_eq!(told(expired.into()), "certificate verify failed: certificate expired");
        assert_eq!(told(issuer.into()), "certificate verify failed: it comes from no authority that is known here");
        let kinds = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![1, 2],
            supported_algorithms: Vec::new(),
        };
        assert!(told(kinds.into()).contains("of a kind that isn't read"));
        let alert = Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        assert_eq!(told(alert), "the peer refused it: certificate required");
        let other =
            |name: &str| CertificateError::Other(rustls::OtherError(Arc::new(io::Error::other(name.to_owned()))));
        assert!(told(other("CaUsedAsEndEntity").into()).ends_with("none of those that are known here"));
        assert!(told(other("PathLenConstraintViolated").into()).ends_with(": path len constraint violated"));
    }
}
