//! `06-tls.conf`: the certificate Postgres presents (I-001, I-004).
//!
//! Numbered after all others of ours, so that it wins; before 99, so that the user can. The paths
//! never change: whose certificate lies there, `tls::source` decides.

use super::guc::Fragment;
use crate::layout::Layout;

pub(super) fn render(layout: &Layout, client_ca: bool) -> String {
    let mut conf = Fragment::new("The certificate of both ports (I-004).");
    conf.section("The user's, the platform's or our own; PID 1 has checked it before it lay here.")
        .set(
            "ssl_cert_file",
            layout.installed_cert().display().to_string(),
        )
        .set("ssl_key_file", layout.installed_key().display().to_string());
    // There is a ca.pem in any case, for PgBouncer (facts B 30). A certificate that is its own CA,
    // told to Postgres, would make the server ask every client for one only to refuse it.
    if client_ca {
        conf.section("Who signs client certificates, for a user who turns them on.")
            .set("ssl_ca_file", layout.installed_ca().display().to_string());
    }
    conf.into_text()
}
