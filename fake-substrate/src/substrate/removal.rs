//! The end of one machine.

use crate::lock::SubstrateLock;
use crate::machine::state::State;
use crate::names::MachineName;
use crate::progress::Progress;
use crate::volume::store::decide::Children;

use super::{Substrate, SubstrateError, placing};

impl Substrate {
    /// Takes one machine away, cleanly shut down if it runs, whatever state it is in. Its volume stays, and
    /// with it its address and settings, unless it is said what becomes of the volume's children; then its
    /// name is anybody's again. A volume whose machine is gone already can be taken away in the same way.
    ///
    /// Runs to its end even when the caller is dropped, once it has begun to take away.
    pub async fn remove(
        &self,
        name: &MachineName,
        volume: Option<Children>,
        progress: &dyn Progress,
    ) -> Result<(), SubstrateError> {
        let machine = self.handle(name.clone());
        let site = self.site();
        let state = match self.machine(name).await? {
            Some((_machine, view)) => Some(view.state),
            None if site.volume(name).await?.is_none() => {
                return Err(machine.absent().into());
            }
            None if volume.is_none() => return Err(SubstrateError::VolumeOnly(name.clone())),
            None => None,
        };
        if volume == Some(Children::Forbid) {
            // Before it is shut down: a refusal changes nothing.
            placing::refuse_children(&self.docker, &self.name, name).await?;
        }
        if state == Some(State::Running) {
            progress.step(&format!("Shutting machine {name} down"));
            let ended = machine.stop(None).await?;
            if ended != State::Stopped {
                progress.step(&format!(
                    "Machine {name} did not shut down in time: it is {ended}"
                ));
            }
        }
        let lock = SubstrateLock::take(&self.name, progress).await?;
        let removing = tokio::spawn(async move {
            if let Some(children) = volume {
                site.destroy_lost(machine.name(), children).await?;
            }
            machine.remove(volume).await?;
            drop(lock);
            Ok(())
        });
        removing
            .await
            .map_err(|_aborted| SubstrateError::CutShort(self.name.clone()))?
    }
}
