//! `remove NAME`: the end of one machine.

use clap::Args;

use crate::names::MachineName;
use crate::progress::Progress as _;
use crate::volume::store::decide::Children;

use super::{CliError, Site};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Which machine, in whatever state
    name: MachineName,
    /// Its volume and settings as well; without it `add` takes both up again
    #[arg(long)]
    volume: bool,
    /// Also when there are forks of the volume, which lose nothing by it
    #[arg(long, requires = "volume")]
    keep_children: bool,
}

impl Remove {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let children = match self.keep_children {
            true => Children::Keep,
            false => Children::Forbid,
        };
        let volume = self.volume.then_some(children);
        let substrate = site.connect().await?;
        substrate.remove(&self.name, volume, &site.progress).await?;
        let name = self.name;
        site.progress.step(&match self.volume {
            true => format!("Machine {name} is gone, with its volume"),
            false => format!("Machine {name} is gone; its volume is kept for the next {name}"),
        });
        Ok(())
    }
}
