//! Our own certificate: the floor under every connection (I-001).
//!
//! ECDSA P-256, never Ed25519: libpq's SCRAM channel binding cannot hash an Ed25519 certificate
//! ("could not find digest for NID UNDEF", facts E 79) and older OpenSSL cannot read the key.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use thiserror::Error;
use x509_parser::pem::parse_x509_pem;

const DAY: i64 = 24 * 60 * 60;
/// How long a certificate is valid.
const LIFETIME: i64 = 365 * DAY;
/// Renewed when it ends within this time (I-001).
const RENEW_WITHIN: i64 = 30 * DAY;
/// A clock that runs behind ours still accepts a certificate made just now.
const BACKDATED: i64 = DAY;

/// Why the certificate on disk cannot stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    Missing,
    Unreadable(String),
    KeyDoesNotMatch,
    /// Ends within the renewal window, or has ended.
    Expiring {
        days_left: i64,
    },
    /// Made by a clock that was ahead by more than a day.
    NotYetValid,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Missing => write!(f, "there is none"),
            Flaw::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Flaw::KeyDoesNotMatch => write!(f, "its key belongs to another certificate"),
            Flaw::Expiring { days_left } => write!(f, "it ends in {days_left} days"),
            Flaw::NotYetValid => write!(f, "it is not valid yet"),
        }
    }
}

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

#[derive(Debug, Error)]
pub(crate) enum IssueError {
    #[error("the wall clock says {now} s since 1970, which no certificate can carry")]
    Clock {
        now: i64,
        source: time::error::ComponentRange,
    },
    #[error("making a self-signed certificate")]
    Rcgen(#[from] rcgen::Error),
}

/// Makes a certificate for `localhost` that is valid around `now` (seconds since 1970).
pub(crate) fn issue(now: i64) -> Result<Issued, IssueError> {
    // rcgen's own default is valid from 1975 to 4096: renewal would never come (deps 0.3).
    let at = |seconds| {
        time::OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|source| IssueError::Clock { now, source })
    };
    let mut params = CertificateParams::new(vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ])?;
    params.not_before = at(now - BACKDATED)?;
    params.not_after = at(now + LIFETIME)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "beyond-pg self-signed");
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let cert = params.self_signed(&key)?;
    Ok(Issued {
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

/// What is wrong with this pair at `now`; `None` when it is fit to use.
pub(crate) fn examine(cert: Option<&str>, key: Option<&str>, now: i64) -> Option<Flaw> {
    let (Some(cert), Some(key)) = (cert, key) else {
        return Some(Flaw::Missing);
    };
    match examine_pair(cert, key, now) {
        Ok(flaw) => flaw,
        Err(why) => Some(Flaw::Unreadable(why)),
    }
}

fn examine_pair(cert: &str, key: &str, now: i64) -> Result<Option<Flaw>, String> {
    let (_, pem) = parse_x509_pem(cert.as_bytes()).map_err(|error| error.to_string())?;
    let cert = pem.parse_x509().map_err(|error| error.to_string())?;
    let key = KeyPair::from_pem(key).map_err(|error| error.to_string())?;
    if cert.public_key().raw != key.subject_public_key_info() {
        // Two files cannot be replaced as one: a boot cut between them leaves this.
        return Ok(Some(Flaw::KeyDoesNotMatch));
    }
    let left = cert.validity().not_after.timestamp() - now;
    if left < RENEW_WITHIN {
        return Ok(Some(Flaw::Expiring {
            days_left: left.div_euclid(DAY),
        }));
    }
    if cert.validity().not_before.timestamp() > now {
        return Ok(Some(Flaw::NotYetValid));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn flaw_at(now: i64) -> Option<Flaw> {
        let issued = issue(NOW).unwrap();
        examine(Some(&issued.cert), Some(&issued.key), now)
    }

    #[test]
    fn a_fresh_certificate_is_fit() {
        assert_eq!(flaw_at(NOW), None);
    }

    #[test]
    fn it_is_renewed_in_its_last_thirty_days_and_not_before() {
        assert_eq!(flaw_at(NOW + LIFETIME - RENEW_WITHIN), None);
        assert_eq!(
            flaw_at(NOW + LIFETIME - RENEW_WITHIN + 1),
            Some(Flaw::Expiring { days_left: 29 })
        );
        assert_eq!(
            flaw_at(NOW + LIFETIME + DAY),
            Some(Flaw::Expiring { days_left: -1 })
        );
    }

    #[test]
    fn a_clock_set_back_by_years_gets_a_certificate_of_its_own() {
        assert_eq!(flaw_at(NOW - 2 * DAY), Some(Flaw::NotYetValid));
    }

    #[test]
    fn a_key_of_another_certificate_is_noticed() {
        let (one, other) = (issue(NOW).unwrap(), issue(NOW).unwrap());
        assert_eq!(
            examine(Some(&one.cert), Some(&other.key), NOW),
            Some(Flaw::KeyDoesNotMatch)
        );
    }

    #[test]
    fn a_torn_file_is_made_anew() {
        let issued = issue(NOW).unwrap();
        let torn = "\0".repeat(issued.cert.len());
        assert!(matches!(
            examine(Some(&torn), Some(&issued.key), NOW),
            Some(Flaw::Unreadable(_))
        ));
        assert_eq!(examine(None, Some(&issued.key), NOW), Some(Flaw::Missing));
    }

    #[test]
    fn the_key_is_p256() {
        let issued = issue(NOW).unwrap();
        let (_, pem) = parse_x509_pem(issued.cert.as_bytes()).unwrap();
        let cert = pem.parse_x509().unwrap();
        assert_eq!(
            cert.signature_algorithm.algorithm.to_id_string(),
            "1.2.840.10045.4.3.2"
        );
    }
}
