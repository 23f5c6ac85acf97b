//! The TLS parameters of one engine as CONFIG has them, typed. Checks nothing that needs a file.

use super::words;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::time::Duration;

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// No certificate.
    No,
    /// A good certificate or none.
    Optional,
    /// A good certificate.
    Yes,
}

/// The parameters.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// `tls-port`; 0: none.
    pub(crate) port: u16,
    /// `tls-replication`
    pub(crate) replication: bool,
    pub(super) clients: Clients,
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) key_pass: String,
    pub(super) client_cert: String,
    pub(super) client_key: String,
    pub(super) client_key_pass: String,
    pub(super) ca_file: String,
    pub(super) ca_dir: String,
    pub(super) protocols: String,
    pub(super) ciphers: String,
    pub(super) ciphersuites: String,
    pub(super) prefer_server_ciphers: bool,
    /// None: sessions can't be resumed.
    pub(super) cache: Option<(usize, Duration)>,
}

impl Values {
    /// Reads them through CONFIG; what a parameter's type allows was checked there.
    pub(crate) fn read(value: &dyn Fn(&str) -> String) -> Values {
        let yes = |name: &str| value(name) == "yes";
        let number = |name: &str| value(name).parse::<u64>().unwrap_or(0);
        let cache = || {
            let size = usize::try_from(number("tls-session-cache-size")).unwrap_or(usize::MAX);
            (size, Duration::from_secs(number("tls-session-cache-timeout")))
        };
        Values {
            port: u16::try_from(number("tls-port")).unwrap_or(0),
            replication: yes("tls-replication"),
            clients: match value("tls-auth-clients").as_str() {
                "no" => Clients::No,
                "optional" => Clients::Optional,
                _ => Clients::Yes,
            },
            cert: value("tls-cert-file"),
            key: value("tls-key-file"),
            key_pass: value("tls-key-file-pass"),
            client_cert: value("tls-client-cert-file"),
            client_key: value("tls-client-key-file"),
            client_key_pass: value("tls-client-key-file-pass"),
            ca_file: value("tls-ca-cert-file"),
            ca_dir: value("tls-ca-cert-dir"),
            protocols: value("tls-protocols"),
            ciphers: value("tls-ciphers"),
            ciphersuites: value("tls-ciphersuites"),
            prefer_server_ciphers: yes("tls-prefer-server-ciphers"),
            cache: yes("tls-session-caching").then(cache),
        }
    }

    /// Anything is on that needs certificates.
    pub(crate) fn needed(&self) -> bool {
        self.port != 0 || self.replication
    }

    pub(super) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        words::protocols(&self.protocols)
    }

    pub(super) fn suites(&self) -> Result<Vec<SupportedCipherSuite>, String> {
        words::suites(&self.ciphers, &self.ciphersuites)
    }
}
