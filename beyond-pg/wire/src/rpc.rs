//! The control RPC: the host asks, the machine answers, several times on one connection to
//! port 5430 (I-003, L-001).
//!
//! ```text
//!  0        4                                4 + length
//!  | length | MessagePack {cmd, ...}         | next request
//!  | length | MessagePack {ok, error?, ...}  | next answer
//!    u32 BE
//! ```
//!
//! [`crate::prefix`] cuts the bodies; this file is what is in them.

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::message_pack::{self, MessagePackError};

/// The commands, by name, in the order in which an answer lists them.
pub const COMMANDS: [&str; 10] = [
    "capabilities",
    "health",
    "checkpoint",
    "reload",
    "backup",
    "prepare_fork",
    "promote",
    "set_sync_standbys",
    "archive_now",
    "shutdown",
];

/// What the host asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command this version knows.
    Known(Command),
    /// One it does not: a newer host deserves an answer, and not a closed connection.
    Unknown(String),
}

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Command {
    /// Which commands there are.
    Capabilities,
    /// How the machine is.
    Health,
    /// Write everything up to here to the volume.
    Checkpoint,
    /// Read the configuration again.
    Reload,
    /// Stream a base backup to the archive target.
    Backup,
    /// Make the volume ready to be forked.
    PrepareFork,
    /// Become a primary.
    Promote,
    /// Replace the names a commit waits for.
    SetSyncStandbys {
        /// The standbys' names; none means that commits wait for nobody.
        names: Vec<String>,
    },
    /// Archive the current segment.
    ArchiveNow,
    /// Stop the machine cleanly.
    Shutdown,
}

/// What the machine answers. Fields that a command has no use for are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where the WAL was when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    /// The commands there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// How the machine is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// How a machine is: what it knows of itself at this moment. What it cannot know yet is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `booting`, `starting`, `ready` or `stopping`.
    pub state: String,
    /// Since when clients get in: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<i64>,
    /// The timeline that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// Whether Postgres replays WAL and takes no writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_recovery: Option<bool>,
    /// Size of the volume's file system in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bytes: Option<u64>,
    /// Of it, bytes that Postgres may still fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_free_bytes: Option<u64>,
    /// What is not as it should be on a machine that goes on all the same: each with what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Lines of the configuration that are not in force, as `file line N: why`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<String>,
    /// The record of the last boot, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    cmd: String,
}

impl Request {
    /// The body of the request.
    pub fn encode(&self) -> Result<Vec<u8>, MessagePackError> {
        match self {
            Self::Known(command) => message_pack::encode("a control request", command),
            Self::Unknown(cmd) => {
                let named = Named { cmd: cmd.clone() };
                message_pack::encode("a control request", &named)
            }
        }
    }

    /// The request in a body. A known command with unusable arguments is an error; an unknown
    /// one is a [`Request::Unknown`], whatever its arguments.
    pub fn decode(body: &[u8]) -> Result<Self, MessagePackError> {
        let Named { cmd } = message_pack::decode("a control request", body)?;
        if COMMANDS.contains(&cmd.as_str()) {
            message_pack::decode("a control request", body).map(Self::Known)
        } else {
            Ok(Self::Unknown(cmd))
        }
    }
}

impl Response {
    /// Done.
    pub fn done() -> Self {
        Self {
            ok: true,
            error: None,
            lsn: None,
            commands: None,
            health: None,
        }
    }

    /// Done, with the WAL at this position.
    pub fn done_at(lsn: Lsn) -> Self {
        Self {
            lsn: Some(lsn),
            ..Self::done()
        }
    }

    /// The answer to [`Command::Health`].
    pub fn healthy(lsn: Option<Lsn>, health: Health) -> Self {
        Self {
            lsn,
            health: Some(health),
            ..Self::done()
        }
    }

    /// Not done: what was tried, on what, and what to do.
    pub fn refused(error: impl Into<String>) -> Self {
        Self {
            ok: false,
            error: Some(error.into()),
            ..Self::done()
        }
    }

