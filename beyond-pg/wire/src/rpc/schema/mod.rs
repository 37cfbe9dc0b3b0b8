//! What may be asked, when, and what comes back: the table behind `docs/wire.md` and
//! `fake-substrate rpc`. Tests hold it against the enum and the structs, and in `beyond-pg`
//! against the function that decides.

mod health;

use std::time::Duration;

use super::{CommandName, Lifecycle};

pub use health::HEALTH;

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandRow {
    /// Its name.
    pub name: CommandName,
    /// What may be given with it. At present each is required.
    pub arguments: &'static [Field],
    /// What it does, in one sentence without its first capital.
    pub does: &'static str,
    /// The fields of an answer with `ok: true`, besides `ok`.
    pub fills: &'static [&'static str],
    /// Where it is carried out; elsewhere it is refused with the reason. None: this version
    /// refuses it everywhere.
    pub states: &'static [Lifecycle],
    /// The machine has answered by then, done or not.
    pub deadline: Duration,
}

/// An argument, or a field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; within a map `map.name`, within each map of an array `array[].name`.
    pub name: &'static str,
    /// Its type and unit.
    pub kind: Kind,
    /// What it says.
    pub meaning: &'static str,
}

/// The type of a value, and its unit where a number has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number that counts or names something.
    Number,
    /// A size.
    Bytes,
    /// Seconds since 1970.
    Time,
    /// A WAL position as Postgres prints it.
    Lsn,
    /// UTF-8.
    Text,
    /// An array of texts.
    Texts,
    /// A map; its fields are rows of their own.
    Map,
    /// An array of maps; their fields are rows of their own.
    Maps,
    /// A map whose fields are described elsewhere.
    Record,
}

impl Kind {
    /// For a reader.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "number",
            Self::Bytes => "bytes",
            Self::Time => "seconds since 1970",
            Self::Lsn => "WAL position, as in `\"16/B374D848\"`",
            Self::Text => "text",
            Self::Texts => "array of text",
            Self::Map | Self::Record => "map",
            Self::Maps => "array of maps",
        }
    }
}

const fn field(name: &'static str, kind: Kind, meaning: &'static str) -> Field {
    Field {
        name,
        kind,
        meaning,
    }
}

const ANY: &[Lifecycle] = &Lifecycle::ALL;
const SERVING: &[Lifecycle] = &[Lifecycle::Ready, Lifecycle::Restarting];
const READY: &[Lifecycle] = &[Lifecycle::Ready];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every command, in the order in which an answer lists them.
pub static COMMANDS: [CommandRow; 10] = [
    CommandRow {
        name: CommandName::Capabilities,
        arguments: &[],
        does: "lists the commands that this machine can carry out",
        fills: &["commands"],
        states: ANY,
        deadline: seconds(5),
    },
    CommandRow {
        name: CommandName::Health,
        arguments: &[],
        does: "tells everything the machine knows of itself; what cannot be asked is named, and \
               never keeps the rest back",
        fills: &["health", "lsn"],
        states: ANY,
        deadline: seconds(5),
    },
    CommandRow {
        name: CommandName::Checkpoint,
        arguments: &[],
        does: "writes everything up to now to the volume; `lsn` is where recovery would begin",
        fills: &["lsn", "flush_lsn"],
        states: SERVING,
        deadline: seconds(600),
    },
    CommandRow {
        name: CommandName::Reload,
        arguments: &[],
        does: "lets both servers read their configuration again, and fails with what Postgres \
               objects to",
        fills: &[],
        states: SERVING,
        deadline: seconds(15),
    },
    CommandRow {
        name: CommandName::Backup,
        arguments: &[],
        does: "streams a base backup to the archive target, one at a time; it is called `backup`, \
               and can be restored to `lsn` or later",
        fills: &["lsn", "backup"],
        states: SERVING,
        deadline: seconds(6 * 3600),
    },
    CommandRow {
        name: CommandName::PrepareFork,
        arguments: &[],
        does: "runs the pre-fork hooks and then a checkpoint: a snapshot of the volume that is \
               taken after the answer holds every commit up to `flush_lsn` and recovers from `lsn`",
        fills: &["lsn", "flush_lsn"],
        states: READY,
        deadline: seconds(600),
    },
    CommandRow {
        name: CommandName::Promote,
        arguments: &[],
        does: "makes a replica a primary and waits until it is one; `lsn` is where its new `timeline` \
               begins. Asked again it answers the same, until the metadata calls it a primary: that one \
               refuses",
        fills: &["lsn", "timeline"],
        states: SERVING,
        deadline: seconds(60),
    },
    CommandRow {
        name: CommandName::SetSyncStandbys,
        arguments: &[field(
            "names",
            Kind::Texts,
            "the standbys that a commit waits for; empty means that commits wait for nobody",
        )],
        does: "replaces the names that a commit of this primary waits for, also at its next boots, until \
               the metadata names others than it did now; `sync_standbys` is in force for every commit \
               after `lsn`",
        fills: &["lsn", "sync_standbys"],
        states: SERVING,
        deadline: seconds(60),
    },
    CommandRow {
        name: CommandName::ArchiveNow,
        arguments: &[],
        does: "ends the current segment, if anything was written to it, and waits until all WAL \
               before `lsn` is archived; `segment` is the last of it",
        fills: &["lsn", "segment"],
        states: SERVING,
        deadline: seconds(120),
    },
    CommandRow {
        name: CommandName::Shutdown,
        arguments: &[],
        does: "answers with the position from which the next boot could recover, then stops the \
               machine, whose own last checkpoint leaves nothing to recover",
        fills: &["lsn"],
        states: ANY,
        deadline: seconds(15),
    },
];

/// The fields of an answer. All but `ok` are absent where they have nothing to say.
pub static ANSWER: &[Field] = &[
    field("ok", Kind::Bool, "whether it was done"),
    field(
        "error",
        Kind::Text,
        "with `ok: false`: what was tried, on what, and a `HINT:`",
    ),
    field(
        "lsn",
        Kind::Lsn,
        "where the WAL was; what that means for each command stands with it",
    ),
    field(
        "flush_lsn",
        Kind::Lsn,
        "up to here the WAL was on disk when it was done",
    ),
    field(
        "timeline",
        Kind::Number,
        "the timeline that a promotion has begun",
    ),
    field(
        "sync_standbys",
        Kind::Text,
        "`synchronous_standby_names` as Postgres follows it",
    ),
    field(
        "segment",
        Kind::Text,
        "the last WAL file that the command was about",
    ),
    field(
        "backup",
        Kind::Text,
        "the name of the backup that was taken",
    ),
    field(
        "objections",
        Kind::Texts,
        "lines of the configuration that are not in force, each with the reason",
    ),
    field(
        "commands",
        Kind::Texts,
        "what this machine can carry out; of an answer to an unknown command: the known ones",
    ),
    field("health", Kind::Map, "see below"),
];

impl CommandRow {
    /// The row of the command that has this name, if one has.
    pub fn named(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|row| row.name.as_str() == name)
    }
}

/// The names of all commands, for a sentence.
pub fn names() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|row| row.name.as_str()).collect();
    names.join(", ")
}
