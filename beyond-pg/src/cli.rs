//! The command line: `supervisor | boot [--plan] | archive %p %f | restore %f %p |
//! restore-window | backup NAME`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::boot::journal::StopAfter;
use crate::hooks;
use crate::init::cmdline::CommandLine;
use crate::supervise::STOP_BUDGET;
use crate::tls::watch::POLL;

/// What a stop may be given. No platform waits a day for one, and no clock is asked for more.
pub(crate) const STOP_BUDGET_SECONDS: RangeInclusive<u64> = 1..=24 * 60 * 60;

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
    /// Put one WAL file of the archive in place; Postgres calls this (restore_command). Exits with 1 when
    /// the archive has no such file, and with 200 when that could not be found out.
    Restore {
        /// Its name (%f).
        name: String,
        /// Where to put it, relative to PGDATA (%p).
        path: PathBuf,
    },
    /// Do ahead what archive_command and restore_command will ask next; a child of the supervisor.
    #[command(hide = true)]
    ArchiveAhead {
        /// Segments under way at once.
        #[arg(long, value_name = "SEGMENTS", value_parser = clap::value_parser!(u8).range(1..=64))]
        at_once: u8,
    },
    /// Fetch what the archive has and this volume lacks, before Postgres is started; PID 1 calls this and reads
    /// the line of JSON.
    #[command(hide = true)]
    ArchiveGap,
    /// Stream a base backup to the archive; PID 1 calls this (RPC `backup`) and reads the lines of JSON.
    Backup {
        /// What it shall be called.
        name: String,
        /// About how many bytes it will have, unpacked.
        #[arg(long, default_value_t = 0)]
        expected: u64,
        /// `server_version_num`.
        #[arg(long)]
        postgres: u32,
    },
    /// Fill a folder with the backup that BEYOND_PG_RESTORE_FROM names; PID 1 calls this.
    FetchBackup {
        /// The folder, which is there and empty.
        folder: PathBuf,
    },
    /// Print from where to where this volume can be restored. Reads; to be run as the OS user postgres.
    RestoreWindow {
        /// For a program.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    /// Seconds that a stop may take in all.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = STOP_BUDGET.as_secs(),
        value_parser = clap::value_parser!(u64).range(STOP_BUDGET_SECONDS),
    )]
    stop_budget: u64,
    /// Seconds that a hook may take.
    #[arg(long, value_name = "SECONDS", default_value_t = hooks::DEADLINE.as_secs())]
    hook_deadline: u64,
    /// Seconds between two looks at the certificates.
    #[arg(long, value_name = "SECONDS", default_value_t = POLL.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    tls_poll: u64,
    /// End the process after this step of the plan, as a power cut would.
    #[cfg(feature = "failpoints")]
    #[arg(long, value_name = "STEP")]
    stop_after: Option<usize>,
    /// End the process at this moment within a step, as a power cut would.
    #[cfg(feature = "failpoints")]
    #[arg(long, value_name = "MOMENT")]
    stop_at: Option<usize>,
    /// Send as many log lines as the host takes.
    #[cfg(feature = "failpoints")]
    #[arg(long, value_name = "LIMIT", value_parser = ["none"])]
    log_limit: Option<String>,
}

impl Supervisor {
    /// As the kernel's command line wants it: the one place for options where the kernel is our own.
    pub(crate) fn by_kernel(line: &CommandLine) -> Supervisor {
        Supervisor {
            stop_budget: line.stop_budget.unwrap_or(STOP_BUDGET).as_secs(),
            hook_deadline: hooks::DEADLINE.as_secs(),
            tls_poll: POLL.as_secs(),
            #[cfg(feature = "failpoints")]
            stop_after: None,
            #[cfg(feature = "failpoints")]
            stop_at: None,
            #[cfg(feature = "failpoints")]
            log_limit: None,
        }
    }

    pub(crate) fn stop_budget(&self) -> Duration {
        Duration::from_secs(self.stop_budget)
    }

    pub(crate) fn hook_deadline(&self) -> Duration {
        Duration::from_secs(self.hook_deadline)
    }

    #[cfg(feature = "failpoints")]
    pub(crate) fn lifts_log_limit(&self) -> bool {
        self.log_limit.is_some()
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

    #[cfg(feature = "failpoints")]
    pub(crate) fn stop_at(&self) -> Option<usize> {
        self.stop_at
    }

    #[cfg(not(feature = "failpoints"))]
    #[expect(clippy::unused_self, reason = "the other build reads its option here")]
    pub(crate) fn stop_after(&self) -> StopAfter {
        StopAfter::default()
    }
}

impl Cli {
    /// Docker starts `/sbin/init` without arguments: that is the supervisor. A word that is not known
    /// ends the process, which only a person may be told that way; see [`crate::init`].
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

    #[test]
    fn a_budget_that_no_clock_can_hold_is_refused() {
        for seconds in ["0", "86401", "18446744073709551615"] {
            Cli::try_parse_from(["beyond-pg", "supervisor", "--stop-budget", seconds])
                .expect_err(seconds);
        }
    }

    #[test]
    fn the_kernels_command_line_fills_in_what_it_says() {
        let budget = |text| Supervisor::by_kernel(&CommandLine::parse(text)).stop_budget();
        assert_eq!(budget("ro"), STOP_BUDGET);
        assert_eq!(budget("beyond.stop_budget=5"), Duration::from_secs(5));
    }
}
