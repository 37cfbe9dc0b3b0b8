//! How long a database is away: for benchmarks alone.

use std::time::Duration;

use anyhow::Result;
use fake_substrate::machine::metadata::Login;

use crate::lost::Lost;
use crate::sql::{Door, Session};
use crate::stopped::Stopped;
use crate::stopwatch::{FIRST_ANSWER, Stopwatch};
use crate::until::{Look, until};
use crate::vm::Vm;

impl Vm {
    /// Its host is lost; answers also how long that took.
    pub async fn timed_lose_host(self) -> Result<(Lost, Duration)> {
        let watch = Stopwatch::start();
        let lost = self.lose_host().await?;
        Ok((lost, watch.elapsed()))
    }

    /// SIGKILL, and it is started where it was; answers also how long it took from the kill until a commit was
    /// acknowledged.
    pub async fn timed_crash(self) -> Result<(Self, Duration)> {
        let watch = Stopwatch::start();
        let starting = self.crash().await?.start().await?;
        let pooler = starting.machine.view().await?.ports.pooler;
        let took = first_commit(&watch, pooler, &starting.login().await?).await?;
        Ok((starting.ready().await?, took))
    }

    /// SIGKILL, and that replica is promoted; answers also how long it took from the kill until it acknowledged a
    /// commit.
    pub async fn timed_failover(self, replica: &Self) -> Result<(Stopped, Duration)> {
        let watch = Stopwatch::start();
        let killed = self.crash().await?;
        replica.promote().await?;
        let pooler = replica.port(Door::Pooled);
        let took = first_commit(&watch, pooler, &replica.login).await?;
        Ok((killed, took))
    }
}

/// Tries to log in and to commit a row until that is acknowledged.
async fn first_commit(watch: &Stopwatch, port: u16, login: &Login) -> Result<Duration> {
    let awaited = format!("a commit on port {port}");
    until(FIRST_ANSWER, awaited, async || {
        let written = async {
            let session = Session::open(port, Door::Pooled, login).await?;
            session.sql("INSERT INTO recent VALUES ('first')").await
        };
        Ok(match written.await {
            Ok(()) => Look::Found(watch.elapsed()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    })
    .await
}
