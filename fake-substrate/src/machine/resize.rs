//! The same machine with other memory and processors, and a larger disk.

use crate::docker::container;
use crate::lock::SubstrateLock;
use crate::machine::error::MachineError;
use crate::machine::handle::Machine;
use crate::machine::size::{Cpus, DiskSize, Memory};
use crate::machine::state::Verb;
use crate::progress::Progress;

/// What a machine shall have; what is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resize {
    /// Its memory.
    pub memory: Option<Memory>,
    /// Its processors.
    pub cpus: Option<Cpus>,
    /// Its disk, which never gets smaller.
    pub disk: Option<DiskSize>,
}

impl Machine {
    /// Resizes it, without a stop: its limits and its disk are the new ones when this returns. Postgres is
    /// tuned to its machine when that boots. The disk comes first, since that alone may be refused.
    pub async fn resize(&self, to: Resize, progress: &dyn Progress) -> Result<(), MachineError> {
        self.may(Verb::Resize).await?;
        let lock = SubstrateLock::take(&self.substrate, progress).await?;
        if let Some(size) = to.disk {
            let host = self.must_have_a_disk("resize the disk of").await?;
            let host = self.hosts().awake(&host).await?;
            host.grow(&self.name, size).await?;
        }
        if to.memory.is_some() || to.cpus.is_some() {
            container::resize(&self.docker, &self.container(), to.memory, to.cpus).await?;
        }
        drop(lock);
        Ok(())
    }
}
