//! A disk that is asked for something: seeing to it that it is, and that it is not answered.

use anyhow::{Result, ensure};
use fake_substrate::hosts::Hosts;
use fake_substrate::volume::trouble::Struck;

use crate::budget;
use crate::disk::PGDATA;
use crate::guest::Guest;
use crate::until::{Look, until};
use crate::vm::Vm;

impl Guest {
    fn hosts(&self) -> Hosts<'_> {
        Hosts::of(&self.site.docker, self.site.substrate.name())
    }

    /// What is the matter with its disk, in the words of the block store.
    pub async fn disk_troubles(&self) -> Result<Vec<Struck>> {
        let machine = self.machine.name();
        let host = self.site.substrate.host_of(machine).await?;
        let volume = self.hosts().running(&host).await?.volume(machine).await?;
        Ok(volume.map(|volume| volume.troubles).unwrap_or_default())
    }

    /// Waits until its disk holds something.
    pub async fn disk_is_asked_in_vain(&self) -> Result<()> {
        let awaited = format!("the disk of {} holds a request", self.name());
        until(budget::SOON, awaited, async || {
            let troubles = self.disk_troubles().await?;
            Ok(match troubles.iter().any(|trouble| trouble.held > 0) {
                true => Look::Found(()),
                false => Look::NotYet(format!("{troubles:?}")),
            })
        })
        .await
    }

    /// SIGKILL of the block store that its disk is of. What it was told to do wrong it forgets.
    pub async fn host_dies(&self) -> Result<()> {
        let host = self.site.substrate.host_of(self.machine.name()).await?;
        Ok(self.hosts().kill(&host).await?)
    }
}

impl Vm {
    /// Makes a table of one row, and nobody remembers what is in it: neither Postgres nor the kernel.
    pub async fn make_cold_table(&self, table: &str) -> Result<()> {
        self.sql("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
            .await?;
        let made = format!("CREATE TABLE {table} AS SELECT 42 AS answer");
        self.sql(&made).await?;
        // Hint bits are written once, or the next look would make the page dirty again.
        let answer: i32 = self.ask(&format!("SELECT answer FROM {table}")).await?;
        ensure!(answer == 42);
        self.sql("CHECKPOINT").await?;
        self.sql(&format!("SELECT pg_buffercache_evict_relation('{table}')"))
            .await?;
        let file: String = self
            .ask(&format!("SELECT pg_relation_filepath('{table}')"))
            .await?;
        self.shell(&format!(
            "dd of={PGDATA}/{file} oflag=nocache conv=notrunc,fdatasync count=0"
        ))
        .await
        .map(drop)
    }
}
