//! `beyond-pg`: PID 1 of a Postgres machine.
//!
//! A library only so that the fuzz targets reach its parsers; the one way in is [`run`].

mod archive;
mod backup;
mod boot;
mod cli;
mod conf;
mod disk;
mod fork;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod fx;
mod hooks;
mod inheritance;
mod init;
mod last_good;
mod layout;
mod link;
mod logs;
mod machine;
mod manifest;
mod metadata;
mod postgres;
mod replication;
mod rpc;
mod settings;
mod sink;
mod supervise;
mod sys;
mod tls;
mod wal;

use std::process::ExitCode;

use crate::archive::Restored;
use crate::backup::Says;
use crate::cli::{Cli, Command, Supervisor};
use crate::layout::Layout;
use crate::link::Link;
use crate::logs::Logs;
use crate::settings::Warning;
use crate::supervise::{End, Options};

/// What `restore` exits with when the archive has no such file: to Postgres, the end of the WAL.
const ABSENT: u8 = 1;
/// What it exits with when that could not be found out. Postgres ends recovery at anything up to 125, and
/// stops at anything above (facts A 16).
const UNKNOWN: u8 = 200;

/// What the process does: reads its command line, carries the command out, says how it ended.
pub fn run() -> ExitCode {
    let layout = Layout::new("/");
    let (command, warnings) = asked_for(&layout);
    let logs = Logs::new();
    log_to(logs.clone());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    carry_out(&layout, &command, logs).unwrap_or_else(|error| failed(&error))
}

/// By the kernel, or by whoever typed or configured the command line of this process.
fn asked_for(layout: &Layout) -> (Command, Vec<Warning>) {
    if init::started_by_kernel(layout.root()) {
        let line = init::command_line(layout.root());
        let supervisor = Supervisor::by_kernel(&line);
        (Command::Supervisor(supervisor), line.warnings)
    } else {
        (Cli::from_args(std::env::args()).command, Vec::new())
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // `{:#}` has the causes and no backtrace, also under RUST_BACKTRACE=1.
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

fn carry_out(layout: &Layout, command: &Command, logs: Logs) -> anyhow::Result<ExitCode> {
    match command {
        Command::Supervisor(options) => {
            #[cfg(feature = "failpoints")]
            if options.lifts_log_limit() {
                logs.lift_limit();
            }
            #[cfg(feature = "failpoints")]
            if let Some(moment) = options.stop_at() {
                boot::failpoint::end_at(moment);
            }
            let options = Options {
                stop_budget: options.stop_budget(),
                hook_deadline: options.hook_deadline(),
                stop_after: options.stop_after(),
                tls_poll: options.tls_poll(),
            };
            Ok(runtime()?.block_on(supervise(layout, options, logs)))
        }
        Command::Boot { plan } => {
            runtime()?.block_on(boot::by_hand(layout, *plan))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Archive { path, name } => {
            runtime()?.block_on(archive::archive(layout, path, name))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ArchiveAhead { at_once } => {
            runtime()?.block_on(archive::ahead::run(layout, usize::from(*at_once)))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ArchiveGap => {
            let caught = runtime()?.block_on(boot::gap::archive::catch_up(layout))?;
            print(&serde_json::to_string(&caught)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup {
            name,
            expected,
            postgres,
        } => {
            let taking = backup::take::take(layout, name, *expected, *postgres, say);
            let (said, code) = match runtime()?.block_on(taking) {
                Ok(record) => (Says::Done(Box::new(record)), ExitCode::SUCCESS),
                Err(error) => (Says::Failed(supervise::chain(&error)), ExitCode::FAILURE),
            };
            say(&said);
            Ok(code)
        }
        Command::FetchBackup { folder } => {
            runtime()?.block_on(archive::fetch_backup(layout, folder))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::RestoreWindow { json } => {
            let window = runtime()?.block_on(archive::restore_window(layout))?;
            print(&match json {
                true => serde_json::to_string(&window)?,
                false => window.to_string(),
            });
            Ok(ExitCode::SUCCESS)
        }
        Command::Restore { name, path } => {
            let restored = runtime()?.block_on(archive::restore(layout, name, path));
            Ok(match restored {
                Ok(Restored::Found) => ExitCode::SUCCESS,
                Ok(Restored::Absent) => ExitCode::from(ABSENT),
                Err(error) => {
                    failed(&error.into());
                    ExitCode::from(UNKNOWN)
                }
            })
        }
    }
}

/// To whoever started this process, who may be gone.
fn say(said: &Says) {
    use std::io::Write as _;
    let told = serde_json::to_string(said).map(|line| writeln!(std::io::stdout(), "{line}"));
    if let Err(error) | Ok(Err(error)) = told.map_err(std::io::Error::from) {
        tracing::warn!("PID 1 does not learn how the backup is: {error}");
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of a command, not a log line"
)]
fn print(text: &str) {
    println!("{text}");
}

/// The life of a machine. However it ends, its last words are on their way to the host.
async fn supervise(layout: &Layout, options: Options, logs: Logs) -> ExitCode {
    let link = Link::open(logs);
    let code = match supervise::run(layout, options, &link).await {
        Ok(End::Clean) => ExitCode::SUCCESS,
        Ok(End::Unclean) => ExitCode::FAILURE,
        Err(error) => failed(&error.into()),
    };
    link.flush().await;
    code
}

/// One thread: PID 1 sleeps nearly always, and spawning and reaping from one thread cannot race.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn log_to(logs: Logs) {
    tracing_subscriber::fmt()
        .with_writer(logs)
        .with_ansi(false)
        .with_target(false)
        .compact()
        .init();
}
