//! Our own certificate: the floor under every connection (I-001).
//!
//! ECDSA P-256, never Ed25519: libpq's SCRAM channel binding cannot hash an Ed25519 certificate
//! ("could not find digest for NID UNDEF", facts E 79) and older OpenSSL cannot read the key.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use thiserror::Error;

use crate::tls::pair::{Content, Files, Validity};

pub(crate) const DAY: i64 = 24 * 60 * 60;
/// How long a certificate is valid.
const LIFETIME: i64 = 365 * DAY;
/// Renewed when it ends within this time (I-001).
pub(crate) const RENEW_WITHIN: i64 = 30 * DAY;
/// A clock that runs behind ours still accepts a certificate made just now.
const BACKDATED: i64 = DAY;

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Issued {
    /// As if read: it is examined like any other before it is installed.
    pub(crate) fn files(&self) -> Files {
        Files {
            certificate: Content::Bytes(self.cert.clone().into_bytes()),
            key: Content::Bytes(self.key.clone().into_bytes()),
            ca: Content::Absent,
        }
    }
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

/// Why one of ours is made anew at `now`; `None` when it stays.
pub(crate) fn renewal(validity: Validity, now: i64) -> Option<String> {
    let left = validity.not_after - now;
    if left < RENEW_WITHIN {
        return Some(format!("it ends in {} days", left.div_euclid(DAY)));
    }
    // Made by a clock that was ahead by more than a day.
    (validity.not_before > now).then(|| "it is not valid yet".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::tests::bundle;
    use x509_parser::pem::parse_x509_pem;

    const NOW: i64 = 1_800_000_000;

    fn renewal_at(now: i64) -> Option<String> {
        renewal(bundle(NOW).validity(), now)
    }

    #[test]
    fn a_fresh_certificate_is_fit() {
        assert_eq!(renewal_at(NOW), None);
    }

    #[test]
    fn it_is_renewed_in_its_last_thirty_days_and_not_before() {
        assert_eq!(renewal_at(NOW + LIFETIME - RENEW_WITHIN), None);
        let words = |now| renewal_at(now).unwrap();
        assert_eq!(
            words(NOW + LIFETIME - RENEW_WITHIN + 1),
            "it ends in 29 days"
        );
        assert_eq!(words(NOW + LIFETIME + DAY), "it ends in -1 days");
    }

    #[test]
    fn a_clock_set_back_by_years_gets_a_certificate_of_its_own() {
        assert_eq!(renewal_at(NOW - 2 * DAY).unwrap(), "it is not valid yet");
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
