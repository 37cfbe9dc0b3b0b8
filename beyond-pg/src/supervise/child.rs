//! One server as the machine sees it: up since when, or down until when. Pure.

use std::time::Instant;

use crate::supervise::backoff::Backoff;

/// Whether it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Process {
    Down { restart_at: Option<Instant> },
    Up { since: Instant },
}

impl Process {
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Process::Up { .. })
    }
}

/// A server and how patiently it is started again.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) process: Process,
    backoff: Backoff,
}

impl Child {
    pub(super) fn new() -> Child {
        Child {
            process: Process::Down { restart_at: None },
            backoff: Backoff::default(),
        }
    }

    pub(super) fn exited(&mut self, now: Instant, restart: bool) {
        let restart_at = match self.process {
            Process::Up { since } if restart => Some(self.backoff.restart_at(since, now)),
            _ => None,
        };
        self.process = Process::Down { restart_at };
    }

    pub(super) fn restart_at(&self) -> Option<Instant> {
        match self.process {
            Process::Down { restart_at } => restart_at,
            Process::Up { .. } => None,
        }
    }

    /// A stop cancels a restart that was waiting for its time.
    pub(super) fn cancel_restart(&mut self) {
        if let Process::Down { restart_at } = &mut self.process {
            *restart_at = None;
        }
    }
}
