//! From when to when a certificate is good. One that isn't is used all the same, as in Redis: the clock may be wrong, and
//! clients that don't look may depend on it. The log says so, and so does `keystead check`.

use crate::logging::timestamp;
use pkcs8::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use pkcs8::der::{self, Decode, SliceReader, Tag, Tagged};
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first and the last moment, since 1970.
type Validity = (Duration, Duration);

/// A line for each of a file's certificates that isn't good now: when it would be.
pub(super) fn warnings(file: &str, chain: &[CertificateDer<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    chain.iter().filter_map(|certificate| told(file, validity(certificate).ok()?, now)).collect()
}

/// Refuses a peer's certificate that isn't good at this time.
pub(super) fn check(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (from, until) = validity(certificate).map_err(|_| CertificateError::BadEncoding)?;
    match Duration::from_secs(now.as_secs()) {
        now if now < from => Err(CertificateError::NotValidYet),
        now if now > until => Err(CertificateError::Expired),
        _ => Ok(()),
    }
}

fn told(file: &str, (from, until): Validity, now: Duration) -> Option<String> {
    let why = match now {
        now if now < from => "isn't valid yet",
        now if now > until => "has expired",
        _ => return None,
    };
    let day = |time: Duration| timestamp(time.as_millis()).split('.').next().unwrap_or_default().to_owned();
    Some(format!("The certificate in {file} {why}: it is valid from {} to {} UTC", day(from), day(until)))
}

/// The times in a certificate (RFC 5280, 4.1).
fn validity(certificate: &[u8]) -> der::Result<Validity> {
    let mut signed = within(&mut within(&mut SliceReader::new(certificate)?)?)?;
    // Version (which the first one lacks) and serial number, algorithm, issuer; then the two times.
    if matches!(AnyRef::decode(&mut signed)?.tag(), Tag::ContextSpecific { .. }) {
        AnyRef::decode(&mut signed)?;
    }
    AnyRef::decode(&mut signed)?;
    AnyRef::decode(&mut signed)?;
    let mut times = within(&mut signed)?;
    Ok((time(&mut times)?, time(&mut times)?))
}

/// What the next element holds.
fn within<'c>(outer: &mut SliceReader<'c>) -> der::Result<SliceReader<'c>> {
    SliceReader::new(AnyRef::decode(outer)?.value())
}

fn time(times: &mut SliceReader<'_>) -> der::Result<Duration> {
    let time = AnyRef::decode(times)?;
    match time.tag() {
        Tag::UtcTime => Ok(time.decode_as::<UtcTime>()?.to_unix_duration()),
        _ => Ok(time.decode_as::<GeneralizedTime>()?.to_unix_duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// `openssl req -x509 -days 1`, of version 3.
    const DAY: &str = "-----BEGIN CERTIFICATE-----\n\
                        MIIBcTCCARegAwIBAgIUcF+1hQ1r+HS2cxaD7CFHSWPGBGQwCgYIKoZIzj0EAwIw\n\
                        DjEMMAoGA1UEAwwDZGF5MB4XDTI2MTEyNzE2NTU1NVoXDTI2MTEyODE2NTU1NVow\n\
                        DjEMMAoGA1UEAwwDZGF5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6pMEm6FY\n\
                        tRPe9VVW1PoyQB9dJfibbCvdCJjU2slVehIdyyMKl3jA54g+624u8IqumS2sZfCZ\n\
                        9F4itkJy1KZ1N6NTMFEwHQYDVR0OBBYEFEnunrGKa8AaI6nx5Qlq2i00GazWMB8G\n\
                        A1UdIwQYMBaAFEnunrGKa8AaI6nx5Qlq2i00GazWMA8GA1UdEwEB/wQFMAMBAf8w\n\
                        CgYIKoZIzj0EAwIDSAAwRQIhAIyd1u3+Iz/0DNlwU+yQAEOQBQpGTMjCsUJmh2dr\n\
                        rJg7AiA9VRQkfPP/y9v6FiKeoztsylYlh29WGxk20zmTfDkrSQ==\n\
                        -----END CERTIFICATE-----";
    /// `openssl x509 -req -days 40000`, of version 1; its end is in a form of its own (2050 and later).
    const LONG: &str = "-----BEGIN CERTIFICATE-----\n\
                        MIIBGjCBwQIUMixgKaFKRIPFrrrzyphiOO1HEqAwCgYIKoZIzj0EAwIwDzENMAsG\n\
                        A1UEAwwEbG9uZzAgFw0yNjExMjcxNjU1NTVaGA8yMTM2MDYwMzE2NTU1NVowDzEN\n\
                        MAsGA1UEAwwEbG9uZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOqTBJuhWLUT\n\
                        3vVVVtT6MkAfXSX4m2wr3QiY1NrJVXoSHcsjCpd4wOeIPutuLvCKrpktrGXwmfRe\n\
                        IrZCctSmdTcwCgYIKoZIzj0EAwIDSAAwRQIhAOhKmCJcU3Ubr+hxLJl1/FjlFR0a\n\
                        VT4KEeBfZn4bxyp2AiBnge91SIJ2Uf4G6CmSfNjg6fbX0+BA3rgjzR7ZWWsFcA==\n\
                        -----END CERTIFICATE-----";

    #[test]
    fn the_times_of_a_certificate_are_found() {
        let seconds = |pem: &str| {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
            validity(&certificate).map(|(from, until)| (from.as_secs(), until.as_secs()))
        };
        assert_eq!(seconds(DAY), Ok((1_795_798_555, 1_795_884_955)));
        assert_eq!(seconds(LONG), Ok((1_795_798_555, 5_251_798_555)));
        let certificate = CertificateDer::from_pem_slice(DAY.as_bytes()).expect("a certificate");
        let now = |seconds| check(&certificate, UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(now(1_795_798_554), Err(CertificateError::NotValidYet));
        assert_eq!((now(1_795_798_555), now(1_795_884_955)), (Ok(()), Ok(())));
        assert_eq!(now(1_795_884_956), Err(CertificateError::Expired));
        for end in 0..certificate.len() {
            assert!(validity(&certificate[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_not_good_now_is_told_with_its_dates() {
        let day = Duration::from_secs(86_400);
        let words = |now| told("a.crt", (day, 2 * day), now);
        assert_eq!(words(day), None);
        assert_eq!(words(2 * day), None);
        let dates = "it is valid from 02 Jan 1970 00:00:00 to 03 Jan 1970 00:00:00 UTC";
        assert_eq!(words(day / 2), Some(format!("The certificate in a.crt isn't valid yet: {dates}")));
        assert_eq!(words(3 * day), Some(format!("The certificate in a.crt has expired: {dates}")));
    }
}
