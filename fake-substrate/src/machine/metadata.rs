//! What a machine is told by its metadata service, and the line a person connects with. Pure, but
//! for the random bytes that [`generated_password`] and [`new_instance_id`] draw.
//!
//! The only file of this crate that spells the guest's keys; what concerns sinks is in [`sink`], what replicas in
//! [`replica`].

#[path = "metadata_restore.rs"]
pub mod restore;
#[path = "metadata_sink.rs"]
pub mod sink;

#[path = "metadata_replica.rs"]
pub mod replica;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::admin::Metadata;
use crate::ports::Ports;

const PASSWORD: &str = "POSTGRES_PASSWORD";
const DATABASE: &str = "POSTGRES_DATABASE";
const INSTANCE_ID: &str = "BEYOND_INSTANCE_ID";
const DIRECT_LISTEN: &str = "BEYOND_PG_DIRECT_LISTEN";
const VOLUME_EPHEMERAL: &str = "BEYOND_VOLUME_EPHEMERAL";
const TIER: &str = "BEYOND_PG_TIER";
const WAL_SINK: &str = "BEYOND_PG_WAL_SINK";
const PRIMARY_CONNINFO: &str = "BEYOND_PG_PRIMARY_CONNINFO";
const SYNC_STANDBYS: &str = "BEYOND_PG_SYNC_STANDBYS";
const REPLICATION_PASSWORD: &str = "BEYOND_PG_REPLICATION_PASSWORD";

/// What somebody wants a machine to be told, over what it is told anyway.
#[derive(Clone, Default)]
pub struct Wishes {
    /// The superuser's password; one is generated when a new machine gets none.
    pub password: Option<String>,
    /// Whether losing the volume is fine; `None` leaves it as it is.
    pub ephemeral: Option<bool>,
    /// Anything else, verbatim; wins over everything above.
    pub set: Metadata,
}

/// A password is no debug output.
impl std::fmt::Debug for Wishes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wishes")
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ephemeral", &self.ephemeral)
            .field("set", &self.set.keys())
            .finish()
    }
}

/// Whether a document says that losing the volume is fine.
pub fn is_ephemeral(document: &Metadata) -> bool {
    let said = document.get(VOLUME_EPHEMERAL).map(String::as_str);
    matches!(said, Some("true" | "1"))
}

impl Wishes {
    /// Whether they say that losing the volume is fine.
    pub fn is_ephemeral(&self) -> bool {
        self.durability() == Some(true)
    }

    /// What a volume is, by the document of its machine, that they want to be the opposite; `None` when
    /// they agree with it or have no opinion.
    pub fn contradiction(&self, known: &Metadata) -> Option<bool> {
        let is = is_ephemeral(known);
        let wanted = self.durability()?;
        (wanted != is).then_some(is)
    }

    /// Whether losing the volume shall be fine; a setting that is spelled out wins.
    fn durability(&self) -> Option<bool> {
        match self.set.get(VOLUME_EPHEMERAL) {
            Some(_) => Some(is_ephemeral(&self.set)),
            None => self.ephemeral,
        }
    }

    /// The document of a machine that has `known` already, or is new when that is empty.
    ///
    /// What nobody asked to change stays: a second `up` must not rotate a password.
    pub fn applied_to(
        &self,
        known: &Metadata,
        instance_id: &str,
        fresh_password: String,
    ) -> Metadata {
        let mut document = known.clone();
        document.insert(INSTANCE_ID.to_owned(), instance_id.to_owned());
        // A published port arrives on the machine's network interface, not on its loopback.
        document
            .entry(DIRECT_LISTEN.to_owned())
            .or_insert_with(|| "0.0.0.0".to_owned());
        if let Some(ephemeral) = self.ephemeral {
            document.insert(VOLUME_EPHEMERAL.to_owned(), ephemeral.to_string());
        }
        if let Some(password) = &self.password {
            document.insert(PASSWORD.to_owned(), password.clone());
        }
        document.extend(self.set.clone());
        document
            .entry(PASSWORD.to_owned())
            .or_insert(fresh_password);
        document
    }
}

