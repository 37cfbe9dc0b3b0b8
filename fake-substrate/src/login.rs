//! A real login, as a client does it: TCP to the published port, TLS, SCRAM, one query.
//!
//! Nothing less counts as ready (contract 7). Docker's proxy accepts connections on a published
//! port before anything listens behind it, so an open port alone means nothing.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::machine::metadata::Login;

/// For one try: a server that takes longer to say `1` is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a login did not get its answer, in one line.
#[derive(Debug, thiserror::Error)]
pub enum NoLogin {
    /// The server said no, or nothing.
    #[error("{}", one_line(.0))]
    Refused(#[source] Box<tokio_postgres::Error>),
    /// It took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// TLS could not be set up on our side.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Logs in through a port of this host and asks for `SELECT 1`.
pub async fn answers(login: &Login, port: u16) -> Result<(), NoLogin> {
    let tls = MakeRustlsConnect::new(unverified_tls()?);
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(Login::USER)
        .password(&login.password)
        .dbname(&login.database)
        .application_name("fake-substrate")
        .ssl_mode(SslMode::Require);
    let asking = async {
        let (client, connection) = config.connect(tls).await?;
        // The connection ends when the client is dropped; what it says then is of no interest.
        let connection = tokio::spawn(connection);
        let answer = client.simple_query("SELECT 1").await;
        drop(client);
        connection.abort();
        answer.map(drop)
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(NoLogin::Refused(Box::new(refused))),
        Err(_elapsed) => Err(NoLogin::Slow),
    }
}

/// tokio-postgres says "db error" and keeps the reason to itself.
fn one_line(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// As `sslmode=require`: encrypted, and the certificate taken as it comes. The machine signs its
/// own, and nobody has told us which.
pub fn unverified_tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate {
        provider: Arc::clone(&provider),
    });
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
