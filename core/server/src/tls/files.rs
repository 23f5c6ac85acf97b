//! Certificates and keys from PEM files, with errors in Redis' words. Reads only plain files of a sane size: a CONFIG
//! SET must not hang on a pipe or fill the memory.

use super::verify::Authorities;
use pkcs8::der::pem::PemLabel;
use pkcs8::der::{Decode, SecretDocument};
use pkcs8::{EncryptedPrivateKeyInfoRef, pkcs5};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The largest file read: a bundle of all authorities that browsers trust is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// What is said of a key that can't be used.
const KINDS: &str = "it is damaged, or of a kind that isn't read: RSA with 2048 to 4096 bits, EC on P-256 or P-384, and \
                     Ed25519 are ('openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256' makes one)";
/// What is said of a key's encryption.
const SEALS: &str = "it is encrypted in a form that isn't read: PBES2 with AES is, to which 'openssl pkcs8 -topk8 -v2 \
                     aes-256-cbc -in OLD -out NEW' converts it (with '-provider legacy -provider default' where OLD is of \
                     an old form)";

/// The words of an error of the system, without Rust's number.
fn words(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let meta = std::fs::metadata(path).map_err(|e| words(&e))?;
    if !meta.is_file() {
        return Err("it is no plain file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| words(&e))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| words(&e))?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(format!("it is larger than {MAX_FILE} bytes")),
        false => Ok(bytes),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| format!("it is no PEM: {e}"))?;
    match all.is_empty() {
        true => Err("there is no certificate in it".into()),
        false => Ok(all),
    }
}

/// A certificate with those below it, and its key.
pub(super) fn pair(cert: &str, key: &str, pass: &str) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates(Path::new(cert)).map_err(|why| format!("Failed to load certificate: {cert}: {why}"))?;
    let failed = |why: String| format!("Failed to load private key: {key}: {why}");
    let der = read(Path::new(key)).and_then(|bytes| private_key(&bytes, pass)).map_err(failed)?;
    let signer = any_supported_type(&der).map_err(|_| failed(KINDS.into()))?;
    // The public half as it stands in the certificate. rustls' own check would refuse certificates of X.509 version 1,
    // which `openssl x509 -req` makes.
    let public = signer.public_key().ok_or_else(|| failed("its public half can't be derived".into()))?;
    let leaf: &[u8] = &chain[0];
    if !leaf.windows(public.len()).any(|part| part == &public[..]) {
        return Err(failed("key values mismatch".into()));
    }
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}

/// A key, decrypted if it is encrypted.
fn private_key(pem: &[u8], pass: &str) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(EncryptedPrivateKeyInfoRef::PEM_LABEL) {
        return decrypt(&text, pass);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(SEALS.into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| format!("there is no key in it: {e}"))
}

fn decrypt(text: &str, pass: &str) -> Result<PrivateKeyDer<'static>, String> {
    if pass.is_empty() {
        return Err("it is encrypted, and there is no tls-key-file-pass".into());
    }
    let begin = text.find("-----BEGIN ENCRYPTED").unwrap_or(0);
    let (_, document) = SecretDocument::from_pem(&text[begin..]).map_err(|e| format!("it is no PEM: {e}"))?;
    // Names of ciphers that aren't known are an error of the form already.
    let sealed = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| SEALS)?;
    let opened = sealed.decrypt(pass).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            "it can't be decrypted: tls-key-file-pass doesn't open it"
        }
        _ => SEALS,
    })?;
    PrivateKeyDer::try_from(opened.as_bytes().to_vec()).map_err(str::to_owned)
}

/// The authorities of a file and of all files of a folder.
pub(super) fn authorities(file: &str, dir: &str) -> Result<Authorities, String> {
    let (mut roots, mut kept) = (RootCertStore::empty(), Vec::new());
    if !file.is_empty() {
        let failed = |why| format!("Failed to load CA certificate(s) file: {file}: {why}");
        for certificate in certificates(Path::new(file)).map_err(failed)? {
            roots.add(certificate.clone()).map_err(|_| failed("a certificate in it is damaged".into()))?;
            kept.push(certificate);
        }
    }
    if !dir.is_empty() {
        let failed = |why| format!("Failed to load CA certificate(s) directory: {dir}: {why}");
        for entry in std::fs::read_dir(dir).map_err(|e| failed(words(&e)))? {
            let path = entry.map_err(|e| failed(words(&e)))?.path();
            // As OpenSSL, which looks only for what it needs: other files may lie there too.
            let readable = |certificate: &CertificateDer<'static>| roots.add(certificate.clone()).is_ok();
            kept.extend(certificates(&path).unwrap_or_default().into_iter().filter(readable));
        }
        if roots.is_empty() {
            return Err(failed("there is no certificate in it".into()));
        }
    }
    Ok(Authorities { roots: Arc::new(roots), certificates: kept })
}
