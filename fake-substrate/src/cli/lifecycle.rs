//! `stop`, `start`, `restart`, `crash`.

use clap::Args;

use crate::machine::state::State;
use crate::names::MachineName;
use crate::progress::Progress as _;

use super::{CliError, Site, up};

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Which machine
    name: MachineName,
}

impl Named {
    pub(super) async fn stop(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        site.progress
            .step(&format!("Shutting machine {} down", machine.name()));
        let was_running = machine.view().await?.state == State::Running;
        match machine.stop(None).await? {
            State::Stopped | State::Created => Ok(()),
            // One that had crashed before is stopped all the same.
            _ if !was_running => Ok(()),
            state => Err(CliError::NotCleanly {
                name: machine.name().clone(),
                state: state.to_string(),
            }),
        }
    }

    pub(super) async fn start(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        site.progress
            .step(&format!("Booting machine {}", machine.name()));
        machine.start().await?;
        up::ready(site, &machine).await
    }

    pub(super) async fn restart(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        site.progress
            .step(&format!("Restarting machine {}", machine.name()));
        machine.restart().await?;
        up::ready(site, &machine).await
    }

    pub(super) async fn crash(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        site.progress
            .step(&format!("Killing machine {}", machine.name()));
        Ok(machine.crash().await?)
    }
}
