//! Session tokens: 12 bytes of nonce, the expiry sealed with AES-256-GCM, in base64.
//!
//! The key lives as long as the process, so tokens die with it, as they do when Firecracker
//! restarts or a snapshot is resumed in a new one. Time is an argument: milliseconds on any
//! clock that does not jump.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// The token lifetimes that are granted, in seconds: up to six hours.
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 1..=21600;

/// A longer token is refused unread, so that a guest cannot make the host decode megabytes.
const LONGEST_TOKEN: usize = 70;

const EXPIRY_LEN: usize = 8;

/// The machine's kernel gave no randomness, or AES refused to work: nothing a guest caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to extract entropy from pool.")]
pub struct NoEntropy;

/// The key of one serving process.
#[derive(Clone)]
pub struct TokenKey {
    key: Arc<LessSafeKey>,
    random: SystemRandom,
}

impl TokenKey {
    /// A fresh key: every token made with another one is void.
    pub fn generate() -> Result<Self, NoEntropy> {
        let random = SystemRandom::new();
        let mut bytes = [0; 32];
        random.fill(&mut bytes).map_err(no_entropy)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(no_entropy)?;
        Ok(Self {
            key: Arc::new(LessSafeKey::new(key)),
            random,
        })
    }
}

/// Makes and checks the tokens of one machine. One machine's token is void on another.
#[derive(Clone)]
pub struct TokenAuthority {
    key: TokenKey,
    associated_data: String,
}

impl TokenAuthority {
    /// The authority of the machine with this instance id.
    pub fn new(key: TokenKey, instance_id: &str) -> Self {
        Self {
            key,
            associated_data: format!("microvmid={instance_id}"),
        }
    }

    /// A token that holds until `now_ms` plus `ttl_seconds`.
    pub fn issue(&self, ttl_seconds: u32, now_ms: u64) -> Result<String, NoEntropy> {
        let expiry = now_ms.saturating_add(u64::from(ttl_seconds) * 1000);
        let mut nonce = [0; NONCE_LEN];
        self.key.random.fill(&mut nonce).map_err(no_entropy)?;
        let mut sealed = expiry.to_le_bytes().to_vec();
        self.key
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated_data.as_bytes()),
                &mut sealed,
            )
            .map_err(no_entropy)?;
        Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    /// Whether this authority made the token and it has not expired.
    pub fn is_valid(&self, token: &str, now_ms: u64) -> bool {
        self.expiry(token).is_some_and(|expiry| expiry > now_ms)
    }

    fn expiry(&self, token: &str) -> Option<u64> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let bytes = STANDARD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let associated_data = Aad::from(self.associated_data.as_bytes());
        let mut sealed = sealed.to_vec();
        let key = &self.key.key;
        let expiry = key
            .open_in_place(nonce, associated_data, &mut sealed)
            .ok()?;
        let expiry: [u8; EXPIRY_LEN] = (&*expiry).try_into().ok()?;
        Some(u64::from_le_bytes(expiry))
    }
}

impl fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenAuthority(***)")
    }
}

/// ring says nothing about a failure on purpose, so there is nothing to pass on.
fn no_entropy(_: ring::error::Unspecified) -> NoEntropy {
    NoEntropy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority(instance: &str) -> TokenAuthority {
        let key = TokenKey::generate().expect("the kernel has randomness");
        TokenAuthority::new(key, instance)
    }

    #[test]
    fn a_token_is_48_characters_and_holds_up_to_its_expiry() {
        let authority = authority("db");
        let token = authority.issue(60, 1_000).expect("a token");
        assert_eq!(token.len(), 48);
        assert!(authority.is_valid(&token, 60_999));
        assert!(
            !authority.is_valid(&token, 61_000),
            "expiry > now is strict"
        );
    }

    #[test]
    fn a_token_of_another_machine_or_process_is_void() {
        let key = TokenKey::generate().expect("the kernel has randomness");
        let db = TokenAuthority::new(key.clone(), "db");
        let token = db.issue(60, 0).expect("a token");
        assert!(db.is_valid(&token, 0));
        assert!(!TokenAuthority::new(key, "other").is_valid(&token, 0));
        assert!(!authority("db").is_valid(&token, 0));
    }

    #[test]
    fn every_flipped_bit_voids_a_token() {
        let authority = authority("db");
        let token = authority.issue(60, 0).expect("a token");
        let bytes = STANDARD.decode(&token).expect("base64");
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !authority.is_valid(&STANDARD.encode(forged), 0),
                "bit {bit}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_token(text in ".{0,100}") {
            prop_assert!(!authority("db").is_valid(&text, 0));
        }
    }
}
