//! What can be done to a machine whether it runs or not.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::admin::{CutPower, MetadataPatch};
use fake_substrate::hosts::Hosts;
use fake_substrate::machine::metadata::Login;
use fake_substrate::machine::spec::Overrides;
use fake_substrate::machine::{Change, Machine, Resize};
use fake_substrate::ports::{self, PortChoice};
use fake_substrate::progress::Quiet;
use fake_substrate::volume::store::decide::Children;

use crate::budget;
use crate::running::{Running, Starting};
use crate::spec::Spec;
use crate::until::until_true;
use crate::world::Site;

/// How often to look for another port when a stranger took the one of a machine that was off.
const PORT_TRIES: usize = 3;

/// A machine of the scenario's substrate.
#[derive(Debug, Clone)]
pub struct Guest {
    pub(crate) site: Arc<Site>,
    pub(crate) machine: Machine,
    /// What its container was made with.
    pub(crate) overrides: Overrides,
}

impl Guest {
    /// Its name.
    pub fn name(&self) -> &str {
        self.machine.name().as_str()
    }

    /// A machine on a copy of its volume, to be described and booted.
    pub fn fork(&self, name: &str) -> Spec {
        Spec::fork_of(self, name)
    }

    /// Sets one key of its metadata, from now on.
    pub async fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        self.patch(key, Some(value)).await
    }

    /// Takes one key out of its metadata, from now on.
    pub async fn remove_metadata(&self, key: &str) -> Result<()> {
        self.patch(key, None).await
    }

    async fn patch(&self, key: &str, value: Option<&str>) -> Result<()> {
        let patch = MetadataPatch::from([(key.to_owned(), value.map(str::to_owned))]);
        let patched = self
            .site
            .substrate
            .admin()
            .patch_metadata(self.name(), &patch)
            .await;
        patched.with_context(|| format!("changing {key} in the metadata of {}", self.name()))
    }

    /// Other memory, processors or a larger disk, from now on.
    pub async fn resize(&self, to: Resize) -> Result<()> {
        let resized = self.machine.resize(to, &Quiet).await;
        let resized = resized.with_context(|| format!("resizing {}", self.name()));
        resized.map(drop)
    }

    /// The size of its disk.
    pub async fn resize_disk(&self, size: &str) -> Result<()> {
        let disk = Some(size.parse()?);
        self.resize(Resize {
            disk,
            ..Resize::default()
        })
        .await
    }

    /// Its limits.
    pub async fn resize_limits(&self, memory: &str, cpus: &str) -> Result<()> {
        let (memory, cpus) = (Some(memory.parse()?), Some(cpus.parse()?));
        self.resize(Resize {
            memory,
            cpus,
            ..Resize::default()
        })
        .await
    }

    /// The host that its volume is on.
    pub async fn host(&self) -> Result<String> {
        let host = self.site.substrate.host_of(self.machine.name()).await?;
        Ok(host.to_string())
    }

    /// Makes what is on its volume now the flush point.
    pub async fn flush(&self) -> Result<()> {
        let flushed = self.machine.flush().await;
        flushed
            .map(drop)
            .with_context(|| format!("flushing the volume of {}", self.name()))
    }

    /// Waits until its volume came to two more flush points by itself: the second began after this was called, and
    /// has all that was on the volume then.
    pub async fn flushes_by_itself(&self) -> Result<()> {
        let site = self.site.as_ref();
        let hosts = Hosts::of(&site.docker, site.substrate.name());
        let host = site.substrate.host_of(self.machine.name()).await?;
        let host = hosts.running(&host).await?;
        let sequence = async || -> Result<u64> {
            let report = host.volume(self.machine.name()).await?;
            let report = report.with_context(|| format!("{} has no disk", self.name()))?;
            Ok(report.flush_point.map_or(0, |point| point.sequence))
        };
        let before = sequence().await?;
        let awaited = format!(
            "the volume of {} comes to flush points by itself",
            self.name()
        );
        until_true(budget::COMES_BACK, awaited, async || {
            Ok(sequence().await? >= before + 2)
        })
        .await
    }

    /// What cannot be done to a machine of this kind, and the words of the refusal.
    pub async fn must_refuse_to_lose_anything(&self, words: &str) -> Result<()> {
        let substrate = &self.site.substrate;
        let name = self.machine.name();
        let refusals = [
            self.machine
                .power_cut(CutPower::default())
                .await
                .err()
                .map(|e| e.to_string()),
            self.machine.flush().await.err().map(|e| e.to_string()),
            substrate.host_of(name).await.err().map(|e| e.to_string()),
            substrate
                .rehome(name, None, &Quiet)
                .await
                .err()
                .map(|e| e.to_string()),
        ];
        for refusal in refusals {
            let refusal = refusal.context("something was lost that cannot be")?;
            ensure!(
                refusal.contains(words),
                "refused for another reason: {refusal}"
            );
        }
        Ok(())
    }

    /// While its host lives it must not come up anywhere else.
    pub async fn must_refuse_to_be_rehomed(&self, words: &str) -> Result<()> {
        let rehomed = self
            .site
            .substrate
            .rehome(self.machine.name(), None, &Quiet);
        let Err(refused) = rehomed.await else {
            bail!("{} was rehomed while its host lived", self.name());
        };
        let said = refused.to_string();
        ensure!(said.contains(words), "refused for another reason: {said}");
        Ok(())
    }

    /// Takes one that was never switched on away, with its volume.
    pub async fn remove(self) -> Result<()> {
        Ok(self.machine.remove(Some(Children::Forbid)).await?)
    }

    pub(crate) async fn login(&self) -> Result<Login> {
        Ok(self.machine.login().await?)
    }

    /// Switches it on. A port that was free when it was chosen may be somebody else's by now.
    pub(crate) async fn power_on(self) -> Result<Starting> {
        for _retry in 1..PORT_TRIES {
            // With another container, its log begins anew.
            self.machine.settle_disk().await?;
            let lines_before = self.log_lines().await?;
            let received_before = self.machine.link().await?.last_line;
            match self.machine.start().await {
                Err(error) if error.is_port_taken() => {
                    let ports = Some(ports::choose(PortChoice::Any)?);
                    let overrides = self.overrides.clone();
                    let change = Change {
                        ports,
                        overrides,
                        ..Change::default()
                    };
                    self.machine.recreate(change, &Quiet).await?;
                }
                started => {
                    started.with_context(|| format!("starting machine {}", self.name()))?;
                    let running = Running {
                        guest: self,
                        lines_before,
                        received_before,
                    };
                    return Ok(Starting::new(running));
                }
            }
        }
        self.machine.start().await?;
        Ok(Starting::new(Running {
            guest: self,
            lines_before: 0,
            received_before: 0,
        }))
    }

    /// Docker keeps what a container wrote in earlier runs.
    async fn log_lines(&self) -> Result<usize> {
        Ok(self.machine.last_lines(usize::MAX).await?.len())
    }
}
