//! How a stop proceeds, each stage with a deadline out of one budget.

use std::time::{Duration, Instant};

use super::{Action, Errand, Machine, Server, Signal, Stage};

/// How the total time for a stop is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopBudget(pub(crate) Duration);

impl StopBudget {
    fn drain(self) -> Duration {
        self.0 / 3
    }
    fn checkpoint(self) -> Duration {
        self.0 / 3
    }
    fn fast_shutdown(self) -> Duration {
        self.0 / 5
    }
    fn immediate_shutdown(self) -> Duration {
        self.0 / 10
    }
}

impl Machine {
    pub(super) fn stop_requested(&mut self, now: Instant) -> Vec<Action> {
        if self.is_stopping() {
            return Vec::new();
        }
        self.stopping_since = Some(now);
        let answering = self.stage != Stage::AwaitingPostgres;
        self.retry_at = None;
        self.pooler.cancel_restart();
        let mut actions = vec![Action::Abandon];
        // Told once already, it would take a second signal for "at once".
        let told = self.pooler_quits_at.take().is_some();
        if self.pooler.process.is_up() && !told {
            actions.push(Action::Signal(Server::Pooler, Signal::Interrupt));
        }
        if !self.postgres.process.is_up() {
            // It crashed and waits out its backoff: the next boot has WAL to replay.
            actions.extend(self.finish(false));
        } else if answering {
            self.stage = Stage::Draining {
                until: now + self.budget.drain(),
                quiet: false,
            };
            actions.push(Action::Run(Errand::AwaitQuiet));
        } else {
            // In recovery or not up yet: there is nobody to wait for and nothing to checkpoint.
            actions.extend(self.stop_postgres(now));
        }
        actions
    }

    /// What a stop that takes too long in its present stage does next; `None` when nothing is due.
    pub(super) fn stop_deadline_passed(&mut self, now: Instant) -> Option<Vec<Action>> {
        match self.stage {
            Stage::Draining { until, .. } if until <= now => {
                let mut actions = vec![Action::Abandon];
                if self.pooler.process.is_up() {
                    actions.push(Action::Signal(Server::Pooler, Signal::Quit));
                }
                actions.extend(self.checkpoint(now));
                Some(actions)
            }
            Stage::Checkpointing { until } if until <= now => Some(self.stop_postgres(now)),
            Stage::StoppingPostgres { until, quit: false } if until <= now => {
                let until = now + self.budget.immediate_shutdown();
                self.stage = Stage::StoppingPostgres { until, quit: true };
                Some(vec![Action::Signal(Server::Postgres, Signal::Quit)])
            }
            // Not even SIGQUIT ended it: with PID 1 the kernel takes the whole machine down.
            Stage::StoppingPostgres { until, quit: true } if until <= now => {
                Some(self.finish(false))
            }
            _ => None,
        }
    }

    /// Goes on once the pooler is gone and no transaction is open.
    pub(super) fn drained(&mut self, now: Instant) -> Vec<Action> {
        match self.stage {
            Stage::Draining { quiet: true, .. } if !self.pooler.process.is_up() => {
                self.checkpoint(now)
            }
            _ => Vec::new(),
        }
    }

    fn checkpoint(&mut self, now: Instant) -> Vec<Action> {
        self.stage = Stage::Checkpointing {
            until: now + self.budget.checkpoint(),
        };
        vec![Action::Run(Errand::Checkpoint)]
    }

    /// It has what the stages before have left of their shares as well: a standby that looks up the name of
    /// a primary that is gone cannot be hurried.
    pub(super) fn stop_postgres(&mut self, now: Instant) -> Vec<Action> {
        let shares = self.budget.drain() + self.budget.checkpoint();
        let earlier = self.stopping_since.map_or(now, |since| since + shares);
        let until = earlier.max(now) + self.budget.fast_shutdown();
        self.stage = Stage::StoppingPostgres { until, quit: false };
        vec![
            Action::Abandon,
            Action::Signal(Server::Postgres, Signal::Interrupt),
        ]
    }

    pub(super) fn finish(&mut self, clean: bool) -> Vec<Action> {
        self.stage = Stage::Stopped;
        vec![Action::Abandon, Action::Finish { clean }]
    }
}
