//! The certificate authority of a substrate: what its machines can be told to trust.

use std::path::Path;
use std::{fmt, fs, io};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::serve::state::{StateError, write_private};

const FILE: &str = "authority.json";
/// Longer than any substrate lives; rcgen's own default ends in 4096, which some clients refuse.
const LIFETIME: Duration = Duration::days(3650);
/// A clock that runs behind ours still accepts what was made just now.
const BACKDATED: Duration = Duration::days(1);

/// A certificate authority, made once for a folder.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// One file: a certificate and another one's key would be worse than neither.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    certificate: String,
    key: String,
}

/// Its key is no debug output.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The wall clock tells a time that no certificate can carry.
    #[error("the wall clock tells a time that no certificate can carry\nHINT: set it")]
    Clock(#[from] time::error::ComponentRange),
    /// A key or a certificate could not be made.
    #[error("cannot make a certificate for {names}")]
    Rcgen {
        /// For whom.
        names: String,
        /// What rcgen said.
        source: rcgen::Error,
    },
}

/// A certificate with its key, for a server.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// That of the folder, made when it has none.
    pub fn open(dir: &Path, now_unix_s: i64) -> Result<Self, AuthorityError> {
        let path = dir.join(FILE);
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| StateError::Foreign { path, source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let kept = make(now_unix_s)?;
                let text = serde_json::to_vec(&kept)
                    .map_err(|source| StateError::Foreign { path, source })?;
                write_private(dir, FILE, &text)?;
                kept
            }
            Err(source) => {
                let verb = "read";
                return Err(StateError::Io { verb, path, source }.into());
            }
        };
        let key = KeyPair::from_pem(&kept.key).map_err(failed("the substrate"))?;
        Ok(Self {
            certificate: kept.certificate,
            issuer: Issuer::new(params(now_unix_s)?, key),
        })
    }

    /// What to trust, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server of these names and addresses.
    pub fn issue(&self, names: &[&str], now_unix_s: i64) -> Result<Issued, AuthorityError> {
        let all = names.join(", ");
        let own: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(own).map_err(failed(&all))?;
        let now = OffsetDateTime::from_unix_timestamp(now_unix_s)?;
        (params.not_before, params.not_after) = (now - BACKDATED, now + LIFETIME);
        params
            .distinguished_name
            .push(DnType::CommonName, "fake-substrate");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed(&all))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(&all))?;
        Ok(Issued {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

fn make(now_unix_s: i64) -> Result<Kept, AuthorityError> {
    let failed = failed("the substrate");
    // P-256, never Ed25519: libpq and older OpenSSL (deps 0.2).
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(&failed)?;
    let certificate = params(now_unix_s)?.self_signed(&key).map_err(&failed)?;
    Ok(Kept {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The name must not change: certificates name their issuer by it.
fn params(now_unix_s: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::from_unix_timestamp(now_unix_s)?;
    (params.not_before, params.not_after) = (now - BACKDATED, now + LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "fake-substrate authority");
    Ok(params)
}

fn failed(names: &str) -> impl Fn(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Rcgen {
        names: names.to_owned(),
        source,
    }
}
