//! The command line: `supervisor | boot [--plan] | archive %p %f`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::boot::journal::StopAfter;
use crate::supervise::STOP_BUDGET;
use crate::tls::watch::POLL;

/// Runs one Postgres machine.
#[derive(Debug, Parser)]
#[command(name = "beyond-pg", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot this machine and keep its servers running; what /sbin/init does.
    Supervisor(Supervisor),
    /// Do the disk half of a boot by hand.
    Boot {
        /// Print what would be done, and do nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Archive one WAL file; Postgres calls this (archive_command).
    Archive {
        /// The file, relative to PGDATA (%p).
        path: PathBuf,
        /// Its name (%f).
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    /// Seconds that a stop may take in all.
    #[arg(long, value_name = "SECONDS", default_value_t = STOP_BUDGET.as_secs())]
    stop_budget: u64,
    /// Seconds between two looks at the certificates.
    #[arg(long, value_name = "SECONDS", default_value_t = POLL.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    tls_poll: u64,
    /// End the process after this step of the plan, as a power cut would.
    #[cfg(feature = "failpoints")]
    #[arg(long, value_name = "STEP")]
    stop_after: Option<usize>,
}

impl Supervisor {
    pub(crate) fn stop_budget(&self) -> Duration {
        Duration::from_secs(self.stop_budget)
    }

    pub(crate) fn tls_poll(&self) -> Duration {
        Duration::from_secs(self.tls_poll)
    }

    #[cfg(feature = "failpoints")]
    pub(crate) fn stop_after(&self) -> StopAfter {
        StopAfter {
            step: self.stop_after,
        }
    }

    #[cfg(not(feature = "failpoints"))]
    #[expect(clippy::unused_self, reason = "the other build reads its option here")]
    pub(crate) fn stop_after(&self) -> StopAfter {
        StopAfter::default()
    }
}

impl Cli {
    /// The kernel and Docker start `/sbin/init` without arguments: that is the supervisor.
    pub(crate) fn from_args(args: impl IntoIterator<Item = String>) -> Cli {
        let mut args: Vec<String> = args.into_iter().collect();
        let is_init = args
            .first()
            .is_some_and(|name| name.ends_with("/init") || name == "init");
        if is_init && args.get(1).is_none_or(|first| first.starts_with('-')) {
            args.insert(1, "supervisor".to_owned());
        }
        Cli::parse_from(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Command {
        Cli::from_args(args.iter().map(|arg| (*arg).to_owned())).command
    }

    #[test]
    fn init_is_the_supervisor_with_or_without_options() {
        assert!(matches!(parse(&["/sbin/init"]), Command::Supervisor(_)));
        let Command::Supervisor(options) = parse(&["/sbin/init", "--stop-budget", "10"]) else {
            panic!("not the supervisor");
        };
        assert_eq!(options.stop_budget(), Duration::from_secs(10));
        assert_eq!(options.tls_poll(), POLL);
        assert!(matches!(
            parse(&["/sbin/init", "boot", "--plan"]),
            Command::Boot { plan: true }
        ));
    }
}
