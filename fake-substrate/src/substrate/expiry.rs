//! Machines that live for a while: a fork with a time to live.
//!
//! Nobody watches the clock for them. The next command on their substrate takes those away whose time
//! has come; a block volume that no machine has attached its block store destroys by itself.

use crate::docker::volume;
use crate::hosts::HostError;
use crate::labels;
use crate::lock::SubstrateLock;
use crate::machine::MachineError;
use crate::names::MachineName;
use crate::progress::Progress;
use crate::serve::clock;
use crate::volume::store::decide::Children;

use super::{Substrate, SubstrateError, volumes};

impl Substrate {
    /// Takes away every machine whose time has come, with its volume. One whose volume has children
    /// stays until they are gone.
    pub async fn expire(&self, progress: &dyn Progress) -> Result<(), SubstrateError> {
        let now_ms = clock::unix_ms();
        let all = volumes(&self.docker, &self.name).await?;
        let due: Vec<_> = all
            .iter()
            .filter_map(|volume| due(volume, now_ms))
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let _lock = SubstrateLock::take(&self.name, progress).await?;
        for machine in due {
            match self
                .handle(machine.clone())
                .remove(Some(Children::Forbid))
                .await
            {
                Ok(()) => progress.step(&format!("Machine {machine} has had its time: taken away")),
                Err(MachineError::Host(HostError::HasChildren { children, .. })) => {
                    let children: Vec<_> = children.iter().map(ToString::to_string).collect();
                    progress.step(&format!(
                        "Machine {machine} has had its time, and stays while it has children: {}",
                        children.join(", ")
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn due(volume: &volume::Volume, now_ms: u64) -> Option<MachineName> {
    let expires_ms: u64 = volume.labels.get(labels::EXPIRES)?.parse().ok()?;
    let machine = volume.labels.get(labels::MACHINE)?.parse().ok()?;
    (expires_ms <= now_ms).then_some(machine)
}

#[cfg(test)]
mod tests {
    use super::due;
    use crate::docker::volume::Volume;
    use crate::labels;

    #[test]
    fn only_what_was_given_a_time_is_ever_due() {
        let volume = |expires: Option<&str>| Volume {
            name: "beyond-local.copy".to_owned(),
            labels: [(labels::MACHINE, Some("copy")), (labels::EXPIRES, expires)]
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect(),
        };
        assert!(due(&volume(Some("1000")), 1000).is_some());
        assert!(due(&volume(Some("1001")), 1000).is_none());
        assert!(due(&volume(Some("garbage")), 1000).is_none());
        assert!(due(&volume(None), u64::MAX).is_none());
    }
}
