//! Protocols and ciphers in OpenSSL's words, as Redis' parameters have them, to what rustls offers. Pure.

use rustls::crypto::ring::cipher_suite as suite;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// OpenSSL's names of what there is for TLS 1.2, in the order of preference.
const TLS12: [(&str, SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The same for TLS 1.3.
const TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// OpenSSL's words for sets that hold all of ours.
const EVERYTHING: [&str; 7] = ["DEFAULT", "ALL", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH"];
/// Sets that hold those of ours whose names have this in them.
const BY_NAME: [(&str, &str); 8] = [
    ("AESGCM", "-GCM-"),
    ("AES", "-AES"),
    ("AES128", "-AES128-"),
    ("AES256", "-AES256-"),
    ("CHACHA20", "-CHACHA20-"),
    ("aRSA", "-RSA-"),
    ("ECDSA", "-ECDSA-"),
    ("aECDSA", "-ECDSA-"),
];
/// Sets that hold none of ours, so that excluding them is fulfilled.
const NONE_OF_OURS: [&str; 33] = [
    "aNULL", "eNULL", "NULL", "ADH", "AECDH", "LOW", "MEDIUM", "EXP", "EXPORT", "MD5", "SHA1", "SHA", "RC2", "RC4",
    "DES", "3DES", "IDEA", "SEED", "CAMELLIA", "ARIA", "PSK", "SRP", "DSS", "kRSA", "RSA", "DH", "DHE", "EDH", "kDHE",
    "kEDH", "ECDH", "AESCCM", "CBC",
];

/// `tls-protocols`: TLSv1.2 and TLSv1.3, or both for the empty text.
pub(super) fn protocols(text: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    for word in text.split_whitespace() {
        versions.push(match word.to_ascii_lowercase().as_str() {
            "tlsv1.2" => &version::TLS12,
            "tlsv1.3" => &version::TLS13,
            "tlsv1" | "tlsv1.1" => {
                return Err(format!(
                    "tls-protocols: {word} is not offered, it is broken: use 'TLSv1.2' and 'TLSv1.3'."
                ));
            }
            _ => return Err("Invalid tls-protocols specified. Use a combination of 'TLSv1.2' and 'TLSv1.3'.".into()),
        });
    }
    match versions.is_empty() {
        true => Ok(vec![&version::TLS13, &version::TLS12]),
        false => Ok(versions),
    }
}

/// `tls-ciphers` (TLS 1.2) and `tls-ciphersuites` (TLS 1.3); empty: all there are.
pub(super) fn suites(ciphers: &str, ciphersuites: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut all = chosen(ciphersuites, &TLS13).map_err(|why| format!("Failed to configure ciphersuites: {why}"))?;
    all.extend(chosen(ciphers, &TLS12).map_err(|why| format!("Failed to configure ciphers: {why}"))?);
    Ok(all)
}

fn chosen(text: &str, table: &[(&str, SupportedCipherSuite)]) -> Result<Vec<SupportedCipherSuite>, String> {
    let words: Vec<&str> = text.split([':', ',', ' ']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Ok(table.iter().map(|(_, suite)| *suite).collect());
    }
    let (mut kept, mut unknown) = (Vec::new(), Vec::new());
    for word in words {
        if let Some(name) = word.strip_prefix(['!', '-']) {
            let Some(out) = meant(name, table) else {
                return Err(format!("'{word}' can't be left out by that name, name the ciphers to use: {text}"));
            };
            kept.retain(|suite| !out.contains(suite));
        } else if let Some(more) = meant(word, table) {
            let more: Vec<_> = more.into_iter().filter(|suite| !kept.contains(suite)).collect();
            kept.extend(more);
        } else {
            unknown.push(word);
        }
    }
    if kept.is_empty() {
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        return Err(format!("{text} (there are {})", names.join(":")));
    }
    if !unknown.is_empty() {
        // OpenSSL passes over them as silently as it can; a person should know.
        log::warn!("These TLS ciphers aren't known here, the others are used: {}", unknown.join(":"));
    }
    Ok(kept)
}

/// Which of ours a word means: a cipher, a set, or what is in all of several sets (`ECDHE+AESGCM`).
fn meant(word: &str, table: &[(&str, SupportedCipherSuite)]) -> Option<Vec<SupportedCipherSuite>> {
    let mut left: Vec<_> = table.iter().collect();
    for part in word.split('+') {
        if let Some(row) = table.iter().find(|row| row.0.eq_ignore_ascii_case(part)) {
            left.retain(|other| other.0 == row.0);
        } else if let Some((_, within)) = BY_NAME.iter().find(|(set, _)| *set == part) {
            left.retain(|(name, _)| name.contains(within));
        } else if NONE_OF_OURS.contains(&part) {
            left.clear();
        } else if !EVERYTHING.contains(&part) {
            return None;
        }
    }
    Some(left.into_iter().map(|(_, suite)| *suite).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ciphers: &str, ciphersuites: &str) -> Result<Vec<String>, String> {
        suites(ciphers, ciphersuites).map(|all| all.iter().map(|suite| format!("{:?}", suite.suite())).collect())
    }

    #[test]
    fn protocols_in_redis_words() {
        assert_eq!(protocols("").expect("both").len(), 2);
        assert_eq!(protocols("TLSv1.3").expect("one"), [&version::TLS13]);
        assert_eq!(protocols("tlsv1.2 TLSV1.3").expect("any case").len(), 2);
        assert!(protocols("TLSv1.1 TLSv1.2").expect_err("broken").contains("TLSv1.1 is not offered"));
        assert!(protocols("SSLv3").expect_err("unknown").starts_with("Invalid tls-protocols specified."));
    }

    #[test]
    fn ciphers_in_openssl_s_words() {
        assert_eq!(names("", "").expect("all").len(), 9);
        let one = names("ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256").expect("one each");
        assert_eq!(one, ["TLS13_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
        assert_eq!(names("DEFAULT:!MEDIUM:!aNULL", "").expect("all").len(), 9);
        assert_eq!(names("DEFAULT:!ECDHE-RSA-AES128-GCM-SHA256", "").expect("less one").len(), 8);
        assert_eq!(names("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256", "").expect("the known one").len(), 4);
        assert_eq!(names("DEFAULT:!AESGCM", "").expect("less four").len(), 5);
        for all_gcm in ["AESGCM", "ECDHE+AESGCM", "EECDH+AESGCM:EDH+AESGCM", "ECDHE+aRSA+AESGCM:ECDSA+AESGCM"] {
            assert_eq!(names(all_gcm, "").expect(all_gcm).len(), 7, "{all_gcm}");
        }
        assert_eq!(names("ECDHE+CHACHA20:ECDHE+AES256", "").expect("two each").len(), 7);
        assert!(names("EDH+AESGCM", "").is_err() && names("ECDHE+foo", "").is_err());
        assert!(names("DEFAULT:!AES+foo", "").expect_err("not by that name").contains("!AES+foo"));
        assert!(names("foo", "").expect_err("none").starts_with("Failed to configure ciphers: foo"));
        assert!(names("", "foo").expect_err("none").starts_with("Failed to configure ciphersuites: foo"));
    }
}
