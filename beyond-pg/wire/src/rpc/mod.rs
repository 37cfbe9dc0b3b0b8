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
//! [`crate::prefix`] cuts the bodies; here is what is in them, and in [`schema`] what it means.

mod health;
mod lifecycle;
pub mod schema;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::message_pack::{self, MessagePackError};

pub use health::{
    Archive, Backup, Configuration, Disk, Health, Map, Server, Standby, Upstream, Versions, Wal,
};
pub use lifecycle::Lifecycle;
pub use schema::CommandRow;

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

/// A command without its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each command's meaning is its row of the schema"
)]
pub enum CommandName {
    Capabilities,
    Health,
    Checkpoint,
    Reload,
    Backup,
    PrepareFork,
    Promote,
    SetSyncStandbys,
    ArchiveNow,
    Shutdown,
}

/// What the machine answers. Fields that a command has no use for are absent; what each means is
/// its row in [`schema::ANSWER`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Response {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush_lsn: Option<Lsn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_standbys: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    cmd: String,
}

impl CommandName {
    /// As it stands in `cmd`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Health => "health",
            Self::Checkpoint => "checkpoint",
            Self::Reload => "reload",
            Self::Backup => "backup",
            Self::PrepareFork => "prepare_fork",
            Self::Promote => "promote",
            Self::SetSyncStandbys => "set_sync_standbys",
            Self::ArchiveNow => "archive_now",
            Self::Shutdown => "shutdown",
        }
    }

    /// What is written down about it.
    pub const fn row(self) -> &'static CommandRow {
        // The rows stand in the order of the variants, which a test holds.
        &schema::COMMANDS[self as usize]
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Command {
    /// Which it is.
    pub const fn name(&self) -> CommandName {
        match self {
            Self::Capabilities => CommandName::Capabilities,
            Self::Health => CommandName::Health,
            Self::Checkpoint => CommandName::Checkpoint,
            Self::Reload => CommandName::Reload,
            Self::Backup => CommandName::Backup,
            Self::PrepareFork => CommandName::PrepareFork,
            Self::Promote => CommandName::Promote,
            Self::SetSyncStandbys { .. } => CommandName::SetSyncStandbys,
            Self::ArchiveNow => CommandName::ArchiveNow,
            Self::Shutdown => CommandName::Shutdown,
        }
    }
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
        match CommandRow::named(&cmd) {
            Some(_row) => message_pack::decode("a control request", body).map(Self::Known),
            None => Ok(Self::Unknown(cmd)),
        }
    }
}

/// The body of a request that this version does not know, its arguments as they are: what a host
/// sends to a machine that may be newer.
pub fn encode_unknown(request: &Map) -> Result<Vec<u8>, MessagePackError> {
    message_pack::encode("a control request", request)
}

impl Response {
    /// Done.
    pub fn done() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }

    /// Done, with the WAL at this position.
    pub fn done_at(lsn: Lsn) -> Self {
        Self {
            lsn: Some(lsn),
            ..Self::done()
        }
    }

    /// Not done: what was tried, on what, and what to do.
    pub fn refused(error: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }

    /// The answer to [`Request::Unknown`], which names the known ones.
    pub fn unknown(cmd: &str) -> Self {
        let known = schema::names();
        let error = format!("no command is called {cmd:?}\nHINT: the commands are {known}");
        let names = schema::COMMANDS.iter();
        Self {
            commands: Some(names.map(|row| row.name.to_string()).collect()),
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
    fn a_request_of_a_newer_host_keeps_its_arguments_on_the_way() {
        let request = serde_json::json!({"cmd": "teleport", "to": "mars"});
        let request = request.as_object().expect("a map");
        let body = encode_unknown(request).expect("it packs");
        assert_eq!(body, b"\x82\xa3cmd\xa8teleport\xa2to\xa4mars");
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
            let answer = Response { ok, error, lsn, commands, ..Response::default() };
            let body = answer.encode().expect("it packs");
            prop_assert_eq!(Response::decode(&body).expect("it unpacks"), answer);
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = (Request::decode(&body), Response::decode(&body));
        }
    }
}
