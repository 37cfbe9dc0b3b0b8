//! Which certificate wins: `.user-managed`, then the platform's, then our own (I-004).

use crate::conf::TlsPaths;
use crate::layout::Layout;
use crate::tls::self_signed::Flaw;

/// What lies on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// The user put `.user-managed` beside the certificate: it is theirs.
    pub(crate) user_managed: bool,
    /// The platform provides a certificate under `/run/beyond/tls`.
    pub(crate) platform: bool,
    /// What is wrong with our own; `None` when it is fit to use.
    pub(crate) own: Option<Flaw>,
}

/// Whose certificate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsSource {
    UserManaged,
    Platform,
    SelfSigned,
}

impl TlsFacts {
    pub(crate) fn source(&self) -> TlsSource {
        match (self.user_managed, self.platform) {
            (true, _) => TlsSource::UserManaged,
            (false, true) => TlsSource::Platform,
            (false, false) => TlsSource::SelfSigned,
        }
    }

    /// Why our own certificate has to be made anew; `None` when it is not used or fit.
    pub(crate) fn renewal(&self) -> Option<&Flaw> {
        match self.source() {
            TlsSource::SelfSigned => self.own.as_ref(),
            TlsSource::UserManaged | TlsSource::Platform => None,
        }
    }
}

impl TlsSource {
    /// The files both servers are pointed at.
    ///
    /// PgBouncer dies with "failed to load CA: (null)" on a client certificate when it has no CA
    /// (facts B 30), so there is always one: a self-signed certificate is its own.
    pub(crate) fn paths(self, layout: &Layout) -> TlsPaths {
        match self {
            TlsSource::UserManaged | TlsSource::SelfSigned => TlsPaths {
                cert: layout.self_signed_cert(),
                key: layout.self_signed_key(),
                ca: None,
            },
            TlsSource::Platform => {
                let folder = layout.platform_tls();
                TlsPaths {
                    cert: folder.join("cert.pem"),
                    key: folder.join("key.pem"),
                    ca: Some(folder.join("ca.pem")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_wins_over_the_platform_and_the_platform_over_us() {
        let facts = |user_managed, platform| TlsFacts {
            user_managed,
            platform,
            own: None,
        };
        assert_eq!(facts(true, true).source(), TlsSource::UserManaged);
        assert_eq!(facts(false, true).source(), TlsSource::Platform);
        assert_eq!(facts(false, false).source(), TlsSource::SelfSigned);
    }

    #[test]
    fn a_certificate_of_the_users_is_not_renewed_however_bad_it_is() {
        let facts = TlsFacts {
            user_managed: true,
            platform: false,
            own: Some(Flaw::KeyDoesNotMatch),
        };
        assert_eq!(facts.renewal(), None);
    }
}
