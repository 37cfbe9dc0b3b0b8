//! SCRAM-SHA-256 verifiers, made here so that no cleartext password is ever sent in a statement.
//!
//! `ALTER ROLE … PASSWORD 'cleartext'` under `log_statement = ddl` writes the superuser's password to
//! the log at every boot (facts E 72).

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::settings::Secret;

/// Postgres' own default (`scram_iterations`).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");
const SALT_BYTES: usize = 16;
/// Whoever may write a verifier may claim any count, and PID 1 would do nothing else until it had
/// counted so far: four thousand million take an hour. A million take a second.
pub(crate) const ITERATIONS_LIMIT: u32 = 1_000_000;

/// A verifier with a fresh salt, as `pg_authid.rolpassword` holds it.
pub(crate) fn verifier(password: &Secret) -> Result<String, ring::error::Unspecified> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt)?;
    Ok(render(password, &salt, ITERATIONS))
}

/// Whether `stored` was made from `password`. Anything but a SCRAM-SHA-256 verifier was not, and of one
/// with more than [`ITERATIONS_LIMIT`] nobody finds out.
pub(crate) fn matches(stored: &str, password: &Secret) -> bool {
    let Some((iterations, salt)) = parse(stored) else {
        return false;
    };
    render(password, &salt, iterations) == stored
}

pub(crate) fn parse(stored: &str) -> Option<(NonZeroU32, Vec<u8>)> {
    let (parameters, _keys) = stored.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let iterations: NonZeroU32 = iterations.parse().ok()?;
    let salt = STANDARD.decode(salt).ok()?;
    (iterations.get() <= ITERATIONS_LIMIT).then_some((iterations, salt))
}

fn render(password: &Secret, salt: &[u8], iterations: NonZeroU32) -> String {
    // As Postgres does (RFC 5802): a password that SASLprep refuses is used as it is.
    let prepared = stringprep::saslprep(password.expose());
    let bytes = prepared.as_deref().unwrap_or(password.expose()).as_bytes();
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        bytes,
        &mut salted,
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored_key = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3: its ServerSignature was recomputed from this ServerKey.
    #[test]
    fn a_verifier_is_the_one_that_rfc_7677_derives() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let stored = render(&Secret::new("pencil"), &salt, ITERATIONS);
        let (_, server_key) = stored.rsplit_once(':').unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(server_key).unwrap());
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac::sign(&key, auth_message.as_bytes());
        assert_eq!(
            STANDARD.encode(signature),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_verifier_matches_its_own_password_only() {
        let stored = verifier(&Secret::new("correct horse")).unwrap();
        assert!(matches(&stored, &Secret::new("correct horse")));
        assert!(!matches(&stored, &Secret::new("correct horsf")));
    }

    #[test]
    fn a_verifier_that_takes_an_hour_to_check_is_not_checked() {
        let claiming = |iterations: u32| format!("SCRAM-SHA-256${iterations}:AA==$a:b");
        assert!(parse(&claiming(ITERATIONS_LIMIT)).is_some());
        assert_eq!(parse(&claiming(ITERATIONS_LIMIT + 1)), None);
        assert!(!matches(&claiming(u32::MAX), &Secret::new("pencil")));
    }

    #[test]
    fn what_is_not_a_verifier_matches_nothing() {
        for stored in [
            "",
            "md5abc",
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$0:AA==$a:b",
            "pencil",
        ] {
            assert!(!matches(stored, &Secret::new("pencil")), "{stored}");
        }
    }
}