/// How a client gets in.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The superuser's password.
    pub password: String,
    /// The database that the machine creates.
    pub database: String,
}

impl Login {
    /// The superuser of every machine.
    pub const USER: &str = "postgres";

    /// From the document; `None` when it has no password, and so nobody gets in.
    pub fn from_metadata(document: &Metadata) -> Option<Self> {
        let database = document.get(DATABASE).filter(|name| !name.is_empty());
        Some(Self {
            password: document.get(PASSWORD)?.clone(),
            database: database.map_or("postgres", String::as_str).to_owned(),
        })
    }

    /// What to paste into a terminal on this host.
    pub fn command(&self, port: u16) -> String {
        let Self { password, database } = self;
        format!(
            "psql postgres://{}:{}@localhost:{port}/{}",
            Self::USER,
            percent_encoded(password),
            percent_encoded(database)
        )
    }

    /// Both doors, the pooler first.
    pub fn commands(&self, ports: Ports) -> (String, String) {
        (self.command(ports.pooler), self.command(ports.direct))
    }
}

/// Everything but RFC 3986's unreserved characters, which are also the ones no shell touches.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator gave no bytes, so no secret can be made")]
pub struct NoRandomness;

/// 24 letters and digits, 142 bits: no character that a URL or a shell would change.
pub fn generated_password() -> Result<String, NoRandomness> {
    random_text(
        24,
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    )
}

/// The identity of the database on a new volume.
pub fn new_instance_id() -> Result<String, NoRandomness> {
    Ok(format!("i-{}", random_text(17, b"0123456789abcdef")?))
}

fn random_text(length: usize, alphabet: &[u8]) -> Result<String, NoRandomness> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 64];
        random
            .fill(&mut bytes)
            .map_err(|_unspecified| NoRandomness)?;
        // Bytes past the last whole multiple of the alphabet would favour its beginning.
        let fair = 256 / alphabet.len() * alphabet.len();
        let usable = bytes
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < fair);
        text.extend(usable.map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    text.truncate(length);
    Ok(text)
}

/// One `KEY=VALUE` of `--set`.
pub fn assignment(text: &str) -> Result<(String, String), InvalidAssignment> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| InvalidAssignment(text.to_owned()))?;
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if key.is_empty() || !key.chars().all(plain) {
        return Err(InvalidAssignment(key.to_owned()));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A `--set` that is not a setting. Holds no value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a setting\nHINT: write KEY=VALUE, with the key in capitals as in BEYOND_PG_TIER=single"
)]
pub struct InvalidAssignment(String);

#[cfg(test)]
mod tests {
    use super::{
        InvalidAssignment, Login, Metadata, Wishes, assignment, generated_password, new_instance_id,
    };

