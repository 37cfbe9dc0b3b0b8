//! What a new machine's volume is made of, as somebody asks for it.

use clap::Args;

use crate::backend::{Backend, Storage, Wanted};
use crate::docker::volume::Medium;
use crate::docker::{self, volume};
use crate::machine::size::DiskSize;
use crate::names::{HostName, MachineName};
use crate::progress::Progress as _;
use crate::substrate;

use super::{CliError, Site};

#[derive(Debug, Args)]
pub(super) struct Volume {
    /// What a new machine's volume is made of: block, a disk that can lose its power and its host;
    /// copy, a folder that cannot; auto, what the substrate's other machines have, or what Docker offers
    #[arg(long, value_name = "KIND", default_value = "auto")]
    volumes: Wanted,
    /// Size of a new block volume, such as 600m or 20g; 10g unless given. What is not written takes nothing
    #[arg(long, value_name = "SIZE")]
    disk: Option<DiskSize>,
    /// The host of a new block volume, made when there is none; host-1 at first
    #[arg(long)]
    host: Option<HostName>,
}

impl Volume {
    /// What the volume of that machine shall be made of; one that is kept stays what it is.
    pub(super) async fn storage(
        &self,
        site: &Site,
        name: &MachineName,
    ) -> Result<Storage, CliError> {
        let kept = volume::find(&site.docker, &site.substrate.machine_volume(name)).await?;
        let kept = kept.map(|kept| Backend::of(&kept.labels));
        let backend = match kept {
            Some(kept) => self.agrees_with(name, kept)?,
            None => self.choose(site).await?,
        };
        self.of(name, backend)
    }

    async fn choose(&self, site: &Site) -> Result<Backend, CliError> {
        // Whoever names a host or a size means a disk.
        let wanted = match (&self.host, self.disk, self.volumes) {
            (None, None, wanted) | (_, _, wanted @ Wanted::Just(_)) => wanted,
            _ => Wanted::Just(Backend::Block),
        };
        let remembered = substrate::backend(&site.docker, &site.substrate).await?;
        let there = docker::facilities(&site.docker).await?;
        let choice = Backend::choose(wanted, remembered, &there);
        if let Some(why) = choice.because {
            site.progress.step(&format!(
                "Volumes are folders, which outlive a power cut and have no host to lose: {why}"
            ));
        }
        Ok(choice.backend)
    }

    fn agrees_with(&self, name: &MachineName, kept: Backend) -> Result<Backend, CliError> {
        match self.volumes {
            Wanted::Just(wanted) if wanted != kept => Err(CliError::AnotherKind {
                name: name.clone(),
                kept,
                wanted,
            }),
            _ => Ok(kept),
        }
    }

    fn of(&self, name: &MachineName, backend: Backend) -> Result<Storage, CliError> {
        match backend {
            Backend::Copy if self.disk.is_some() || self.host.is_some() => {
                Err(CliError::NoDisk(name.clone()))
            }
            Backend::Copy => Ok(Storage::Copy(Medium::Disk)),
            Backend::Block => Ok(Storage::Block {
                size: self.disk.unwrap_or(DiskSize::DEFAULT),
                host: self.host.clone(),
            }),
        }
    }
}
