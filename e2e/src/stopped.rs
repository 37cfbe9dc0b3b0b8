//! A machine that is off: its volume can be looked at, and what it boots as can be changed.

use std::ops::Deref;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::admin::KeptLine;
use fake_substrate::machine::Change;
use fake_substrate::machine::disk::Disk;
use fake_substrate::machine::spec::Overrides;
use fake_substrate::machine::state::State;
use fake_substrate::progress::Quiet;
use fake_substrate::volume::store::decide::Children;
use testcontainers::ImageExt as _;
use testcontainers::core::Mount;

use crate::client::{self, Output};
use crate::disk::{Tree, UNTOUCHED, VOLUME};
use crate::guest::Guest;
use crate::running::{Running, Starting};
use crate::vm::Vm;

/// A machine that is off.
#[derive(Debug)]
pub struct Stopped {
    was: Running,
    state: State,
    change: Option<Change>,
}

impl Deref for Stopped {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.was.guest
    }
}

impl Stopped {
    pub(crate) fn new(was: Running, state: State) -> Self {
        Self {
            was,
            state,
            change: None,
        }
    }

    /// How it ended.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it wrote in the run that is over.
    pub async fn log(&self) -> Result<Vec<String>> {
        self.was.log().await
    }

    /// What the host received from it in the run that is over.
    pub async fn received(&self) -> Result<Vec<KeptLine>> {
        self.was.received().await
    }

    /// Its log must have these words.
    pub async fn must_have_said(&self, words: &str) -> Result<()> {
        let log = self.log().await?;
        let said = log.iter().any(|line| line.contains(words));
        ensure!(
            said,
            "{} never said: {words}\nit said:\n{}",
            self.name(),
            log.join("\n")
        );
        Ok(())
    }

    /// The next boot has that much memory.
    pub fn with_memory(self, memory: &str) -> Result<Self> {
        let memory = Some(memory.parse()?);
        Ok(self.changed(|change| Change { memory, ..change }))
    }

    /// The next boot has that many processors.
    pub fn with_cpus(self, cpus: &str) -> Result<Self> {
        let cpus = Some(cpus.parse()?);
        Ok(self.changed(|change| Change { cpus, ..change }))
    }

    /// The next boot is of that image: an image swap.
    pub fn with_image(self, id: &str) -> Self {
        let image = Some(id.to_owned());
        self.changed(|change| Change { image, ..change })
    }

    /// The next boot is an ordinary one of the image that is shipped.
    pub fn with_the_released_image(self) -> Self {
        let release = self.site.images.release.clone();
        self.with_image(&release)
    }

    fn changed(mut self, with: impl FnOnce(Change) -> Change) -> Self {
        self.change = Some(with(self.change.take().unwrap_or_default()));
        self
    }

    /// Boots it and waits until clients get in.
    pub async fn boot(self) -> Result<Vm> {
        self.start().await?.ready().await
    }

    /// Switches it on.
    pub async fn start(self) -> Result<Starting> {
        let mut guest = self.was.guest;
        if let Some(change) = self.change {
            let name = guest.name().to_owned();
            let made = guest.machine.recreate(change, &Quiet).await;
            made.with_context(|| format!("making machine {name} anew"))?;
            guest.overrides = Overrides::default();
        }
        guest.power_on().await
    }

    /// Runs a shell script as root where its volume is, and nothing of the machine runs.
    pub async fn on_volume(&self, script: &str) -> Result<String> {
        self.with_volumes(&[], script).await
    }

    /// The same, with other volumes beside its own, each at its path.
    pub(crate) async fn with_volumes(
        &self,
        others: &[(&str, &str)],
        script: &str,
    ) -> Result<String> {
        let disk = self.machine.view().await?.disk;
        ensure!(
            disk == Disk::Folder,
            "{} has a disk, which nobody has mounted while it is off: its scenario has to say `on_folder`",
            self.name()
        );
        let mut request = client::request(&self.site, "/bin/sh", ["-c", script])?
            .with_user("root")
            .with_network("none")
            .with_mount(Mount::volume_mount(self.machine.volume(), VOLUME));
        for (volume, at) in others {
            request = request.with_mount(Mount::volume_mount(*volume, *at));
        }
        let Output {
            exit_code,
            stdout,
            stderr,
        } = client::finished(request).await?;
        ensure!(
            exit_code == 0,
            "on the volume of {}: exit code {exit_code}: {stderr}",
            self.name()
        );
        Ok(stdout)
    }

    /// Every byte of its volume.
    pub async fn volume_bytes(&self) -> Result<Tree> {
        Ok(Tree::read(&self.on_volume(UNTOUCHED).await?))
    }

    /// Takes it away with its volume: for scenarios that make many.
    pub async fn remove(self) -> Result<()> {
        Ok(self.machine.remove(Some(Children::Forbid)).await?)
    }
}
