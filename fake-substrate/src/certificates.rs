//! The platform's certificates: one CA, and the leaves that its guest agent puts into machines.
//!
//! The real agent provides every machine with `/run/beyond/tls/{cert,key,ca}.pem`, for the names
//! under which the machine is found, and replaces them by rename every 22 hours (I-004). Here a
//! scenario decides when. Pure; [`crate::machine::Machine::deliver`] puts files into a machine.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::names::MachineName;

/// Where the agent's files lie in a machine.
pub(crate) const FOLDER: &str = "/run/beyond/tls";

/// A CA that signs for the machines of one substrate.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate that the CA has signed, and its key; PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The leaf.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The key stays out of sight.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// One of the agent's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformFile {
    /// The leaf.
    Certificate,
    /// Its key.
    Key,
    /// Who signed it.
    Ca,
}

impl PlatformFile {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "cert.pem",
            Self::Key => "key.pem",
            Self::Ca => "ca.pem",
        }
    }
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("the platform's CA cannot make a certificate")]
pub struct CannotSign(#[from] rcgen::Error);

impl Authority {
    /// A new CA.
    pub fn new() -> Result<Self, CannotSign> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("fake-substrate platform CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()?)?;
        Ok(Self(issuer))
    }

    /// Its own certificate, PEM: what a client trusts.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A new certificate for a machine, under the names by which it is found.
    pub fn for_machine(&self, machine: &MachineName) -> Result<Issued, CannotSign> {
        let names = [
            machine.internal(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        self.sign(
            machine.as_str(),
            &names,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A new certificate that a client shows; Postgres takes its common name for the role.
    pub fn for_client(&self, role: &str) -> Result<Issued, CannotSign> {
        self.sign(role, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        common: &str,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, CannotSign> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name(common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Never Ed25519: libpq cannot bind SCRAM to it (facts E 79).
fn new_key() -> Result<KeyPair, CannotSign> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn every_certificate_has_a_key_of_its_own() {
        let authority = Authority::new().unwrap();
        let machine = "db".parse().unwrap();
        let one = authority.for_machine(&machine).unwrap();
        let two = authority.for_machine(&machine).unwrap();
        assert_ne!(one.key, two.key);
        assert_ne!(one.certificate, two.certificate);
    }

    #[test]
    fn a_key_is_seen_in_no_debug_output() {
        let issued = Authority::new().unwrap().for_client("postgres").unwrap();
        let printed = format!("{issued:?}");
        assert!(printed.contains("BEGIN CERTIFICATE") && !printed.contains("PRIVATE"));
    }
}
