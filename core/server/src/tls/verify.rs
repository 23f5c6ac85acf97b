//! How the other side is checked: its certificate must come from one of our authorities, or be the certificate of one, and be
//! in its time. Its name is not compared, as in Redis: nodes are known by addresses that change.
//!
//! That an authority's own certificate is a peer's, which `openssl req -x509` makes of a single one, is no hole: who has its
//! key could issue any other. It must be the same to the byte, and the handshake shows that the peer has the key.

use super::validity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Whom we trust.
#[derive(Debug)]
pub(super) struct Authorities {
    /// To look for who issued a certificate.
    pub(super) roots: Arc<RootCertStore>,
    /// Their certificates as they are.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// What is to be said of a certificate that is an authority's itself; None of any other.
    fn of_its_own(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), Error>> {
        let same = self.certificates.iter().any(|known| known == certificate);
        let read = || ParsedCertificate::try_from(certificate).map(drop);
        same.then(|| read().and_then(|()| Ok(validity::check(certificate, now)?)))
    }
}

/// Any client that one of the authorities vouches for.
#[derive(Debug)]
pub(super) struct Known {
    /// Those whose certificates they issued.
    pub(super) issued: Arc<dyn ClientCertVerifier>,
    pub(super) known: Arc<Authorities>,
}

impl ClientCertVerifier for Known {
    fn offer_client_auth(&self) -> bool {
        self.issued.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.issued.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issued.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.known.of_its_own(end_entity, now) {
            Some(checked) => checked.map(|()| ClientCertVerified::assertion()),
            None => self.issued.verify_client_cert(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// Any node that one of the authorities vouches for.
#[derive(Debug)]
pub(super) struct Vouched {
    pub(super) known: Arc<Authorities>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(checked) = self.known.of_its_own(end_entity, now) {
            return checked.map(|()| ServerCertVerified::assertion());
        }
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.known.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
