//! Who may ask the page for anything. Pure.
//!
//! A page on loopback is within reach of every site that the same browser has open: a foreign page
//! can send it forms, frame it, and after a DNS rebinding read it under a name of its own. So a
//! request counts only when it names this address, comes from this page or from the address bar, and,
//! where it changes anything, carries the token that only this page's own HTML has.

use std::fmt;

use axum::http::{HeaderMap, Method, header};

use crate::machine::metadata::{NoRandomness, generated_password};

/// What a browser says about where a request comes from; no script can set it.
const FETCH_SITE: &str = "sec-fetch-site";

/// The secret of this process that is in every form of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        Ok(Self(generated_password()?))
    }

    /// For a form.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Looks at every byte whatever the first ones are, so that time tells nothing.
    fn is(&self, given: &str) -> bool {
        let same = |(ours, theirs): (u8, u8)| ours ^ theirs;
        let differing = self.0.bytes().zip(given.bytes()).map(same);
        self.0.len() == given.len() && differing.fold(0, |seen, byte| seen | byte) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Why a request is turned away. Each is a 403 with these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// The browser was told another name for this address, or none.
    #[error(
        "this page answers to 127.0.0.1 and localhost only, with its own port: open the address that `fake-substrate status` shows"
    )]
    Host,
    /// Another site sent the browser here.
    #[error(
        "another site sent this request, and this page takes none from there: type the address, or follow it from a terminal"
    )]
    Site,
    /// A change that no page of ours asked for.
    #[error("only this page's own forms change anything here; a script uses the command line")]
    Origin,
    /// A form of an earlier process, or of nobody.
    #[error(
        "this form is not of the process that serves the page now: reload the page and try again"
    )]
    Token,
}

/// Whether the request may go on. `token` is that of its form; only changes have one.
pub(super) fn admit(port: u16, method: &Method, headers: &HeaderMap) -> Result<(), Foreign> {
    let only = |name| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        // Of two, whoever stands between might have read the other one.
        values.next().is_none().then_some(value)?.to_str().ok()
    };
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let host = only(header::HOST.as_str()).filter(|host| ours.iter().any(|our| our == host));
    let host = host.ok_or(Foreign::Host)?;

    let site = only(FETCH_SITE);
    // `same-site` is another port of this host: no more ours than any other site.
    if headers.contains_key(FETCH_SITE) && !matches!(site, Some("same-origin" | "none")) {
        return Err(Foreign::Site);
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let same_origin = match only(header::ORIGIN.as_str()) {
        Some(origin) => origin.strip_prefix("http://") == Some(host),
        // A browser that sends no Origin with a form says where it comes from in the other header.
        None => !headers.contains_key(header::ORIGIN) && site == Some("same-origin"),
    };
    if same_origin {
        Ok(())
    } else {
        Err(Foreign::Origin)
    }
}

/// The second half for a change: the token in its form.
pub(super) fn admit_form(token: &Token, given: Option<&str>) -> Result<(), Foreign> {
    match given {
        Some(given) if token.is(given) => Ok(()),
        _ => Err(Foreign::Token),
    }
}

/// What every answer carries: nothing from elsewhere runs in the page, and nobody frames it.
pub(super) const POLICIES: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    ("referrer-policy", "same-origin"),
];

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{Foreign, Token, admit, admit_form};

    const PORT: u16 = 8430;

    type Row = (&'static [(&'static str, &'static str)], Result<(), Foreign>);

    fn asked(method: &Method, headers: &[(&'static str, &'static str)]) -> Result<(), Foreign> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        admit(PORT, method, &headers)
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:8430");
    const NAMED: (&str, &str) = ("host", "localhost:8430");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:8430");
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

    #[test]
    fn what_is_looked_at_must_be_asked_for_by_our_own_name() {
        let table: [Row; 14] = [
            (&[OURS], Ok(())),
            (&[NAMED], Ok(())),
            (&[OURS, SAME], Ok(())),
            (&[OURS, ("sec-fetch-site", "none")], Ok(())),
            (&[], Err(Foreign::Host)),
            (&[("host", "127.0.0.1")], Err(Foreign::Host)),
            (&[("host", "127.0.0.1:80")], Err(Foreign::Host)),
            (&[("host", "rebound.example:8430")], Err(Foreign::Host)),
            (&[("host", "127.0.0.1:8430.example")], Err(Foreign::Host)),
            (&[("host", "localhost:8430@example")], Err(Foreign::Host)),
            (&[OURS, NAMED], Err(Foreign::Host)),
            (
                &[OURS, ("sec-fetch-site", "cross-site")],
                Err(Foreign::Site),
            ),
            (&[OURS, ("sec-fetch-site", "same-site")], Err(Foreign::Site)),
            (
                &[OURS, SAME, ("sec-fetch-site", "none")],
                Err(Foreign::Site),
            ),
        ];
        for (headers, verdict) in table {
            assert_eq!(asked(&Method::GET, headers), verdict, "{headers:?}");
            assert_eq!(asked(&Method::HEAD, headers), verdict, "{headers:?}");
        }
    }

    #[test]
    fn what_changes_anything_must_come_from_our_own_page() {
        let table: [Row; 11] = [
            (&[OURS, ORIGIN], Ok(())),
            (&[OURS, ORIGIN, SAME], Ok(())),
            (&[OURS, SAME], Ok(())),
            (&[NAMED, ("origin", "http://localhost:8430")], Ok(())),
            (&[OURS], Err(Foreign::Origin)),
            (&[OURS, ("sec-fetch-site", "none")], Err(Foreign::Origin)),
            (&[OURS, ("origin", "null"), SAME], Err(Foreign::Origin)),
            (&[NAMED, ORIGIN], Err(Foreign::Origin)),
            (
                &[OURS, ("origin", "http://127.0.0.1:5000")],
                Err(Foreign::Origin),
            ),
            (
                &[OURS, ("origin", "https://127.0.0.1:8430")],
                Err(Foreign::Origin),
            ),
            (
                &[OURS, ORIGIN, ("sec-fetch-site", "cross-site")],
                Err(Foreign::Site),
            ),
        ];
        for (headers, verdict) in table {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
                assert_eq!(asked(&method, headers), verdict, "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn a_form_carries_the_token_of_this_process() {
        let token = Token::new().unwrap();
        let other = Token::new().unwrap();
        assert_eq!(admit_form(&token, Some(token.as_str())), Ok(()));
        let shorter = &token.as_str()[1..];
        for wrong in [None, Some(""), Some(other.as_str()), Some(shorter)] {
            assert_eq!(admit_form(&token, wrong), Err(Foreign::Token), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
    }
}
