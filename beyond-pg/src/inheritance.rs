//! What the processes of a machine are given by PID 1 besides argv and environment: one table for
//! what all inherit, one for whom the kernel spares when memory runs out. Pure; `sys/limits.rs` sets
//! the first in PID 1 itself, before it has any child, `supervise/servers.rs` the second.

/// Nobody but its owner reads what a process creates, unless it says otherwise itself.
pub(crate) const UMASK: u32 = 0o077;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    OpenFiles,
    CoreFile,
    Stack,
}

/// A soft limit that every process of the machine starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    /// For the log and the reference.
    pub(crate) why: &'static str,
}

pub(crate) const LIMITS: [Limit; 3] = [
    Limit {
        resource: Resource::OpenFiles,
        soft: 65_536,
        why: "a kernel gives PID 1 1024, which is not enough for a pooler's clients; where the hard \
              limit is lower and may not be raised, that",
    },
    Limit {
        resource: Resource::CoreFile,
        soft: 0,
        why: "a backend's memory is its clients' data, and the file would land in PGDATA; the hard \
              limit stays, so that `prlimit --core=unlimited --pid PID` can allow one",
    },
    Limit {
        resource: Resource::Stack,
        soft: 8 << 20,
        why: "`max_stack_depth` is at most this less 512 kB",
    },
];

impl Limit {
    /// Soft and hard limits to try, the best first. Raising a hard limit needs CAP_SYS_RESOURCE.
    pub(crate) fn tries(self, hard: u64) -> [(u64, u64); 2] {
        [
            (self.soft, hard.max(self.soft)),
            (self.soft.min(hard), hard),
        ]
    }
}

/// The processes that are spared, or expressly not, when memory runs out.
///
/// PID 1, and the hooks and programs that it runs, keep the score that the machine was given: the kernel
/// of a VM never takes init, and in a container a lower one would be inherited by every hook before
/// PID 1 could undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Postmaster,
    /// Backends and auxiliary processes.
    OfPostmaster,
    Pooler,
}

impl Process {
    /// Its `oom_score_adj`: -1000 is never killed, 1000 is killed first.
    pub(crate) fn oom_score_adj(self) -> i16 {
        match self {
            // Its death ends every session, and a busy backend may outlive it (facts D 69).
            Process::Postmaster => -1000,
            // Whose statement wants the memory; Postgres recovers from a backend's death.
            Process::OfPostmaster => 0,
            // Its death cuts every client off and damages nothing: after all backends, before none.
            Process::Pooler => -900,
        }
    }
}

#[cfg(test)]
#[path = "inheritance_tests.rs"]
mod tests;
