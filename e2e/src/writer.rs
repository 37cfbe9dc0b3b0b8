//! A server that is made to write log lines, and what that costs: for benchmarks alone.
//!
//! Its clients run beside it and come over its socket, so that no network is in a figure.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::docker::Docker;
use fake_substrate::docker::exec::{self, Finished, Program};

use crate::bare::Bare;
use crate::running::POSTGRES;
use crate::sql::Door;
use crate::vm::Vm;

/// A server, wherever it runs.
#[derive(Debug)]
pub struct Writer<'a> {
    docker: &'a Docker,
    container: String,
    socket: &'static str,
    port: u16,
    /// Who reads what it writes.
    reader: &'static str,
}

/// Which statements are written to the log, one line for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Logging {
    /// All of them.
    All,
    /// This share of the transactions, drawn by lot.
    Share(f64),
    /// None of them.
    Off,
}

/// A flood of lines that was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flood {
    /// When the first was begun, in seconds of the Unix epoch.
    pub began: f64,
    /// When the last had been written.
    pub ended: f64,
}

/// Prints the time each thread of a process has had the processor, in nanoseconds.
const CPU: &str = r#"
for folder in /proc/[0-9]*; do
    [ "$(cat "$folder/comm" 2>/dev/null)" = "$1" ] && cat "$folder"/task/*/schedstat
done | awk '{ sum += $1 } END { printf "%d\n", sum }'
"#;

impl Vm {
    /// Its Postgres.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            docker: &self.site.docker,
            container: self.machine.container(),
            socket: "/var/run/postgresql",
            port: Door::Direct.port(),
            reader: "init",
        }
    }
}

impl Bare<'_> {
    /// It, with `cat` at the other end of its pipe.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            docker: self.docker(),
            container: self.container().to_owned(),
            socket: "/tmp",
            port: self.port(),
            reader: "cat",
        }
    }
}

impl Writer<'_> {
    /// Makes the tables that `pgbench` reads.
    pub async fn prepare(&self) -> Result<()> {
        let arguments = ["pgbench", "--initialize", "--quiet"];
        self.client("", &arguments.join(" ")).await.map(drop)
    }

    /// Writes so many lines of about 300 bytes, as fast as one backend can.
    pub async fn flood(&self, lines: u32) -> Result<Flood> {
        let now = "SELECT extract(epoch FROM clock_timestamp())";
        let flood = format!(
            "DO \\$\\$ BEGIN FOR n IN 1..{lines} LOOP
                 RAISE LOG 'AUDIT: SESSION,%,1,READ,SELECT,,,%', n, repeat('x', 200);
             END LOOP; END \\$\\$"
        );
        let script = format!(
            "psql --no-psqlrc --quiet --tuples-only --no-align \
                 --command 'SET log_error_verbosity = terse' --command 'SET log_min_error_statement = panic' \
                 --command '{now}' --command \"{flood}\" --command '{now}'"
        );
        let printed = self.client("", &script).await?;
        let times: Vec<f64> = printed
            .split_whitespace()
            .map(|time| time.parse().with_context(|| format!("reading {time}")))
            .collect::<Result<_>>()?;
        let [began, ended] = times[..] else {
            anyhow::bail!("a flood printed {printed:?}");
        };
        Ok(Flood { began, ended })
    }

    /// Transactions a second of four clients that read one row each time.
    pub async fn reads(&self, logging: Logging, seconds: u64) -> Result<f64> {
        self.pgbench(&logging.options(), "--select-only", 4, seconds)
            .await
    }

    /// Transactions a second of four clients that commit changes of three rows and a new one each time
    /// (TPC-B, as pgbench has it).
    pub async fn commits(&self, seconds: u64) -> Result<f64> {
        self.pgbench("", "", 4, seconds).await
    }

    /// Transactions a second of so many clients that commit a change of one row and a new one each time, and
    /// do not wait for each other's rows: what they wait for is that their commits are flushed.
    pub async fn small_commits(&self, clients: u32, seconds: u64) -> Result<f64> {
        self.pgbench("", "--skip-some-updates", clients, seconds)
            .await
    }

    async fn pgbench(&self, options: &str, load: &str, clients: u32, seconds: u64) -> Result<f64> {
        let bench = format!(
            "pgbench --no-vacuum {load} --protocol=simple --client={clients} --time={seconds}"
        );
        let printed = self.client(options, &bench).await?;
        let tps = printed
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.with_context(|| format!("pgbench told no result: {printed}"))
    }

    /// What the reader of its lines spends of the processor while that many come each second, as a
    /// share of one processor.
    pub async fn cpu_at(&self, lines_per_second: u32, watched: Duration) -> Result<f64> {
        let bench = format!(
            "echo 'SELECT 1;' | pgbench --no-vacuum --file=/dev/stdin --client=2 --time={} --rate={lines_per_second}",
            watched.as_secs()
        );
        let before = self.reader_cpu().await?;
        self.client(&Logging::All.options(), &bench).await?;
        let spent = self.reader_cpu().await? - before;
        Ok(spent.as_secs_f64() / watched.as_secs_f64())
    }

    async fn reader_cpu(&self) -> Result<Duration> {
        let argv = ["/bin/sh", "-c", CPU, "sh", self.reader];
        let printed = self.run("root", &argv).await?;
        let nanoseconds: u64 = printed.trim().parse()?;
        ensure!(nanoseconds > 0, "{} has never run", self.reader);
        Ok(Duration::from_nanos(nanoseconds))
    }

    async fn client(&self, options: &str, script: &str) -> Result<String> {
        let environment = format!(
            "export PGHOST={} PGPORT={} PGDATABASE=postgres PGOPTIONS='{options}'",
            self.socket, self.port
        );
        let script = format!("{environment}; {script}");
        self.run(POSTGRES, &["/bin/sh", "-c", &script]).await
    }

    async fn run(&self, user: &str, argv: &[&str]) -> Result<String> {
        let program = Program {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            user: Some(user.to_owned()),
            ..Program::default()
        };
        let Finished {
            exit_code,
            stdout,
            stderr,
        } = exec::run(self.docker, &self.container, program).await?;
        ensure!(exit_code == 0, "{argv:?}: exit code {exit_code}: {stderr}");
        Ok(stdout)
    }
}

impl Logging {
    fn options(self) -> String {
        match self {
            Self::All => "-c log_statement=all".to_owned(),
            Self::Share(share) => {
                format!("-c log_statement=none -c log_transaction_sample_rate={share:.3}")
            }
            Self::Off => "-c log_statement=none".to_owned(),
        }
    }
}
