//! What an engine's TLS is made of at this moment: one configuration for accepted connections, one for those made. Made
//! from the parameters and the files as a whole, swapped as a whole: a mistake leaves the old one in force. Connections
//! that are there keep what they began with.

use super::files;
use super::sessions::Sessions;
use super::validity;
use super::values::{Clients, Values};
use super::verify::{Authorities, Known, Vouched};
use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// Both configurations.
pub(crate) struct Both {
    /// For accepted connections.
    pub(crate) server: Arc<ServerConfig>,
    /// For those made; None without authorities, who could tell a friend from anybody?
    pub(crate) client: Option<Arc<ClientConfig>>,
    /// What an operator should know of the files: lines for the log.
    pub(crate) warnings: Vec<String>,
}

/// What is in force.
#[derive(Default)]
pub(crate) struct Context(ArcSwapOption<Both>);

impl Context {
    /// What is in force; None: TLS is off.
    pub(crate) fn now(&self) -> Option<Arc<Both>> {
        self.0.load_full()
    }

    /// Puts in force what was made, or was in force before.
    pub(crate) fn put(&self, both: Option<Arc<Both>>) {
        self.0.store(both);
    }
}

impl Both {
    /// Reads the files and makes both. The error is the line for the log.
    pub(crate) fn make(values: &Values) -> Result<Arc<Both>, String> {
        if values.cert.is_empty() {
            return Err("No tls-cert-file configured!".into());
        }
        if values.key.is_empty() {
            return Err("No tls-key-file configured!".into());
        }
        let authorities = !values.ca_file.is_empty() || !values.ca_dir.is_empty();
        if (values.clients != Clients::No || values.replication) && !authorities {
            return Err(
                "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
                        tls-auth-clients are enabled!"
                    .into(),
            );
        }
        let provider = Arc::new(CryptoProvider { cipher_suites: values.suites()?, ..default_provider() });
        let known = Arc::new(files::authorities(&values.ca_file, &values.ca_dir)?);
        let own = files::pair(&values.cert, &values.key, &values.key_pass)?;
        let outgoing = match (values.client_cert.is_empty(), values.client_key.is_empty()) {
            (true, true) => own.clone(),
            (false, false) => files::pair(&values.client_cert, &values.client_key, &values.client_key_pass)?,
            (true, false) => return Err("No tls-client-cert-file configured!".into()),
            (false, true) => return Err("No tls-client-key-file configured!".into()),
        };
        let mut warnings = validity::warnings(&values.cert, &own.cert);
        if !values.client_cert.is_empty() {
            warnings.extend(validity::warnings(&values.client_cert, &outgoing.cert));
        }
        let client = authorities.then(|| client(values, &provider, known.clone(), Some(outgoing))).transpose()?;
        Ok(Arc::new(Both { server: server(values, &provider, known, own)?, client, warnings }))
    }
}

fn told(error: impl std::fmt::Display) -> String {
    format!("Failed to configure TLS: {error}")
}

fn server(
    values: &Values,
    provider: &Arc<CryptoProvider>,
    known: Arc<Authorities>,
    own: Arc<CertifiedKey>,
) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&values.versions()?);
    let builder = builder.map_err(told)?;
    let builder = match values.clients {
        Clients::No => builder.with_no_client_auth(),
        asked => {
            let verifier = WebPkiClientVerifier::builder_with_provider(known.roots.clone(), provider.clone());
            let verifier = if asked == Clients::Optional { verifier.allow_unauthenticated() } else { verifier };
            let issued = verifier.build().map_err(told)?;
            builder.with_client_cert_verifier(Arc::new(Known { issued, known }))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.ignore_client_order = values.prefer_server_ciphers;
    config.session_storage = match values.cache {
        Some((size, timeout)) => Arc::new(Sessions::new(size, timeout)),
        None => Arc::new(NoServerSessionStorage {}),
    };
    if values.cache.is_none() {
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// For a tool that asks a server: with the authorities of its port and, if it wants one, a certificate of the tool's own.
pub(crate) fn asking(values: &Values) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(CryptoProvider { cipher_suites: values.suites()?, ..default_provider() });
    let known = Arc::new(files::authorities(&values.ca_file, &values.ca_dir)?);
    let own = (!values.cert.is_empty()).then(|| files::pair(&values.cert, &values.key, &values.key_pass));
    client(values, &provider, known, own.transpose()?)
}

fn client(
    values: &Values,
    provider: &Arc<CryptoProvider>,
    known: Arc<Authorities>,
    own: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&values.versions()?);
    let verifier = Vouched { known, algorithms: provider.signature_verification_algorithms };
    let builder = builder.map_err(told)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    // As Redis: a node is no name.
    config.enable_sni = false;
    Ok(Arc::new(config))
}
