//! Handshakes, on tasks of their own: the arithmetic of keys takes a millisecond and more, which no client of the driver
//! should wait for. Bounds their time. Their number is bounded in `crowd.rs`.

use super::context::Both;
use super::crowd::Place;
use super::session::Session;
use super::stream::Stream;
use async_io::Async;
use futures::future::{Either, select};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, Connection, Error, InvalidMessage, ServerConnection};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a handshake may take. Redis has no such limit; an honest one takes a few round trips.
const TIME: Duration = Duration::from_secs(10);

/// Why an accepted connection has no session.
pub(crate) enum NotShaken {
    /// It was given up for others. The log is told elsewhere, of all of them together.
    Crowded,
    /// To be told by the caller.
    Failed(String),
}

/// Shakes hands with who connected and has a place.
pub(crate) async fn accept(socket: TcpStream, place: Place, both: &Both) -> Result<(TcpStream, Session), NotShaken> {
    let failed = NotShaken::Failed;
    let connection = ServerConnection::new(both.server.clone()).map_err(|e| failed(e.to_string()))?;
    let socket = Arc::new(Async::new(socket).map_err(|e| failed(e.to_string()))?);
    let ended = place.begin(socket.clone());
    let shaking = shake(&socket, Session::accepted(connection), || place.heard());
    let shaken = match select(pin!(async_std::future::timeout(TIME, shaking)), ended).await {
        Either::Left((Ok(done), _)) => done.map_err(|why| failed(words(&why))),
        Either::Left((Err(_), _)) => Err(failed("handshake timed out".into())),
        Either::Right(_) => Err(NotShaken::Crowded),
    };
    // Nobody else has the socket behind that.
    drop(place);
    let session = shaken?;
    let socket = Arc::into_inner(socket).ok_or_else(|| failed("its socket is in use".into()))?;
    let socket = socket.into_inner().map_err(|e| failed(e.to_string()))?;
    Ok((socket, session))
}

/// Shakes hands with whom we connected to.
pub(crate) async fn connect(socket: TcpStream, host: &str, both: Option<&Both>) -> Result<Stream, String> {
    let Some(config) = both.and_then(|both| both.client.clone()) else {
        return Err("TLS isn't configured: tls-cert-file, tls-key-file and tls-ca-cert-file are needed".into());
    };
    let connection = ClientConnection::new(config, server_name(host)).map_err(|e| e.to_string())?;
    let session = Session::new(Connection::Client(connection));
    let socket = Async::new(socket).map_err(|e| e.to_string())?;
    let heard = AtomicBool::new(false);
    let shaking = shake(&socket, session, || heard.store(true, Ordering::Relaxed));
    match async_std::future::timeout(TIME, shaking).await {
        Ok(Ok(session)) => Ok(Stream::new(socket, session)),
        Ok(Err(why)) => Err(format!("TLS handshake failed: {}", words(&why))),
        Err(_) if heard.into_inner() => Err("TLS handshake timed out".into()),
        // A stock server waits for the end of a line that never comes.
        Err(_) => Err("TLS handshake timed out: the peer says nothing (is that a port without TLS?)".into()),
    }
}

/// What rustls wants to know; nobody compares it (`verify.rs`).
pub(crate) fn server_name(host: &str) -> ServerName<'static> {
    let nobody = || ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| nobody())
}

/// `heard` is called whenever the peer said something, from its whole greeting on.
async fn shake(socket: &Async<TcpStream>, mut session: Session, heard: impl Fn()) -> io::Result<Session> {
    loop {
        while !session.send(socket.get_ref())? {
            socket.writable().await?;
        }
        if !session.is_handshaking() {
            return Ok(session);
        }
        match session.shake(socket.get_ref())? {
            true if session.was_greeted() => heard(),
            true => {}
            false => socket.readable().await?,
        }
    }
}

/// Why it failed, in words that a person who runs Redis knows.
pub(crate) fn words(error: &io::Error) -> String {
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
