//! What proves to a sink that whoever asks knows the replication password, without telling it.

use ring::hmac;

use crate::settings::Secret;

const SCHEME: &str = "Beyond ";

/// The value of `Authorization` for a path.
pub(crate) fn of(password: &Secret, path: &str) -> String {
    let signature = hmac::sign(&key(password), path.as_bytes());
    let hex = signature.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.fold(SCHEME.to_owned(), |text, byte| text + &byte)
}

/// Whether it is the value for this path.
pub(crate) fn is_right(password: &Secret, path: &str, value: &str) -> bool {
    let Some(hex) = value.strip_prefix(SCHEME) else {
        return false;
    };
    let digits = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let signature: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(digits).collect();
    signature
        .is_some_and(|signature| hmac::verify(&key(password), path.as_bytes(), &signature).is_ok())
}

fn key(password: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, password.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_opens_its_path_with_its_password_alone() {
        let password = Secret::new("hunter2");
        let pass = of(&password, "/v1/wal");
        assert!(is_right(&password, "/v1/wal", &pass));
        assert!(!is_right(&password, "/v1/wal/x", &pass));
        assert!(!is_right(&Secret::new("hunter3"), "/v1/wal", &pass));
        assert!(!pass.contains("hunter2"));
        for nonsense in [
            "",
            "Beyond",
            "Beyond ",
            "Beyond zz",
            "Basic eA==",
            "Beyond ä",
        ] {
            assert!(!is_right(&password, "/v1/wal", nonsense), "{nonsense}");
        }
    }
}
