//! Lost hosts and power cuts under load, as many as one has time for. `docs/testing.md` has what is drawn, and what
//! is looked at.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::soak::{Break, Ended, Ends, Soak};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Loses hosts and power of machines under load, again and again, and counts what was acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    /// The first round's seed; each round has the next one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..1 << 62))]
    seed: u64,
    /// How rounds end.
    #[arg(long, value_enum, default_value_t = Ends::Any)]
    ends: Ends,
    /// Play this instead of what the seed draws, as in 'sink; write 16x tiny direct; commits 200; lose-host'.
    #[arg(long)]
    history: Option<String>,
    /// Play on after a round that failed.
    #[arg(long)]
    keep_going: bool,
    /// Do not look for the shortest history that fails.
    #[arg(long)]
    no_shrink: bool,
    /// Break a promise on purpose: shows that the run notices, and must fail.
    #[arg(long = "break", value_enum)]
    breaks: Option<Break>,
    /// Write finished rounds down here, and pass over those that are there.
    #[arg(long)]
    resume: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {
        rounds,
        seed,
        ends,
        history,
        keep_going,
        no_shrink,
        breaks,
        resume,
    } = Arguments::parse();
    let soak = Soak {
        rounds,
        seed,
        ends,
        history,
        keep_going,
        shrink: !no_shrink,
        breaks,
        resume,
    };
    // Before anything is made: a signal that comes meanwhile is kept until it can be taken away again.
    let interrupted = match interrupted() {
        Ok(interrupted) => interrupted,
        Err(error) => {
            eprintln!("taking over Ctrl-C, so that nothing is left behind: {error}");
            return ExitCode::FAILURE;
        }
    };
    match soak.play(&interrupted).await {
        Ok(Ended::Kept) => ExitCode::SUCCESS,
        // As a shell tells of Ctrl-C.
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(failed) => {
            eprintln!("{failed:?}");
            ExitCode::FAILURE
        }
    }
}

/// Turns true at Ctrl-C, or when somebody asks this process to end.
fn interrupted() -> std::io::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (asked, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        asked.send_replace(true);
        // Kept, or whoever waits would be told that nobody can ask any more.
        std::future::pending::<()>().await;
    });
    Ok(interrupted)
}
