//! Certificates for tests, made anew for each: an authority, a server's, a client's, and bad ones. All as PEM files in a
//! folder of their own.

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use std::path::Path;
use tempfile::TempDir;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The files: `ca.crt`; `server`, `client`, `expired` and `stranger` (of an authority nobody knows), each `.crt` and `.key`.
#[derive(Debug)]
pub struct Certs {
    dir: TempDir,
}

impl Certs {
    /// Makes them.
    pub fn new() -> Certs {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (known, unknown) = (authority("tests"), authority("somebody else"));
        write(dir.path(), "ca.crt", &known.pem());
        let certs = Certs { dir };
        certs.add(&known, "server", false);
        certs.add(&known, "client", false);
        certs.add(&known, "expired", true);
        certs.add(&unknown, "stranger", false);
        certs
    }

    /// One certificate that signed itself is the authority, the server's and the client's, as `openssl req -x509` makes it;
    /// the others are as ever.
    pub fn of_one() -> Certs {
        let certs = Certs::new();
        let one = authority("one for all");
        for name in ["ca", "server", "client"] {
            write(certs.dir.path(), &format!("{name}.crt"), &one.pem());
            write(certs.dir.path(), &format!("{name}.key"), &one.key().serialize_pem());
        }
        certs
    }

    fn add(&self, authority: &Authority, name: &str, expired: bool) {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("good names");
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, authority).expect("a certificate");
        write(self.dir.path(), &format!("{name}.crt"), &certificate.pem());
        write(self.dir.path(), &format!("{name}.key"), &key.serialize_pem());
    }

    /// A file's path.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A `tls` section for a keystead instance; `more` are further fields.
    pub fn section(&self, port: u16, more: &str) -> String {
        let path = |name| crate::ron_str(&self.path(name));
        let (cert, key, ca) = (path("server.crt"), path("server.key"), path("ca.crt"));
        format!("tls: (port: {port}, cert_file: {cert}, key_file: {key}, ca_cert_file: {ca}, {more})")
    }

    /// The same for a stock redis-server's or redis-sentinel's command line or configuration: names and values.
    pub fn options(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", self.path("server.crt")),
            ("tls-key-file", self.path("server.key")),
            ("tls-ca-cert-file", self.path("ca.crt")),
            ("tls-replication", "yes".into()),
        ]
    }
}

impl Default for Certs {
    fn default() -> Self {
        Certs::new()
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("the temporary folder is writable");
}