    /// The answer to [`Command::Capabilities`].
    pub fn capabilities() -> Self {
        Self {
            commands: Some(COMMANDS.map(str::to_owned).into()),
            ..Self::done()
        }
    }

    /// The answer to [`Request::Unknown`], which names the known ones.
    pub fn unknown(cmd: &str) -> Self {
        let known = COMMANDS.join(", ");
        let error = format!("no command is called {cmd:?}\nHINT: the commands are {known}");
        Self {
            commands: Self::capabilities().commands,
            ..Self::refused(error)
        }
    }

    /// The body of the answer.
    pub fn encode(&self) -> Result<Vec<u8>, MessagePackError> {
        message_pack::encode("a control answer", self)
    }

    /// The answer in a body.
    pub fn decode(body: &[u8]) -> Result<Self, MessagePackError> {
        message_pack::decode("a control answer", body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit_commands() -> [Command; 9] {
        [
            Command::Capabilities,
            Command::Health,
            Command::Checkpoint,
            Command::Reload,
            Command::Backup,
            Command::PrepareFork,
            Command::Promote,
            Command::ArchiveNow,
            Command::Shutdown,
        ]
    }

    #[test]
    fn the_list_of_commands_is_the_enum() {
        let names = unit_commands().map(|command| {
            let body = Request::Known(command.clone()).encode().expect("it packs");
            assert_eq!(
                Request::decode(&body).expect("known"),
                Request::Known(command)
            );
            message_pack::decode::<Named>("a test", &body)
                .expect("named")
                .cmd
        });
        let listed: Vec<_> = COMMANDS
            .into_iter()
            .filter(|c| *c != "set_sync_standbys")
            .collect();
        assert_eq!(names.as_slice(), listed);
    }

    #[test]
    fn an_unknown_command_is_answered_with_the_known_ones() {
        let body = b"\x82\xa3cmd\xa8teleport\xa2to\xa4mars";
        let request = Request::decode(body).expect("an unknown command is a request");
        assert_eq!(request, Request::Unknown("teleport".into()));
        let answer = Response::unknown("teleport");
        assert!(!answer.ok);
        assert_eq!(
            answer.error.as_deref(),
            Some(
                "no command is called \"teleport\"\nHINT: the commands are capabilities, health, \
                 checkpoint, reload, backup, prepare_fork, promote, set_sync_standbys, \
                 archive_now, shutdown"
            )
        );
    }

    #[test]
    fn a_body_that_is_no_request_is_an_error() {
        for body in [
            &b""[..],
            b"\x80",
            b"\x81\xa3cmd\x01",
            b"\x91\xa6health",
            b"\x81\xa3cmd\xb1set_sync_standbys",
            b"\x81\xa3cmd\xa6health\xc0",
            b"{\"cmd\":\"health\"}",
        ] {
            Request::decode(body).expect_err("not a request");
        }
    }

    proptest! {
        #[test]
        fn every_request_survives_its_body(
            names in prop::collection::vec(any::<String>(), 0..4),
            unknown in "[a-z]{12,20}",
        ) {
            let standbys = Request::Known(Command::SetSyncStandbys { names });
            for request in [standbys, Request::Unknown(unknown)] {
                let body = request.encode().expect("it packs");
                prop_assert_eq!(Request::decode(&body).expect("it unpacks"), request);
            }
        }

        #[test]
        fn every_answer_survives_its_body(
            ok in any::<bool>(),
            error in any::<Option<String>>(),
            lsn in any::<Option<u64>>(),
            commands in any::<Option<Vec<String>>>(),
        ) {
            let lsn = lsn.map(Lsn::new);
            let answer = Response { ok, error, lsn, commands, health: None };
            let body = answer.encode().expect("it packs");
            prop_assert_eq!(Response::decode(&body).expect("it unpacks"), answer);
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = (Request::decode(&body), Response::decode(&body));
        }
    }
}
