//! What the supervisor does next: events in, actions out. No I/O; time is an argument.
//!
//! ```text
//!  begin            Postgres answers      post-start done       a client's login works
//!    │                     │                    │                        │
//!    ▼                     ▼                    ▼                        ▼
//!  AwaitingPostgres ──► PostStart ──────► LoggingIn ──────────────────► Ready
//!    ▲                     │  (once a boot)     ▲ ▲                      │ │
//!    │     Postgres exits  │                    │ └─ PgBouncer exits ────┘ │
//!    └─────────────────────┴────────────────────┴──── Postgres exits ──────┘
//!
//!  AwaitingPostgres ─ third failed start in a row ─► FallingBack ─ done or failed ─► AwaitingPostgres
//!
//!  stop requested, in any stage above
//!    │
//!    ▼   pooler gone and no      CHECKPOINT done        Postgres exits
//!        transaction open, or    or its time is up      │
//!  Draining ─────────────────► Checkpointing ─────► StoppingPostgres ─────► Stopped
//!        their time is up
//! ```
//!
//! - **AwaitingPostgres**: the postmaster was started, or waits out its backoff after a crash.
//! - **FallingBack**: another configuration is looked for that Postgres may accept (`last_good`).
//! - **PostStart**: password, roles, database and extensions are made true, once a boot.
//! - **LoggingIn**: the login that a client would make is tried until it works.
//! - **Draining**: PgBouncer takes no new client and waits for transactions (facts B 37).
//! - **StoppingPostgres**: SIGINT, at the deadline SIGQUIT, never SIGKILL: a postmaster killed alone
//!   leaves children that hold shared memory (facts A 14).

use std::time::{Duration, Instant};

mod renewal;
mod stopping;

pub(crate) use stopping::StopBudget;

use crate::supervise::backoff::Backoff;
use crate::supervise::child::{Child, Process};

/// The two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    Pooler,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Server::Postgres => "Postgres",
            Server::Pooler => "PgBouncer",
        })
    }
}

/// Something that takes a while; one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    AwaitPostgres,
    /// Look for another configuration than the one that Postgres does not start with.
    FallBack,
    PostStart,
    Login,
    AwaitQuiet,
    Checkpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Exited(Server),
    Done(Errand),
    Failed(Errand),
    StopRequested,
    ReloadRequested,
    /// PgBouncer remembers a default of Postgres that has changed.
    PoolerOutdated,
    DeadlinePassed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Postgres rolls sessions back and shuts down; PgBouncer waits for transactions.
    Interrupt,
    /// SIGQUIT: at once.
    Quit,
    /// SIGHUP: read the configuration and the certificate again.
    Reload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Spawn(Server),
    /// Begin an errand; the one under way, if any, is dropped.
    Run(Errand),
    /// Drop the errand under way.
    Abandon,
    Signal(Server, Signal),
    /// Clients get in.
    AnnounceReady,
    Finish {
        clean: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AwaitingPostgres,
    FallingBack,
    PostStart,
    LoggingIn,
    Ready,
    Draining { until: Instant, quiet: bool },
    Checkpointing { until: Instant },
    StoppingPostgres { until: Instant, quit: bool },
    Stopped,
}

/// After so many starts in a row that fail, the configuration is suspected (contract 8).
const FAILED_STARTS: u32 = 3;

/// The supervisor's state.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    stage: Stage,
    postgres: Child,
    pooler: Child,
    /// Starts of Postgres in a row that did not get as far as answering.
    failed_starts: u32,
    /// Post-start has run through in this boot.
    post_started: bool,
    post_start_backoff: Backoff,
    /// When a failed post-start is tried again.
    retry_at: Option<Instant>,
    /// When a PgBouncer that was told to end for a fresh one is not waited for any longer.
    pooler_quits_at: Option<Instant>,
    /// When the stop was asked for.
    stopping_since: Option<Instant>,
    budget: StopBudget,
}

