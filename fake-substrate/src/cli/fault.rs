//! `fault`: what is broken on purpose.

use std::io::IsTerminal as _;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;

use crate::admin::AdminClient;
use crate::fault::{
    self, ClockFault, NewFault, Offset, Partition, Party, Standing, VolumeFault, VolumeTrouble,
};
use crate::link::fault::{LinkFault, LinkTrouble};
use crate::machine::size::Room;
use crate::mmds::fault::{Garbage, MmdsFault, MmdsTrouble};
use crate::names::MachineName;
use crate::s3::faults::{Glob, Operation, S3Fault, Verdict};
use crate::volume::trouble::{self, Requests, Trouble};

use super::{CliError, Site, answer, status};

#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// Break something
    #[command(subcommand)]
    Add(Add),
    /// What is broken
    Ls {
        /// For a program
        #[arg(long)]
        json: bool,
    },
    /// End a fault, or every one
    Clear {
        /// Which one; every one when nothing is said
        id: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Add {
    /// Object storage, for the requests that match
    #[command(subcommand)]
    S3(S3),
    /// A machine's metadata service, for its requests
    #[command(subcommand)]
    Mmds(Mmds),
    /// The host's end of a machine's link
    #[command(subcommand)]
    Link(Link),
    /// The network between two: every packet vanishes
    Partition {
        /// A machine
        from: Party,
        /// Another machine, `service` (metadata, link, object storage) or `everything`
        to: Party,
        /// Only what the first one sends is lost
        #[arg(long)]
        one_way: bool,
    },
    /// The clock of object storage and metadata tokens, against that of the machines
    Clock {
        /// As in +20m or -90s; positive is ahead
        #[arg(long, allow_hyphen_values = true)]
        offset: Offset,
    },
    /// A machine's volume
    #[command(subcommand)]
    Volume(Volume),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// A file of no use to anybody takes the room
    Full {
        /// Whose
        #[arg(long)]
        machine: MachineName,
        /// How much is left, as in 1m
        #[arg(long)]
        leave: Option<Room>,
    },
    /// Requests of its disk fail
    Fail(OfDisk),
    /// Requests of its disk are served later
    Delay {
        /// By how many milliseconds
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        ms: u64,
        #[command(flatten)]
        of: OfDisk,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OfDisk {
    /// Which requests: reads, writes or flushes
    #[arg(long, value_name = "REQUESTS")]
    on: Requests,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Link {
    /// Connections are accepted and nothing is read
    Stalled {
        /// Whose
        #[arg(long)]
        machine: MachineName,
    },
    /// The link ends, and every other that is dialled is reset
    Refused(Whose),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mmds {
    /// Never answer
    Silent(Whose),
    /// Answer later
    Slow {
        /// By how many milliseconds
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        ms: u64,
        #[command(flatten)]
        whose: Whose,
    },
    /// Answer with bytes that make no sense, whatever is asked for
    Garbage {
        /// These; bytes that are no text unless told otherwise
        #[arg(long, conflicts_with = "file")]
        text: Option<String>,
        /// What is in this file
        #[arg(long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Find nothing, as after a resume from a snapshot
    Empty(Whose),
    /// Reset the connection in the middle of an answer
    Reset(Whose),
    /// End before the length that was announced
    Truncated(Whose),
    /// Take no token that was given
    Forgetful(Whose),
}

#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Whose
    #[arg(long)]
    machine: MachineName,
    /// Only so often; until it is cleared when nothing is said
    #[arg(long, value_name = "N")]
    times: Option<NonZeroU32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum S3 {
    /// Answer with an error and do nothing
    Refuse {
        /// Which error
        #[arg(long, default_value_t = 503, value_parser = clap::value_parser!(u16).range(400..=599))]
        status: u16,
        #[command(flatten)]
        which: Which,
    },
    /// Do it later
    Delay {
        /// By how many milliseconds
        #[arg(long)]
        ms: u64,
        #[command(flatten)]
        which: Which,
    },
    /// Reset the connection in the middle of the body
    Reset(Which),
    /// Do it, and reset the connection in place of an answer
    LoseReply(Which),
    /// Let the body through slowly
    Slow {
        /// How many bytes in a second
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        rate: u64,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only this operation, as in put, get, upload-part; every one when nothing is said
    #[arg(long, value_name = "OPERATION")]
    on: Option<Operation>,
    /// Only keys like this; * is any text
    #[arg(long, value_name = "PATTERN")]
    key: Option<String>,
    /// Only so often; until it is cleared when nothing is said
    #[arg(long, value_name = "N")]
    times: Option<NonZeroU32>,
}

impl Fault {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let substrate = site.connect().await?;
        let hands = substrate.hands();
        match self {
            Self::Add(add) => {
                let standing = hands.break_down(add.fault()?).await?;
                let (id, fault) = (standing.id, &standing.fault);
                let times = times(&standing);
                answer(&format!(
                    "fault {id}: {fault}, ends {times}; `fault clear {id}` ends it at once"
                ))
            }
            Self::Ls { json } => ls(substrate.admin(), json).await,
            Self::Clear { id: Some(id) } => Ok(hands.heal_numbered(id).await?),
            Self::Clear { id: None } => {
                let cleared = hands.heal_everything().await?;
                let lines = cleared.iter();
                let lines = lines.map(|fault| format!("fault {} ended: {}", fault.id, fault.fault));
                match lines.collect::<Vec<_>>() {
                    none if none.is_empty() => answer("no fault stands"),
                    lines => answer(&lines.join("\n")),
                }
            }
        }
    }
}

impl Add {
    fn fault(self) -> Result<NewFault, CliError> {
        let (fault, times) = match self {
            Self::S3(s3) => s3.fault(),
            Self::Mmds(mmds) => mmds.fault()?,
            Self::Link(link) => link.fault(),
            Self::Partition { from, to, one_way } => {
                let cut = Partition { from, to, one_way };
                (fault::Fault::Partition(cut), None)
            }
            Self::Clock { offset } => {
                let clock = ClockFault { offset_ms: offset };
                (fault::Fault::Clock(clock), None)
            }
            Self::Volume(volume) => (fault::Fault::Volume(volume.fault()), None),
        };
        Ok(NewFault {
            times,
            ..NewFault::new(fault)
        })
    }
}

impl Volume {
    fn fault(self) -> VolumeFault {
        let (verdict, of) = match self {
            Self::Full { machine, leave } => {
                let leave = leave.map_or(0, Room::bytes);
                return VolumeFault {
                    machine: machine.to_string(),
                    trouble: VolumeTrouble::Full { leave },
                };
            }
            Self::Fail(of) => (trouble::Verdict::Fail, of),
            Self::Delay { ms, of } => (trouble::Verdict::Delay { ms }, of),
        };
        let Whose { machine, times } = of.whose;
        let on = of.on;
        VolumeFault {
            machine: machine.to_string(),
            trouble: VolumeTrouble::Disk(Trouble { on, verdict, times }),
        }
    }
}

impl S3 {
    fn fault(self) -> (fault::Fault, Option<NonZeroU32>) {
        let (verdict, which) = match self {
            Self::Refuse { status, which } => (Verdict::Refuse { status }, which),
            Self::Delay { ms, which } => (Verdict::Delay { ms }, which),
            Self::Reset(which) => (Verdict::Reset, which),
            Self::LoseReply(which) => (Verdict::LoseReply, which),
            Self::Slow { rate, which } => (Verdict::Slow { rate }, which),
        };
        let s3 = S3Fault {
            verdict,
            on: which.on,
            key: which.key.map(Glob::new),
        };
        (fault::Fault::S3(s3), which.times)
    }
}

/// No text in any encoding that JSON may have, and not the beginning of anything.
const NONSENSE: [u8; 4] = [0xff, 0xfe, b'{', 0x00];

impl Mmds {
    fn fault(self) -> Result<(fault::Fault, Option<NonZeroU32>), CliError> {
        let (trouble, whose) = match self {
            Self::Silent(whose) => (MmdsTrouble::Silent, whose),
            Self::Slow { ms, whose } => (MmdsTrouble::Slow { ms }, whose),
            Self::Garbage { text, file, whose } => {
                let garbage = match (text, file) {
                    (Some(text), _) => Garbage::Text(text),
                    (None, Some(file)) => {
                        let read = std::fs::read(&file);
                        read.map_err(|source| CliError::Garbage { file, source })?
                            .into()
                    }
                    (None, None) => NONSENSE.to_vec().into(),
                };
                (MmdsTrouble::Garbage(garbage), whose)
            }
            Self::Empty(whose) => (MmdsTrouble::Empty, whose),
            Self::Reset(whose) => (MmdsTrouble::Reset, whose),
            Self::Truncated(whose) => (MmdsTrouble::Truncated, whose),
            Self::Forgetful(whose) => (MmdsTrouble::Forgetful, whose),
        };
        let machine = whose.machine.to_string();
        let mmds = MmdsFault { machine, trouble };
        Ok((fault::Fault::Mmds(mmds), whose.times))
    }
}

impl Link {
    fn fault(self) -> (fault::Fault, Option<NonZeroU32>) {
        let (trouble, machine, times) = match self {
            Self::Stalled { machine } => (LinkTrouble::Stalled, machine, None),
            Self::Refused(Whose { machine, times }) => (LinkTrouble::Refused, machine, times),
        };
        let machine = machine.to_string();
        (fault::Fault::Link(LinkFault { machine, trouble }), times)
    }
}

async fn ls(admin: &AdminClient, json: bool) -> Result<(), CliError> {
    let standing = admin.faults().await?;
    if json {
        let json = serde_json::to_string_pretty(&standing);
        return answer(&json.map_err(|error| CliError::Output(error.into()))?);
    }
    if standing.is_empty() {
        return answer("no fault stands");
    }
    let mut table: Table = status::table(std::io::stdout().is_terminal());
    table.set_header(["FAULT", "WHAT", "STRUCK", "ENDS"]);
    for standing in &standing {
        table.add_row([
            standing.id.to_string(),
            standing.fault.to_string(),
            standing.struck.to_string(),
            times(standing),
        ]);
    }
    answer(&table.trim_fmt())
}

fn times(standing: &Standing) -> String {
    match standing.remaining {
        None => "until it is cleared".to_owned(),
        Some(1) => "after once more".to_owned(),
        Some(times) => format!("after {times} more"),
    }
}
