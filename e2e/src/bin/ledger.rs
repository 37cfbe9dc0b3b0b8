//! The ledger by hand, against any Postgres: `docs/testing.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::ledger::by_hand::{Checked, check, write};

/// Commits numbered rows, writes down which were acknowledged, and checks later that they are there.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Commits until the database is gone, or Ctrl-C.
    Write {
        /// How many clients commit at a time.
        #[arg(long, default_value_t = 4)]
        writers: usize,
        /// End when that many commits were acknowledged.
        #[arg(long)]
        commits: Option<u64>,
        #[command(flatten)]
        between: Between,
    },
    /// Whether all of it is there: exit code 0 if it is, 1 if something is lost, 2 if that could not be found out.
    Check {
        #[command(flatten)]
        between: Between,
    },
}

#[derive(Debug, clap::Args)]
struct Between {
    /// The ledger. It must not be on a volume of the database.
    #[arg(long)]
    file: PathBuf,
    /// postgres://user:password@host:port/database
    url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let said = match Arguments::parse().command {
        Command::Write {
            writers,
            commits,
            between: Between { file, url },
        } => {
            let interrupted = async {
                if let Err(error) = tokio::signal::ctrl_c().await {
                    eprintln!("Ctrl-C cannot be heard: {error}");
                    std::future::pending::<()>().await;
                }
            };
            let wrote = write(&url, &file, writers, commits, interrupted).await;
            wrote.map(Checked::Whole)
        }
        Command::Check {
            between: Between { file, url },
        } => check(&url, &file).await,
    };
    match said {
        Ok(Checked::Whole(words)) => {
            println!("{words}");
            ExitCode::SUCCESS
        }
        Ok(Checked::Lost(words)) => {
            println!("{words}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
