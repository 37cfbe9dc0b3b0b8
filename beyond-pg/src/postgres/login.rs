//! The login that a client would make: TLS and SCRAM through the pooler, then a query (contract 7).
//!
//! `pgrep pgbouncer` is not readiness: a missing GRANT or a CA that does not load has passed such a
//! check with no client able to get in (facts B 30, 31).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use thiserror::Error;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Secret;

const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error("reading the certificate {path} that clients are shown")]
    CertificateUnreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("understanding the certificate {path} that clients are shown")]
    Certificate {
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    #[error("logging in through the pooler on port {port} as `{user}` to `{database}`")]
    Refused {
        port: u16,
        user: String,
        database: String,
        source: tokio_postgres::Error,
    },
    #[error("logging in through the pooler on port {port}: no answer within 5 s")]
    Silent { port: u16 },
}

/// Who logs in where.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) database: &'a str,
    /// The server must show this very certificate.
    pub(crate) certificate: PathBuf,
}

impl Login<'_> {
    /// Logs in on loopback and asks `SELECT 1`.
    pub(crate) async fn attempt(&self) -> Result<(), LoginError> {
        match tokio::time::timeout(DEADLINE, self.select_one()).await {
            Ok(answer) => answer,
            Err(_) => Err(LoginError::Silent {
                port: wire::ports::POOLER,
            }),
        }
    }

    async fn select_one(&self) -> Result<(), LoginError> {
        let refused = |source| LoginError::Refused {
            port: wire::ports::POOLER,
            user: self.user.to_owned(),
            database: self.database.to_owned(),
            source,
        };
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(wire::ports::POOLER)
            .user(self.user)
            .password(self.password.expose())
            .dbname(self.database)
            .application_name("beyond-pg readiness")
            .ssl_mode(SslMode::Require);
        let tls = MakeRustlsConnect::new(self.client_config()?);
        let (client, connection) = config.connect(tls).await.map_err(refused)?;
        let query = client.simple_query("SELECT 1");
        tokio::select! {
            answer = query => answer.map(drop).map_err(refused),
            end = connection => end.map_err(refused),
        }
    }

    fn client_config(&self) -> Result<ClientConfig, LoginError> {
        let path = || self.certificate.clone();
        let pem =
            fs::read(&self.certificate).map_err(|source| LoginError::CertificateUnreadable {
                path: path(),
                source,
            })?;
        let pinned =
            CertificateDer::from_pem_slice(&pem).map_err(|source| LoginError::Certificate {
                path: path(),
                source,
            })?;
        let provider = Arc::new(ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
            .with_no_client_auth())
    }
}

/// Trusts one certificate: the file that both servers were pointed at. Chain and names are the
/// client's business; here it matters that the pooler has loaded this one.
#[derive(Debug)]
struct Pinned {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
