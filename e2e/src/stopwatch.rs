//! How long things take: for benchmarks alone. No scenario asserts on a time.
#![expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fake_substrate::login;
use fake_substrate::machine::metadata::Login;
use tokio_postgres::{Config, NoTls};

use crate::budget::{self, Budget};
use crate::lost::Lost;
use crate::running::Running;
use crate::spec::Spec;
use crate::stopped::Stopped;
use crate::until::{Look, until};
use crate::vm::Vm;

/// Looks often: the figure is only as fine as this.
pub(crate) const FIRST_ANSWER: Budget = Budget {
    every: Duration::from_millis(5),
    ..budget::READY
};

/// Runs from its start.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How long that takes.
pub async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<Duration> {
    let watch = Stopwatch::start();
    work.await?;
    Ok(watch.elapsed())
}

/// Whether a server speaks TLS: one fresh from initdb does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypted {
    /// TLS 1.2 or later.
    Yes,
    /// Plain text.
    No,
}

/// Tries to log in and ask `SELECT 1` until there is an answer.
pub(crate) async fn first_answer(
    watch: &Stopwatch,
    port: u16,
    login: &Login,
    tls: Encrypted,
) -> Result<Duration> {
    until(
        FIRST_ANSWER,
        format!("an answer on port {port}"),
        async || {
            let answer = match tls {
                Encrypted::Yes => login::answers(login, port)
                    .await
                    .map_err(anyhow::Error::from),
                Encrypted::No => answers_in_plain_text(login, port).await,
            };
            Ok(match answer {
                Ok(()) => Look::Found(watch.elapsed()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        },
    )
    .await
}

async fn answers_in_plain_text(login: &Login, port: u16) -> Result<()> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(Login::USER)
        .password(&login.password)
        .dbname(&login.database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::select! {
        answer = client.simple_query("SELECT 1") => answer.map(drop)?,
        end = connection => end?,
    }
    Ok(())
}

impl Stopped {
    /// Boots it; answers also how long it took until a client's query was answered.
    pub async fn timed_boot(self) -> Result<(Vm, Duration)> {
        let watch = Stopwatch::start();
        answered(&watch, self.start().await?).await
    }
}

impl Spec {
    /// Boots it on its empty volume; answers also how long that took until a client's query was
    /// answered. Making the container and the volume is not counted.
    pub async fn timed_boot(self) -> Result<(Vm, Duration)> {
        let made = self.make().await?;
        let watch = Stopwatch::start();
        answered(&watch, made.power_on().await?).await
    }

    /// The same from the order on: making container and volume is counted, and for a fork that is all that
    /// it takes.
    pub async fn timed_from_the_order(self) -> Result<(Vm, Duration)> {
        let watch = Stopwatch::start();
        answered(&watch, self.start().await?).await
    }
}

impl Lost {
    /// It comes to another host and boots there; answers also how long that took until a client's query
    /// was answered.
    pub async fn timed_rehome(self) -> Result<(Vm, Duration)> {
        let watch = Stopwatch::start();
        answered(&watch, self.rehome().await?.start().await?).await
    }

    /// The same to that host, which is made when it is missing.
    pub async fn timed_rehome_to(self, host: &str) -> Result<(Vm, Duration)> {
        let watch = Stopwatch::start();
        answered(&watch, self.rehome_to(host).await?.start().await?).await
    }
}

async fn answered(watch: &Stopwatch, starting: crate::running::Starting) -> Result<(Vm, Duration)> {
    let ports = starting.machine.view().await?.ports;
    let login = starting.login().await?;
    let took = first_answer(watch, ports.pooler, &login, Encrypted::Yes).await?;
    Ok((starting.ready().await?, took))
}

/// What PID 1 costs while nothing happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Idle {
    /// Resident memory in kB, pages of files included.
    pub resident_kb: u64,
    /// Of it, memory that is its own.
    pub anonymous_kb: u64,
    /// Times it was given the processor, per second.
    pub wakeups_per_second: f64,
    /// Size of the executable in bytes.
    pub binary_bytes: u64,
}

/// Prints the counters of PID 1, lets the time pass in the machine itself, prints them again.
const WATCH: &str = "
    counters() { awk '/^(VmRSS|RssAnon|voluntary_ctxt_switches|nonvoluntary_ctxt_switches)/ {print $2}' /proc/1/status; }
    counters; sleep $1; counters; stat -L -c %s /sbin/init";

impl Running {
    /// Lets that many seconds pass, in the machine.
    pub async fn lets_pass(&self, seconds: u64) -> Result<()> {
        self.run("root", &["sleep", &seconds.to_string()])
            .await
            .map(drop)
    }

    /// Watches PID 1 for that long.
    pub async fn idle(&self, watched: Duration) -> Result<Idle> {
        let seconds = watched.as_secs().to_string();
        let printed = self
            .run("root", &["/bin/sh", "-c", WATCH, "sh", &seconds])
            .await?;
        let figures: Vec<u64> = printed
            .split_whitespace()
            .map(|figure| figure.parse().with_context(|| format!("reading {figure}")))
            .collect::<Result<_>>()?;
        let [
            _,
            _,
            before_1,
            before_2,
            resident_kb,
            anonymous_kb,
            after_1,
            after_2,
            binary_bytes,
        ] = figures[..]
        else {
            anyhow::bail!("PID 1's counters read {figures:?}");
        };
        let wakeups = after_1 + after_2 - before_1 - before_2;
        let wakeups_per_second = f64::from(u32::try_from(wakeups)?) / watched.as_secs_f64();
        Ok(Idle {
            resident_kb,
            anonymous_kb,
            wakeups_per_second,
            binary_bytes,
        })
    }
}
