//! A certificate, its key and whoever signs client certificates: whether servers could use them.
//!
//! A [`Bundle`] is made by [`examine`] alone, and only bundles are installed: so no server ever
//! reads a pair that was not checked. Pure; time is not looked at here, see `source`.

use std::fmt;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Signatures without a digest of their own. SCRAM's channel binding hashes the certificate with the
/// digest of its signature and fails where there is none ("could not find digest for NID UNDEF",
/// facts E 79), on the client's side and on the server's.
const WITHOUT_DIGEST: [(&str, &str); 2] = [("1.3.101.112", "Ed25519"), ("1.3.101.113", "Ed448")];

/// One of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Certificate,
    Key,
    Ca,
}

/// What became of reading a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Content {
    #[default]
    Absent,
    /// In the words of whoever tried.
    Unreadable(String),
    Bytes(Vec<u8>),
}

/// The files of one source as they were read.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) certificate: Content,
    pub(crate) key: Content,
    pub(crate) ca: Content,
}

/// A private key, PEM. Prints as stars and is opened where it is installed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PrivateKey(Vec<u8>);

impl PrivateKey {
    pub(crate) fn pem(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A chain with the leaf first, the leaf's key, and the CA for client certificates: fit to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    chain: Vec<u8>,
    key: PrivateKey,
    ca: Option<Vec<u8>>,
    validity: Validity,
}

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Bundle {
    pub(crate) fn chain(&self) -> &[u8] {
        &self.chain
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    pub(crate) fn ca(&self) -> Option<&[u8]> {
        self.ca.as_deref()
    }

    /// The leaf's.
    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }
}

/// Why files are not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    Missing(Part),
    Unreadable {
        part: Part,
        why: String,
    },
    NotCertificates {
        part: Part,
        why: String,
    },
    EncryptedKey,
    NotAKey,
    KeyDoesNotMatch,
    /// The key belongs to a certificate further down the chain.
    LeafNotFirst,
    /// Signed by an algorithm that SCRAM cannot bind to.
    Unbindable(&'static str),
}

impl Flaw {
    /// In words; `name` says what a file is called.
    pub(crate) fn words(&self, name: impl Fn(Part) -> &'static str) -> String {
        let (certificate, key) = (name(Part::Certificate), name(Part::Key));
        match self {
            Flaw::Missing(part) => format!("there is no {}", name(*part)),
            Flaw::Unreadable { part, why } => format!("{} cannot be read: {why}", name(*part)),
            Flaw::NotCertificates { part, why } => {
                format!("{} is not a PEM certificate: {why}", name(*part))
            }
            Flaw::EncryptedKey => format!("{key} is encrypted, and nobody is here to type"),
            Flaw::NotAKey => format!(
                "{key} is not a PEM key that can be used: RSA of 2048 bits or more, or ECDSA on P-256 or P-384"
            ),
            Flaw::KeyDoesNotMatch => {
                format!("{key} belongs to another certificate than {certificate}")
            }
            Flaw::LeafNotFirst => {
                format!("{certificate} must begin with the certificate that {key} belongs to")
            }
            Flaw::Unbindable(algorithm) => format!(
                "{certificate} has an {algorithm} key or signature, to which libpq cannot bind a SCRAM login; use ECDSA or RSA"
            ),
        }
    }
}

/// Takes the files for use, or says what is wrong with them.
pub(crate) fn examine(files: Files) -> Result<Bundle, Flaw> {
    let chain = required(files.certificate, Part::Certificate)?;
    let key = PrivateKey(required(files.key, Part::Key)?);
    let ca = match files.ca {
        Content::Absent => None,
        content @ (Content::Unreadable(_) | Content::Bytes(_)) => {
            Some(required(content, Part::Ca)?)
        }
    };
    let validity = examine_pair(&chain, &key)?;
    if let Some(ca) = &ca {
        let ders = certificates(ca, Part::Ca)?;
        parsed(&ders, Part::Ca)?;
    }
    Ok(Bundle {
        chain,
        key,
        ca,
        validity,
    })
}

fn required(content: Content, part: Part) -> Result<Vec<u8>, Flaw> {
    match content {
        Content::Bytes(bytes) => Ok(bytes),
        Content::Absent => Err(Flaw::Missing(part)),
        Content::Unreadable(why) => Err(Flaw::Unreadable { part, why }),
    }
}

fn examine_pair(chain: &[u8], key: &PrivateKey) -> Result<Validity, Flaw> {
    let ders = certificates(chain, Part::Certificate)?;
    let chain = parsed(&ders, Part::Certificate)?;
    let public = public_key(key)?;
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err(Flaw::NotCertificates {
            part: Part::Certificate,
            why: "it is empty".to_owned(),
        });
    };
    if leaf.public_key().raw != public {
        // A rotation that has replaced one of the two files looks like this, too.
        let further_down = issuers
            .iter()
            .any(|issuer| issuer.public_key().raw == public);
        return Err(if further_down {
            Flaw::LeafNotFirst
        } else {
            Flaw::KeyDoesNotMatch
        });
    }
    let algorithms = [&leaf.signature_algorithm, &leaf.public_key().algorithm];
    for (oid, name) in WITHOUT_DIGEST {
        if algorithms
            .iter()
            .any(|algorithm| algorithm.algorithm.to_id_string() == oid)
        {
            return Err(Flaw::Unbindable(name));
        }
    }
    Ok(Validity {
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
    })
}

fn certificates(bytes: &[u8], part: Part) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let refused = |why: String| Flaw::NotCertificates { part, why };
    let ders = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| refused(error.to_string()))?;
    if ders.is_empty() {
        return Err(refused("it holds none".to_owned()));
    }
    Ok(ders)
}

fn parsed<'a>(
    ders: &'a [CertificateDer<'static>],
    part: Part,
) -> Result<Vec<X509Certificate<'a>>, Flaw> {
    ders.iter()
        .map(|der| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Ok(certificate),
            Err(error) => Err(Flaw::NotCertificates {
                part,
                why: error.to_string(),
            }),
        })
        .collect()
}

/// SubjectPublicKeyInfo of a key. What went wrong is never quoted: it could quote the key.
fn public_key(key: &PrivateKey) -> Result<Vec<u8>, Flaw> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if key.0.windows(ENCRYPTED.len()).any(|word| word == ENCRYPTED) {
        return Err(Flaw::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(&key.0)
        .ok()
        .and_then(|der| any_supported_type(&der).ok())
        .and_then(|key| Some(key.public_key()?.to_vec()))
        .ok_or(Flaw::NotAKey)
}

#[cfg(test)]
#[path = "pair_tests.rs"]
pub(crate) mod tests;
