//! Which certificate wins: the user's, then the platform's, then our own (I-004). Pure.
//!
//! The first source whose files are fit is served. One that is flawed is passed over with words;
//! whatever it gave us before stays in use, so that half a rotation costs nobody anything.
//!
//! A certificate that has ended is served nevertheless, and said: a client that verifies turns it
//! down as it would turn down ours, and one that does not verify is not helped by another.

use crate::layout::Layout;
use crate::tls::pair::{Bundle, Flaw, Part, Validity};
use crate::tls::self_signed::{self, DAY, RENEW_WITHIN};

/// Whose certificate it is. In order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsSource {
    UserManaged,
    Platform,
    SelfSigned,
}

/// What a source has for us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Offer {
    #[default]
    Nothing,
    Fit(Bundle),
    Flawed(Flaw),
}

/// What both servers were last given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) source: TlsSource,
    pub(crate) bundle: Bundle,
}

/// What lies on disk, and when that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// Nothing unless `.user-managed` is there.
    pub(crate) user: Offer,
    pub(crate) platform: Offer,
    /// Of our own making. While the user manages, the files are theirs, and ours is at most what is
    /// installed.
    pub(crate) own: Offer,
    pub(crate) installed: Option<Installed>,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// What is served from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serve<'a> {
    /// What is installed stays.
    Installed(&'a Installed),
    Install(TlsSource, &'a Bundle),
    /// One of our own is made and installed.
    Issue,
}

/// The outcome of looking at all sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice<'a> {
    pub(crate) serve: Serve<'a>,
    /// Sources that would have had precedence.
    pub(crate) passed_over: Vec<(TlsSource, Flaw)>,
}

impl TlsFacts {
    pub(crate) fn choose(&self) -> Choice<'_> {
        let mut passed_over = Vec::new();
        let given = [
            (TlsSource::UserManaged, &self.user),
            (TlsSource::Platform, &self.platform),
        ];
        for (source, offer) in given {
            let flaw = match offer {
                Offer::Fit(bundle) => {
                    let serve = self.serve(source, bundle);
                    return Choice { serve, passed_over };
                }
                Offer::Flawed(flaw) => flaw.clone(),
                // Taking `.user-managed` away is how a user hands over; a platform's folder that is
                // empty all of a sudden is an accident.
                Offer::Nothing if source == TlsSource::Platform && self.serves(source) => {
                    Flaw::Missing(Part::Certificate)
                }
                Offer::Nothing => continue,
            };
            passed_over.push((source, flaw));
            // What a later source gave is no reason to ignore that source's next rotation.
            if let Some(installed) = &self.installed
                && installed.source <= source
            {
                let serve = Serve::Installed(installed);
                return Choice { serve, passed_over };
            }
        }
        let serve = match &self.own {
            Offer::Fit(bundle) if self_signed::renewal(bundle.validity(), self.now).is_none() => {
                self.serve(TlsSource::SelfSigned, bundle)
            }
            Offer::Fit(_) | Offer::Nothing | Offer::Flawed(_) => Serve::Issue,
        };
        Choice { serve, passed_over }
    }

    fn serves(&self, source: TlsSource) -> bool {
        self.installed
            .as_ref()
            .is_some_and(|installed| installed.source == source)
    }

    fn serve<'a>(&'a self, source: TlsSource, bundle: &'a Bundle) -> Serve<'a> {
        match &self.installed {
            Some(installed) if installed.source == source && installed.bundle == *bundle => {
                Serve::Installed(installed)
            }
            _ => Serve::Install(source, bundle),
        }
    }

    /// Why our own has to be made anew.
    pub(crate) fn why_issued(&self) -> String {
        match &self.own {
            Offer::Nothing => "there is none".to_owned(),
            Offer::Flawed(flaw) => flaw.words(|part| TlsSource::SelfSigned.file_name(part)),
            Offer::Fit(bundle) => {
                self_signed::renewal(bundle.validity(), self.now).unwrap_or_default()
            }
        }
    }

    /// Whether the files of our own are the user's now, and not to be written.
    pub(crate) fn user_manages(&self) -> bool {
        self.user != Offer::Nothing
    }

    /// What an operator should know about the certificate; `None`: all is well.
    pub(crate) fn concern(&self, layout: &Layout) -> Option<String> {
        let choice = self.choose();
        let served = match choice.serve {
            Serve::Installed(installed) => Some((installed.source, &installed.bundle)),
            Serve::Install(source, bundle) => Some((source, bundle)),
            Serve::Issue => None,
        };
        let mut words: Vec<String> = choice
            .passed_over
            .iter()
            .map(|(source, flaw)| passed_over(*source, flaw, &choice.serve, layout))
            .collect();
        if let Some((source, bundle)) = served {
            words.extend(worry(source, bundle.validity(), self.now, layout));
        }
        (!words.is_empty()).then(|| words.join("\n"))
    }
}

