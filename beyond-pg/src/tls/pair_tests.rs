use proptest::prelude::*;

use super::*;
use crate::tls::self_signed;

const NOW: i64 = 1_800_000_000;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/tls/", $name)).as_slice()
    };
}

const P256_CERT: &[u8] = fixture!("p256.crt");
const P256_KEY: &[u8] = fixture!("p256.sec1.key");
const RSA_CERT: &[u8] = fixture!("rsa.crt");
const RSA_KEY: &[u8] = fixture!("rsa.pkcs8.key");

fn bytes(pem: &[u8]) -> Content {
    Content::Bytes(pem.to_vec())
}

pub(crate) fn files(certificate: &[u8], key: &[u8]) -> Files {
    Files {
        certificate: bytes(certificate),
        key: bytes(key),
        ca: Content::Absent,
    }
}

fn flaw(certificate: &[u8], key: &[u8]) -> Option<Flaw> {
    examine(files(certificate, key)).err()
}

/// A pair of our own making, for tests that need just any.
pub(crate) fn bundle(now: i64) -> Bundle {
    let issued = self_signed::issue(now).unwrap();
    examine(issued.files()).unwrap()
}

fn words(flaw: &Flaw) -> String {
    flaw.words(|part| match part {
        Part::Certificate => "cert.pem",
        Part::Key => "key.pem",
        Part::Ca => "ca.pem",
    })
}

#[test]
fn keys_of_every_usual_kind_and_encoding_are_matched_with_their_certificates() {
    let pairs = [
        (RSA_CERT, RSA_KEY),
        (RSA_CERT, fixture!("rsa.pkcs1.key")),
        (fixture!("p384.crt"), fixture!("p384.sec1.key")),
        (fixture!("p384.crt"), fixture!("p384.pkcs8.key")),
        (P256_CERT, P256_KEY),
    ];
    for (number, (certificate, key)) in pairs.into_iter().enumerate() {
        assert_eq!(flaw(certificate, key), None, "pair {number}");
    }
    let own = self_signed::issue(NOW).unwrap();
    assert_eq!(examine(own.files()).err(), None);
}

#[test]
fn a_key_of_another_certificate_is_noticed_also_when_both_are_of_one_kind() {
    assert_eq!(flaw(P256_CERT, RSA_KEY), Some(Flaw::KeyDoesNotMatch));
    let own = bundle(NOW);
    assert_eq!(flaw(own.chain(), P256_KEY), Some(Flaw::KeyDoesNotMatch));
}

#[test]
fn a_chain_is_taken_with_its_leaf_first_and_no_other_way_round() {
    assert_eq!(flaw(&[P256_CERT, RSA_CERT].concat(), P256_KEY), None);
    let reversed = [RSA_CERT, P256_CERT].concat();
    assert_eq!(flaw(&reversed, P256_KEY), Some(Flaw::LeafNotFirst));
    assert_eq!(
        words(&Flaw::LeafNotFirst),
        "cert.pem must begin with the certificate that key.pem belongs to"
    );
}

#[test]
fn what_scram_cannot_bind_to_is_refused_also_when_only_the_issuer_is_to_blame() {
    let ed25519 = flaw(fixture!("ed25519.crt"), fixture!("ed25519.key"));
    assert_eq!(ed25519, Some(Flaw::Unbindable("Ed25519")));
    let issuer = flaw(fixture!("p256-by-ed25519.crt"), P256_KEY);
    assert_eq!(issuer, Some(Flaw::Unbindable("Ed25519")));
}

#[test]
fn an_encrypted_key_is_called_that() {
    let encrypted = flaw(P256_CERT, fixture!("p256.encrypted.key"));
    assert_eq!(encrypted, Some(Flaw::EncryptedKey));
}

#[test]
fn a_file_that_was_cut_short_is_not_a_certificate_however_much_of_it_is_there() {
    for cut in [1, 100, P256_CERT.len() - 30] {
        let flaw = flaw(&P256_CERT[..cut], P256_KEY);
        assert!(
            matches!(
                flaw,
                Some(Flaw::NotCertificates {
                    part: Part::Certificate,
                    ..
                })
            ),
            "{cut}: {flaw:?}"
        );
    }
    assert_eq!(flaw(P256_CERT, &P256_KEY[..100]), Some(Flaw::NotAKey));
    // What a host loss leaves of a file that was not flushed.
    let torn = vec![0; P256_CERT.len()];
    assert!(flaw(&torn, P256_KEY).is_some());
}

#[test]
fn a_file_that_is_missing_or_unreadable_is_named() {
    let only = |part| Files {
        certificate: if part == Part::Certificate {
            bytes(P256_CERT)
        } else {
            Content::Absent
        },
        key: if part == Part::Key {
            bytes(P256_KEY)
        } else {
            Content::Absent
        },
        ca: Content::Absent,
    };
    let missing = |part| examine(only(part)).unwrap_err();
    assert_eq!(missing(Part::Certificate), Flaw::Missing(Part::Key));
    assert_eq!(missing(Part::Key), Flaw::Missing(Part::Certificate));
    let unreadable = Files {
        ca: Content::Unreadable("permission denied".into()),
        ..files(P256_CERT, P256_KEY)
    };
    assert_eq!(
        words(&examine(unreadable).unwrap_err()),
        "ca.pem cannot be read: permission denied"
    );
}

#[test]
fn a_ca_is_optional_and_one_that_is_none_is_refused_because_postgres_would_not_start_on_it() {
    let with_ca = |ca: &[u8]| Files {
        ca: bytes(ca),
        ..files(P256_CERT, P256_KEY)
    };
    assert_eq!(
        examine(with_ca(RSA_CERT)).unwrap().ca(),
        Some(RSA_CERT),
        "kept as it is"
    );
    let flaw = examine(with_ca(b"not a certificate")).unwrap_err();
    assert_eq!(
        words(&flaw),
        "ca.pem is not a PEM certificate: it holds none"
    );
}

#[test]
fn a_key_is_seen_in_no_debug_output() {
    let bundle = examine(files(P256_CERT, P256_KEY)).unwrap();
    let line = std::str::from_utf8(P256_KEY).unwrap().lines().nth(1);
    let printed = format!("{bundle:?}");
    assert!(printed.contains("key: ***") && !printed.contains(line.unwrap()));
}

proptest! {
    #[test]
    fn no_bytes_make_the_examination_panic(
        certificate in prop::collection::vec(any::<u8>(), 0..200),
        key in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(flaw(&certificate, &key).is_some());
    }

    #[test]
    fn no_damage_to_a_good_pair_makes_it_panic(
        at in 0..P256_CERT.len(), by in 1_u8..,
        key_at in 0..P256_KEY.len(), key_by in 1_u8..,
    ) {
        let damage = |pem: &[u8], at: usize, by: u8| {
            let mut pem = pem.to_vec();
            pem[at] ^= by;
            pem
        };
        // Whether it is refused depends on the byte: the signature is its client's business.
        drop(flaw(&damage(P256_CERT, at, by), P256_KEY));
        drop(flaw(P256_CERT, &damage(P256_KEY, key_at, key_by)));
    }
}
