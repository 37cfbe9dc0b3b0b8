//! `06-tls.conf`: the certificate Postgres presents (I-001, I-004).
//!
//! Numbered after all others of ours, so that it wins; before 99, so that the user can.

use super::TlsPaths;
use super::guc::Fragment;

pub(super) fn render(tls: &TlsPaths) -> String {
    let mut conf = Fragment::new("The certificate of both ports (I-004).");
    conf.section("The platform's when there is one, else our self-signed one.")
        .set("ssl_cert_file", tls.cert.display().to_string())
        .set("ssl_key_file", tls.key.display().to_string());
    // A self-signed certificate named as its own CA is there for PgBouncer (facts 30). Told to
    // Postgres, it would make the server ask every client for a certificate only to refuse it.
    if let Some(ca) = tls.ca.as_ref().filter(|ca| **ca != tls.cert) {
        conf.section("Who signs client certificates, for a user who turns them on.")
            .set("ssl_ca_file", ca.display().to_string());
    }
    conf.into_text()
}