impl Choice<'_> {
    /// Whether there is somebody to verify client certificates against.
    pub(crate) fn has_client_ca(&self) -> bool {
        match self.serve {
            Serve::Installed(installed) => installed.bundle.ca().is_some(),
            Serve::Install(_, bundle) => bundle.ca().is_some(),
            Serve::Issue => false,
        }
    }
}

fn passed_over(source: TlsSource, flaw: &Flaw, serve: &Serve<'_>, layout: &Layout) -> String {
    let instead = match serve {
        Serve::Installed(installed) if installed.source <= source => {
            format!("{} from before stays in use", installed.source)
        }
        // The same words before and after it is installed: they are said once.
        Serve::Installed(Installed { source, .. }) | Serve::Install(source, _) => {
            format!("{source} is used instead")
        }
        Serve::Issue => format!("{} is used instead", TlsSource::SelfSigned),
    };
    format!(
        "{source} is not used, because in {} {}; {instead}\nHINT: {}",
        source.folder(layout).display(),
        flaw.words(|part| source.file_name(part)),
        source.remedy()
    )
}

/// The end of a certificate that somebody else looks after.
fn worry(source: TlsSource, validity: Validity, now: i64, layout: &Layout) -> Option<String> {
    let left = validity.not_after - now;
    let what = if left < 0 {
        format!("ended {} days ago", (-left).div_euclid(DAY))
    } else if validity.not_before > now {
        "is not valid yet; is the clock right?".to_owned()
    } else if source == TlsSource::UserManaged && left < RENEW_WITHIN {
        // The platform's live for a day and are renewed every day: nothing to say before the end.
        format!("ends in {} days", left.div_euclid(DAY))
    } else {
        return None;
    };
    match source {
        TlsSource::UserManaged | TlsSource::Platform => Some(format!(
            "{source} in {} {what}\nHINT: {}",
            source.folder(layout).display(),
            source.remedy()
        )),
        // Is renewed by itself; what keeps it from that is said where it fails.
        TlsSource::SelfSigned => None,
    }
}

impl TlsSource {
    pub(crate) const ALL: [TlsSource; 3] = [
        TlsSource::UserManaged,
        TlsSource::Platform,
        TlsSource::SelfSigned,
    ];

    /// One word, as it is noted beside an installed certificate.
    pub(crate) fn word(self) -> &'static str {
        match self {
            TlsSource::UserManaged => "user-managed",
            TlsSource::Platform => "platform",
            TlsSource::SelfSigned => "self-signed",
        }
    }

    pub(crate) fn folder(self, layout: &Layout) -> std::path::PathBuf {
        match self {
            TlsSource::UserManaged | TlsSource::SelfSigned => layout.beyond_dir(),
            TlsSource::Platform => layout.platform_tls(),
        }
    }

    pub(crate) fn file_name(self, part: Part) -> &'static str {
        match (self, part) {
            (TlsSource::Platform, Part::Certificate) => "cert.pem",
            (TlsSource::Platform, Part::Key) => "key.pem",
            (TlsSource::Platform, Part::Ca) => "ca.pem",
            (_, Part::Certificate) => "server.crt",
            (_, Part::Key) => "server.key",
            (_, Part::Ca) => "root.crt",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            TlsSource::UserManaged => {
                "mend the files, or remove .user-managed beside them; the machine looks again by itself, and at once on a reload"
            }
            TlsSource::Platform => {
                "between two files of a rotation this passes by itself; if it stays, look at the platform's agent"
            }
            TlsSource::SelfSigned => "it is made anew by itself",
        }
    }
}

impl std::fmt::Display for TlsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TlsSource::UserManaged => "the user's certificate",
            TlsSource::Platform => "the platform's certificate",
            TlsSource::SelfSigned => "a self-signed certificate",
        })
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
