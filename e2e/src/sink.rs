//! A machine that holds another's WAL.

use anyhow::Result;
use fake_substrate::names::MachineName;

use crate::running::Running;
use crate::spec::Spec;
use crate::until::until_true;
use crate::vm::Vm;
use crate::{Stopped, budget};

const PASSWORD: (&str, &str) = ("BEYOND_PG_REPLICATION_PASSWORD", "only replication knows");

impl Spec {
    /// That machine holds its WAL.
    pub fn with_sink(self, sink: &str) -> Result<Self> {
        let sink = self.host_of(sink)?;
        let port = wire::ports::SINK;
        Ok(self
            .kept_apart_on("databases")
            .metadata(PASSWORD.0, PASSWORD.1)
            .metadata("BEYOND_PG_WAL_SINK", &format!("{sink}:{port}")))
    }

    /// It holds that machine's WAL.
    pub fn sink_of(self, primary: &str) -> Result<Self> {
        let primary = self.host_of(primary)?;
        let port = wire::ports::DIRECT;
        let conninfo = format!("host={primary} port={port}");
        Ok(self
            .kept_apart_on("sinks")
            .metadata(PASSWORD.0, PASSWORD.1)
            .metadata("BEYOND_PG_TIER", "sink")
            .metadata("BEYOND_PG_PRIMARY_CONNINFO", &conninfo))
    }

    /// Boots it and waits until it serves what it holds.
    pub async fn boot_sink(self) -> Result<Running> {
        let sink = self.start().await?;
        sink.serves_wal().await?;
        Ok(sink.clone())
    }

    pub(crate) fn host_of(&self, machine: &str) -> Result<String> {
        let machine: MachineName = machine.parse()?;
        Ok(self.site().substrate.name().machine_container(&machine))
    }
}

impl Stopped {
    /// The same for one that was off.
    pub async fn boot_sink(self) -> Result<Running> {
        let sink = self.start().await?;
        sink.serves_wal().await?;
        Ok(sink.clone())
    }
}

impl Running {
    async fn serves_wal(&self) -> Result<()> {
        self.expect_log("ready: serving WAL").await.map(drop)
    }

    /// Every byte of what a sink received, as checksums.
    pub async fn wal_here(&self) -> Result<String> {
        self.shell("cd /var/lib/postgresql/sink/wal && sha256sum *")
            .await
    }

    /// Waits until health says this.
    pub async fn is_degraded_by(&self, words: &str) -> Result<()> {
        let awaited = format!("health of {} says: {words}", self.name());
        until_true(budget::COMES_BACK, awaited, async || {
            Ok(self
                .degraded()
                .await?
                .iter()
                .any(|said| said.contains(words)))
        })
        .await
    }

    /// Waits until health has nothing to say.
    pub async fn is_whole(&self) -> Result<()> {
        let awaited = format!("health of {} has nothing to say", self.name());
        until_true(budget::COMES_BACK, awaited, async || {
            Ok(self.degraded().await?.is_empty())
        })
        .await
    }
}

impl Vm {
    /// Waits until its sink acknowledges commits.
    pub async fn has_its_sink(&self) -> Result<()> {
        self.has_its_commits_held_by("wal_sink").await
    }

    /// Waits until that standby is one of those that commits wait for.
    pub async fn has_its_commits_held_by(&self, standby: &str) -> Result<()> {
        let awaited = format!("{standby} acknowledges commits of {}", self.name());
        let query = format!(
            "SELECT count(*) FROM pg_stat_replication \
             WHERE application_name = '{standby}' AND sync_state = 'quorum'"
        );
        until_true(budget::COMES_BACK, awaited, async || {
            Ok(self.ask::<i64>(&query).await? == 1)
        })
        .await
    }
}
