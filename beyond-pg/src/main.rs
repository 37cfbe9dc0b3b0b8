//! `beyond-pg`: PID 1 of a Postgres machine.

mod archive;
mod boot;
mod cli;
mod conf;
mod fx;
mod layout;
mod machine;
mod manifest;
mod metadata;
mod postgres;
mod settings;
mod supervise;
mod sys;
mod tls;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::layout::Layout;
use crate::supervise::{End, Options};

fn main() -> ExitCode {
    let command = Cli::from_args(std::env::args()).command;
    log_to_stderr();
    match run(&command) {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` has the causes and no backtrace, also under RUST_BACKTRACE=1.
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let layout = Layout::new("/");
    match command {
        Command::Supervisor(options) => {
            let options = Options {
                stop_budget: options.stop_budget(),
                stop_after: options.stop_after(),
            };
            let end = runtime()?.block_on(supervise::run(&layout, options))?;
            Ok(match end {
                End::Clean => ExitCode::SUCCESS,
                End::Unclean => ExitCode::FAILURE,
            })
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

/// One thread: PID 1 sleeps nearly always, and spawning and reaping from one thread cannot race.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .compact()
        .init();
}
