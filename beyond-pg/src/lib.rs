//! `beyond-pg`: PID 1 of a Postgres machine.
//!
//! A library only so that the fuzz targets reach its parsers; the one way in is [`run`].

mod archive;
mod boot;
mod cli;
mod conf;
mod fx;
mod layout;
mod link;
mod logs;
mod machine;
mod manifest;
mod metadata;
mod postgres;
mod rpc;
mod settings;
mod supervise;
mod sys;
mod tls;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::layout::Layout;
use crate::link::Link;
use crate::logs::Logs;
use crate::supervise::{End, Options};

/// What the process does: reads its command line, carries the command out, says how it ended.
pub fn run() -> ExitCode {
    let command = Cli::from_args(std::env::args()).command;
    let logs = Logs::new();
    log_to(logs.clone());
    carry_out(&command, logs).unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // `{:#}` has the causes and no backtrace, also under RUST_BACKTRACE=1.
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

fn carry_out(command: &Command, logs: Logs) -> anyhow::Result<ExitCode> {
    let layout = Layout::new("/");
    match command {
        Command::Supervisor(options) => {
            let options = Options {
                stop_budget: options.stop_budget(),
                stop_after: options.stop_after(),
                tls_poll: options.tls_poll(),
            };
            Ok(runtime()?.block_on(supervise(&layout, options, logs)))
        }
        Command::Boot { plan } => {
            runtime()?.block_on(boot::by_hand(&layout, *plan))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Archive { path, name } => {
            archive::without_target(&layout, path, name)?;
            Ok(ExitCode::SUCCESS)
        }
    }
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
