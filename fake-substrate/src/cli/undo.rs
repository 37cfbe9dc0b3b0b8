//! Ctrl-C leaves nothing half-made: what an interrupted command had begun is taken away again,
//! what was there before stays.

use crate::docker::{container, volume};
use crate::lock::SubstrateLock;
use crate::names::MachineName;
use crate::progress::{Progress as _, Quiet};
use crate::substrate::{self, Substrate, SubstrateError};
use crate::volume::store::decide::Children;

use super::{CliError, Site};

/// What was there before a command began.
pub(super) struct Before {
    machine: MachineName,
    had_service: bool,
    had_machine: bool,
    had_volume: bool,
}

impl Before {
    pub(super) async fn look(site: &Site, machine: &MachineName) -> Result<Self, CliError> {
        let Site {
            docker, substrate, ..
        } = site;
        let service = Substrate::connect(docker, substrate).await;
        let container = substrate.machine_container(machine);
        Ok(Self {
            machine: machine.clone(),
            had_service: !matches!(service, Err(SubstrateError::Absent(_))),
            had_machine: container::inspect(docker, &container).await?.is_some(),
            had_volume: volume::find(docker, &substrate.machine_volume(machine))
                .await?
                .is_some(),
        })
    }

    pub(super) fn had_machine(&self) -> bool {
        self.had_machine
    }

    pub(super) fn had_volume(&self) -> bool {
        self.had_volume
    }

    /// Runs a command's work; when Ctrl-C or SIGTERM comes first, undoes what it had made.
    pub(super) async fn or_undo<T>(
        self,
        site: &Site,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        tokio::select! {
            done = work => done,
            () = super::terminal::interrupted() => {
                site.progress.step("Interrupted: taking away what was begun");
                self.undo(site).await?;
                Err(CliError::Interrupted("nothing half-made was left behind".to_owned()))
            }
        }
    }

    /// Steps that must not be cut in half hold the lock until they are whole, so with the lock
    /// in hand everything that was begun can be seen.
    async fn undo(&self, site: &Site) -> Result<(), CliError> {
        let Site {
            docker, substrate, ..
        } = site;
        let lock = SubstrateLock::take(substrate, &site.progress).await;
        let lock = lock.map_err(SubstrateError::from)?;
        if !self.had_machine {
            container::remove(docker, &substrate.machine_container(&self.machine)).await?;
            if !self.had_volume {
                substrate::discard(docker, substrate, &self.machine, Children::Forbid).await?;
                self.forget_metadata(site).await;
            }
        }
        let alone = substrate::views(docker, substrate).await?.is_empty();
        drop(lock);
        if !self.had_service && alone {
            // Kept volumes of other machines need the state volume with their metadata, so
            // volumes go only when there are none.
            let volumes = substrate::volumes(docker, substrate).await?;
            substrate::down(docker, substrate, volumes.is_empty(), &Quiet).await?;
        }
        Ok(())
    }

    /// A document without a machine harms nobody, and the service may be down already.
    async fn forget_metadata(&self, site: &Site) {
        if let Ok(substrate) = Substrate::connect(&site.docker, &site.substrate).await {
            drop(
                substrate
                    .admin()
                    .delete_machine(self.machine.as_str())
                    .await,
            );
        }
    }
}
