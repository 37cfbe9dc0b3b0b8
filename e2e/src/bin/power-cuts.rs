//! Power cuts under load, as many as one has time for: no acknowledged commit may be lost in any.
//! `docs/testing.md` has what is drawn, and what is looked at.

use std::pin::pin;
use std::process::ExitCode;

use clap::Parser;
use e2e::soak::{Ended, Soak, power_cuts};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Cuts the power of a machine under load, again and again, and counts what it acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    /// The first round's seed; each round has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play on after a round that lost something.
    #[arg(long)]
    keep_going: bool,
    /// Switch fsync off in the machine: shows that the run notices, and must fail.
    #[arg(long)]
    fsync_off: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {
        rounds,
        seed,
        keep_going,
        fsync_off,
    } = Arguments::parse();
    let soak = Soak {
        rounds,
        seed,
        keep_going,
        fsync_off,
    };
    let signals = match Signals::taken() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("taking over Ctrl-C, so that nothing is left behind: {error}");
            return ExitCode::FAILURE;
        }
    };
    match power_cuts(soak, pin!(signals.either())).await {
        Ok(Ended::Kept) => ExitCode::SUCCESS,
        // As a shell tells of Ctrl-C.
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(failed) => {
            eprintln!("{failed:?}");
            ExitCode::FAILURE
        }
    }
}

/// Taken before anything is made: a signal that comes while a world is made is kept until it can be taken
/// away again.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn taken() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn either(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