impl Machine {
    /// The state after the disk steps of a boot, and what to do first.
    pub(crate) fn begin(now: Instant, budget: StopBudget) -> (Machine, Vec<Action>) {
        let mut machine = Machine {
            stage: Stage::AwaitingPostgres,
            postgres: Child::new(),
            pooler: Child::new(),
            failed_starts: 0,
            post_started: false,
            post_start_backoff: Backoff::default(),
            retry_at: None,
            pooler_quits_at: None,
            stopping_since: None,
            budget,
        };
        let actions = machine.start_postgres(now);
        (machine, actions)
    }

    /// When [`Event::DeadlinePassed`] is due. `None`: an idle machine sleeps.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Draining { until, .. }
            | Stage::Checkpointing { until }
            | Stage::StoppingPostgres { until, .. } => Some(until),
            _ => None,
        };
        [
            stage,
            self.postgres_due(),
            self.pooler.restart_at(),
            self.retry_at,
            self.pooler_quits_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When a Postgres that is down is started again.
    fn postgres_due(&self) -> Option<Instant> {
        match self.stage {
            // Not before it is known what with.
            Stage::FallingBack => None,
            _ => self.postgres.restart_at(),
        }
    }

    /// How long a server that is down waits for its next start.
    pub(crate) fn down_for(&self, server: Server, now: Instant) -> Option<Duration> {
        let due = match server {
            Server::Postgres => self.postgres_due(),
            Server::Pooler => self.pooler.restart_at(),
        };
        Some(due?.saturating_duration_since(now))
    }

    pub(crate) fn on(&mut self, now: Instant, event: &Event) -> Vec<Action> {
        match event {
            Event::StopRequested => self.stop_requested(now),
            Event::ReloadRequested => self.reload_requested(),
            Event::PoolerOutdated => self.renew_pooler(now),
            Event::Exited(Server::Postgres) => self.postgres_exited(now),
            Event::Exited(Server::Pooler) => self.pooler_exited(now),
            Event::Done(errand) => self.done(now, *errand),
            Event::Failed(errand) => self.failed(now, *errand),
            Event::DeadlinePassed => self.deadline_passed(now),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        match self.stage {
            Stage::AwaitingPostgres
            | Stage::FallingBack
            | Stage::PostStart
            | Stage::LoggingIn
            | Stage::Ready => false,
            Stage::Draining { .. }
            | Stage::Checkpointing { .. }
            | Stage::StoppingPostgres { .. }
            | Stage::Stopped => true,
        }
    }

    fn start_postgres(&mut self, now: Instant) -> Vec<Action> {
        self.postgres.process = Process::Up { since: now };
        self.stage = Stage::AwaitingPostgres;
        vec![
            Action::Spawn(Server::Postgres),
            Action::Run(Errand::AwaitPostgres),
        ]
    }

    fn start_pooler(&mut self, now: Instant) -> Vec<Action> {
        self.pooler.process = Process::Up { since: now };
        vec![Action::Spawn(Server::Pooler)]
    }

    fn done(&mut self, now: Instant, errand: Errand) -> Vec<Action> {
        match (errand, self.stage) {
            (Errand::FallBack, Stage::FallingBack) => self.start_postgres(now),
            (Errand::AwaitPostgres, Stage::AwaitingPostgres) => {
                self.failed_starts = 0;
                let mut actions = match self.pooler.process {
                    Process::Down { restart_at: None } => self.start_pooler(now),
                    Process::Down {
                        restart_at: Some(_),
                    }
                    | Process::Up { .. } => Vec::new(),
                };
                actions.push(self.after_postgres_answers());
                actions
            }
            (Errand::PostStart, Stage::PostStart) => {
                self.post_started = true;
                vec![self.after_postgres_answers()]
            }
            (Errand::Login, Stage::LoggingIn) => {
                self.stage = Stage::Ready;
                vec![Action::AnnounceReady]
            }
            (Errand::AwaitQuiet, Stage::Draining { until, .. }) => {
                self.stage = Stage::Draining { until, quiet: true };
                self.drained(now)
            }
            (Errand::Checkpoint, Stage::Checkpointing { .. }) => self.stop_postgres(now),
            // An errand of a stage that was left: its end means nothing any more.
            _ => Vec::new(),
        }
    }

    fn after_postgres_answers(&mut self) -> Action {
        let (stage, errand) = if self.post_started {
            (Stage::LoggingIn, Errand::Login)
        } else {
            (Stage::PostStart, Errand::PostStart)
        };
        self.stage = stage;
        Action::Run(errand)
    }

    fn failed(&mut self, now: Instant, errand: Errand) -> Vec<Action> {
        match (errand, self.stage) {
            (Errand::PostStart, Stage::PostStart) => {
                self.retry_at = Some(self.post_start_backoff.restart_at(now, now));
                Vec::new()
            }
            // There is no other configuration to try: the same one, once its time has come.
            (Errand::FallBack, Stage::FallingBack) => {
                self.stage = Stage::AwaitingPostgres;
                Vec::new()
            }
            // Best effort: fast shutdown writes a checkpoint of its own.
            (Errand::Checkpoint, Stage::Checkpointing { .. }) => self.stop_postgres(now),
            (Errand::AwaitQuiet, _) => self.done(now, Errand::AwaitQuiet),
            _ => Vec::new(),
        }
    }

    fn postgres_exited(&mut self, now: Instant) -> Vec<Action> {
        let restart = !self.is_stopping();
        self.postgres.exited(now, restart);
        self.retry_at = None;
        match self.stage {
            Stage::StoppingPostgres { quit, .. } => self.finish(!quit),
            // It died while it was asked to drain or to checkpoint: the next boot recovers.
            Stage::Draining { .. } | Stage::Checkpointing { .. } => self.finish(false),
            Stage::Stopped => Vec::new(),
            Stage::AwaitingPostgres => self.failed_to_start(),
            Stage::FallingBack | Stage::PostStart | Stage::LoggingIn | Stage::Ready => {
                self.stage = Stage::AwaitingPostgres;
                vec![Action::Abandon]
            }
        }
    }

    fn failed_to_start(&mut self) -> Vec<Action> {
        self.failed_starts += 1;
        if self.failed_starts < FAILED_STARTS {
            return vec![Action::Abandon];
        }
        self.failed_starts = 0;
        self.stage = Stage::FallingBack;
        vec![Action::Run(Errand::FallBack)]
    }

    fn pooler_exited(&mut self, now: Instant) -> Vec<Action> {
        let restart = !self.is_stopping();
        self.pooler.exited(now, restart);
        self.pooler_quits_at = None;
        match self.stage {
            Stage::LoggingIn | Stage::Ready => {
                self.stage = Stage::LoggingIn;
                vec![Action::Abandon]
            }
            Stage::Draining { .. } => self.drained(now),
            _ => Vec::new(),
        }
    }

    fn deadline_passed(&mut self, now: Instant) -> Vec<Action> {
        if let Some(actions) = self.stop_deadline_passed(now) {
            return actions;
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut actions = Vec::new();
        if due(self.postgres_due()) {
            actions.extend(self.start_postgres(now));
        }
        if due(self.pooler.restart_at()) {
            actions.extend(self.start_pooler(now));
            if self.stage == Stage::LoggingIn {
                actions.push(Action::Run(Errand::Login));
            }
        }
        if due(self.pooler_quits_at) {
            actions.extend(self.quit_pooler());
        }
        if due(self.retry_at) {
            self.retry_at = None;
            actions.push(Action::Run(Errand::PostStart));
        }
        actions
    }

    /// A server that is down reads everything when it starts.
    fn reload_requested(&self) -> Vec<Action> {
        if self.is_stopping() {
            return Vec::new();
        }
        let running = [
            (Server::Postgres, &self.postgres),
            (Server::Pooler, &self.pooler),
        ]
        .into_iter()
        .filter(|(_, child)| child.process.is_up());
        running
            .map(|(server, _)| Action::Signal(server, Signal::Reload))
            .collect()
    }
}

#[cfg(test)]
mod tests;
