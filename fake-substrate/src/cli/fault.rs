//! `fault`: what is broken on purpose.

use std::io::IsTerminal as _;
use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use comfy_table::Table;

use fake_substrate::admin::AdminClient;
use fake_substrate::fault::{self, NewFault, Standing};
use fake_substrate::s3::faults::{Glob, Operation, S3Fault, Verdict};

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
        let admin = substrate.admin();
        match self {
            Self::Add(add) => {
                let standing = admin.add_fault(&add.fault()).await?;
                let (id, fault) = (standing.id, &standing.fault);
                let times = times(&standing);
                answer(&format!(
                    "fault {id}: {fault}, ends {times}; `fault clear {id}` ends it at once"
                ))
            }
            Self::Ls { json } => ls(admin, json).await,
            Self::Clear { id: Some(id) } => Ok(admin.clear_fault(id).await?),
            Self::Clear { id: None } => {
                let cleared = admin.clear_faults().await?;
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
    fn fault(self) -> NewFault {
        let Self::S3(s3) = self;
        let (verdict, which) = match s3 {
            S3::Refuse { status, which } => (Verdict::Refuse { status }, which),
            S3::Delay { ms, which } => (Verdict::Delay { ms }, which),
            S3::Reset(which) => (Verdict::Reset, which),
            S3::LoseReply(which) => (Verdict::LoseReply, which),
            S3::Slow { rate, which } => (Verdict::Slow { rate }, which),
        };
        NewFault {
            fault: fault::Fault::S3(S3Fault {
                verdict,
                on: which.on,
                key: which.key.map(Glob::new),
            }),
            times: which.times,
        }
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
