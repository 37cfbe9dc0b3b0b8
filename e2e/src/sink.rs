//! A machine that holds another's WAL.

use anyhow::{Context as _, Result, ensure};
use fake_substrate::names::MachineName;

use crate::disk::PGDATA;
use crate::guest::Guest;
use crate::running::Running;
use crate::spec::Spec;
use crate::until::until_true;
use crate::vm::Vm;
use crate::{Stopped, budget};

/// WAL as pg_waldump has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// How many there are.
    pub number: usize,
    /// A checksum of the whole text.
    pub sum: String,
}

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

impl Guest {
    /// Its metadata say that its sink is that machine.
    pub async fn has_its_sink_at(&self, sink: &str) -> Result<()> {
        let (host, port) = (self.host_of(sink)?, wire::ports::SINK);
        self.set_metadata("BEYOND_PG_WAL_SINK", &format!("{host}:{port}"))
            .await
    }

    /// A sink's say that its primary is that machine.
    pub async fn has_its_primary_at(&self, primary: &str) -> Result<()> {
        let (host, port) = (self.host_of(primary)?, wire::ports::DIRECT);
        let conninfo = format!("host={host} port={port}");
        self.set_metadata("BEYOND_PG_PRIMARY_CONNINFO", &conninfo)
            .await
    }

    fn host_of(&self, machine: &str) -> Result<String> {
        let machine: MachineName = machine.parse()?;
        Ok(self.site.substrate.name().machine_container(&machine))
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

    /// Where what it holds ends, in its own words; pg_waldump, which is not ours, finds no more records either.
    pub async fn wal_ends(&self) -> Result<String> {
        let end = self.health().await?.wal.flush_lsn;
        let end = end.context("it holds no WAL")?.to_string();
        let script = "cd /var/lib/postgresql/sink/wal; last=$(ls *.partial | tail -1); \
                      mkdir -p /tmp/last; cp $last /tmp/last/${last%.partial}; \
                      /usr/lib/postgresql/18/bin/pg_waldump /tmp/last/${last%.partial} 2>&1 | tail -2";
        let theirs = self.shell(script).await?;
        eprintln!("the sink's WAL ends at {end}; pg_waldump: {theirs}");
        let at = theirs.split("invalid record length at ").nth(1);
        let at = at
            .and_then(|rest| rest.split(':').next())
            .unwrap_or_default();
        ensure!(at.trim() == end, "{end} is not where pg_waldump stops");
        Ok(end)
    }

    /// What pg_waldump reads in the files of a sink between two positions.
    pub async fn wal_received(&self, from: &str, to: &str) -> Result<Records> {
        let copy = "mkdir -p /tmp/wal; cd /var/lib/postgresql/sink/wal; \
                    for file in 0*; do cp $file /tmp/wal/${file%.partial}; done";
        self.shell(copy).await?;
        self.records("/tmp/wal", from, to).await
    }

    /// What it reads in a database's own WAL.
    pub async fn wal_written(&self, from: &str, to: &str) -> Result<Records> {
        self.records(&format!("{PGDATA}/pg_wal"), from, to).await
    }

    async fn records(&self, folder: &str, from: &str, to: &str) -> Result<Records> {
        let dump = format!(
            "/usr/lib/postgresql/18/bin/pg_waldump -p {folder} -s {from} -e {to} >/tmp/records && \
             wc -l </tmp/records && sha256sum </tmp/records"
        );
        let printed = self.shell(&dump).await?;
        let (number, sum) = printed.split_once('\n').context("no answer")?;
        Ok(Records {
            number: number.trim().parse().context("counting records")?,
            sum: sum.trim().to_owned(),
        })
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