    fn document(pairs: &[(&str, &str)]) -> Metadata {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_new_machine_gets_a_password_an_identity_and_an_open_direct_port() {
        let made = Wishes::default().applied_to(&Metadata::new(), "i-1", "made".to_owned());
        assert_eq!(
            made,
            document(&[
                ("BEYOND_INSTANCE_ID", "i-1"),
                ("BEYOND_PG_DIRECT_LISTEN", "0.0.0.0"),
                ("POSTGRES_PASSWORD", "made"),
            ])
        );
    }

    #[test]
    fn asking_again_changes_nothing_that_was_not_asked_for() {
        let known = document(&[
            ("BEYOND_INSTANCE_ID", "i-1"),
            ("BEYOND_PG_DIRECT_LISTEN", "127.0.0.1"),
            ("BEYOND_VOLUME_EPHEMERAL", "true"),
            ("POSTGRES_PASSWORD", "kept"),
        ]);
        let again = Wishes::default().applied_to(&known, "i-1", "unused".to_owned());
        assert_eq!(again, known);
    }

    #[test]
    fn a_wish_for_an_ephemeral_volume_can_be_spelled_in_two_ways() {
        let wishes = |ephemeral, set: &[(&str, &str)]| Wishes {
            ephemeral,
            set: document(set),
            ..Wishes::default()
        };
        assert!(wishes(Some(true), &[]).is_ephemeral());
        assert!(wishes(None, &[("BEYOND_VOLUME_EPHEMERAL", "1")]).is_ephemeral());
        let contradicted = wishes(Some(true), &[("BEYOND_VOLUME_EPHEMERAL", "false")]);
        assert!(!contradicted.is_ephemeral() && !Wishes::default().is_ephemeral());
    }

    #[test]
    fn a_volume_is_not_asked_to_become_what_it_is_not() {
        let wishes = |ephemeral, set: &[(&str, &str)]| Wishes {
            ephemeral,
            set: document(set),
            ..Wishes::default()
        };
        let durable = document(&[("POSTGRES_PASSWORD", "x")]);
        let ephemeral = document(&[("BEYOND_VOLUME_EPHEMERAL", "true")]);
        let by_hand = |value| wishes(None, &[("BEYOND_VOLUME_EPHEMERAL", value)]);
        assert_eq!(wishes(Some(true), &[]).contradiction(&durable), Some(false));
        assert_eq!(by_hand("false").contradiction(&ephemeral), Some(true));
        for agrees in [wishes(None, &[]), by_hand("1"), wishes(Some(true), &[])] {
            assert_eq!(agrees.contradiction(&ephemeral), None);
        }
        assert_eq!(by_hand("0").contradiction(&durable), None);
        assert_eq!(wishes(None, &[]).contradiction(&durable), None);
    }

    #[test]
    fn a_setting_given_by_hand_wins() {
        let wishes = Wishes {
            password: Some("flag".to_owned()),
            ephemeral: Some(true),
            set: document(&[
                ("POSTGRES_PASSWORD", "set"),
                ("BEYOND_INSTANCE_ID", "other"),
            ]),
        };
        let made = wishes.applied_to(&Metadata::new(), "i-1", "unused".to_owned());
        assert_eq!(made["POSTGRES_PASSWORD"], "set");
        assert_eq!(made["BEYOND_INSTANCE_ID"], "other");
        assert_eq!(made["BEYOND_VOLUME_EPHEMERAL"], "true");
    }

    #[test]
    fn the_line_to_paste_survives_any_password() {
        let login = Login::from_metadata(&document(&[
            ("POSTGRES_PASSWORD", "a b/c@d:é'$%"),
            ("POSTGRES_DATABASE", "shop"),
        ]));
        assert_eq!(
            login.unwrap().command(5432),
            "psql postgres://postgres:a%20b%2Fc%40d%3A%C3%A9%27%24%25@localhost:5432/shop"
        );
        assert!(Login::from_metadata(&Metadata::new()).is_none());
    }

    #[test]
    fn what_is_generated_is_long_plain_and_never_the_same() {
        let (one, two) = (generated_password().unwrap(), generated_password().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 24);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(new_instance_id().unwrap().len(), 19);
    }

    #[test]
    fn a_setting_is_split_at_its_first_equals_sign() {
        assert_eq!(
            assignment("A_B=c=d"),
            Ok(("A_B".to_owned(), "c=d".to_owned()))
        );
        assert_eq!(assignment("A="), Ok(("A".to_owned(), String::new())));
        assert_eq!(
            assignment("lower=x"),
            Err(InvalidAssignment("lower".to_owned()))
        );
        assert!(assignment("A").is_err());
        assert!(assignment("=x").is_err());
    }

    #[test]
    fn wishes_print_no_secret() {
        let wishes = Wishes {
            password: Some("sentinel".to_owned()),
            ephemeral: None,
            set: document(&[("POSTGRES_PASSWORD", "sentinel")]),
        };
        assert!(!format!("{wishes:?}").contains("sentinel"));
    }
}
