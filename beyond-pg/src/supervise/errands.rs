//! What the supervisor does that takes a while: each errand is a future that may be dropped at any
//! point and begun again.

mod recovery;

use std::cell::RefCell;
use std::fs;
use std::pin::pin;
use std::time::Duration;

use crate::boot::Observed;
use crate::boot::gap::Filled;
use crate::boot::journal::Journal;
use crate::boot::step::{BringUpStep, Plan};
use crate::disk;
use crate::fork::leave::{LeaveError, Leaving, Left};
use crate::fork::{Part, Progress};
use crate::fx::clock;
use crate::hooks::{HookError, Hooks, Stage};
use crate::layout::Layout;
use crate::logs::Logs;
use crate::postgres::controldata::ControlData;
use crate::postgres::ensure::{
    Ensure, EnsureError, MAINTENANCE_DATABASE, Outcome, PostStart, SUPERUSER,
};
use crate::postgres::login::Login;
use crate::postgres::postmaster::{self, Postmaster};
use crate::postgres::session::Session;
use crate::supervise::fallback::Fallback;
use crate::supervise::machine::{Errand, Event};

/// How often a file or a port is looked at while something starts: short beside any start, and over
/// as soon as it has.
const GLANCE: Duration = Duration::from_millis(10);
/// Between two looks at open transactions during a stop.
const LOOK: Duration = Duration::from_millis(50);

/// Everything errands work with.
pub(crate) struct Errands<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) observed: Observed,
    plan: Plan,
    hooks: Hooks,
    /// What Postgres is started with.
    pub(crate) fallback: Fallback<'a>,
    journal: RefCell<Journal>,
    /// What the sink had, which recovery has to reach.
    filled: RefCell<Option<Filled>>,
    /// The same of the archive, where it had more than the volume.
    caught_up: RefCell<Option<Filled>>,
    /// `pg_control` as the boot found it, before recovery.
    before: RefCell<Option<ControlData>>,
}

impl<'a> Errands<'a> {
    pub(crate) fn new(
        layout: &'a Layout,
        observed: Observed,
        plan: Plan,
        hooks: Hooks,
        journal: RefCell<Journal>,
    ) -> Errands<'a> {
        Errands {
            layout,
            fallback: Fallback::new(layout, observed.owners),
            observed,
            plan,
            hooks,
            journal,
            filled: RefCell::new(None),
            caught_up: RefCell::new(None),
            before: RefCell::new(None),
        }
    }

    pub(crate) async fn run(&self, errand: Errand) -> Event {
        let done = match errand {
            Errand::AwaitPostgres => {
                self.await_postgres().await;
                Ok(())
            }
            Errand::FallBack => {
                return match self.fallback.look().await {
                    true => Event::Done(errand),
                    false => Event::Failed(errand),
                };
            }
            Errand::PostStart => self.post_start().await,
            Errand::Login => {
                self.login().await;
                Ok(())
            }
            Errand::AwaitQuiet => self.await_quiet().await,
            Errand::Checkpoint => self.checkpoint().await,
        };
        match done {
            Ok(()) => Event::Done(errand),
            Err(error) => {
                tracing::error!("{}", chain(&error));
                Event::Failed(errand)
            }
        }
    }

    /// A step of the plan begins; steps of a later restart are in no plan and go unrecorded.
    pub(crate) fn began(&self, step: &BringUpStep) {
        let mut journal = self.journal.borrow_mut();
        if let Some(number) = self.number(&journal, step) {
            journal.begin(clock::now(), number, step);
        }
    }

    pub(crate) fn ended(&self, step: &BringUpStep) {
        let mut journal = self.journal.borrow_mut();
        if let Some(number) = self.number(&journal, step) {
            journal.end(clock::now(), number, step);
        }
    }

    fn number(&self, journal: &Journal, step: &BringUpStep) -> Option<usize> {
        if journal.is_closed() {
            return None;
        }
        let position = self
            .plan
            .bring_up
            .iter()
            .position(|planned| planned == step)?;
        Some(self.plan.disk.len() + position + 1)
    }

    /// The postmaster writes its state into `postmaster.pid`. Knocking on the socket instead would
    /// log a FATAL for every knock during recovery.
    async fn await_postgres(&self) {
        self.note_control_data().await;
        let path = self.layout.postmaster_pid();
        while !fs::read_to_string(&path)
            .is_ok_and(|text| matches!(postmaster::state(&text), Postmaster::Accepting { .. }))
        {
            clock::pause(GLANCE).await;
        }
        self.ended(&BringUpStep::StartPostgres);
    }

    /// This is a fork, and its own settings name nobody who has to hold a commit.
    pub(crate) fn waits_for_nobody(&self) -> bool {
        let fork = self.observed.facts.forked || self.leaves_parent();
        fork && self.observed.settings.sync_names().is_none()
    }

    /// Before anything else is started: a copy of another instance's volume becomes ours. Answers
    /// whether a stop came first.
    pub(crate) async fn leave_parent(
        &self,
        logs: Option<&Logs>,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, LeaveError> {
        if !self.leaves_parent() {
            return Ok(false);
        }
        // It starts a Postgres of its own.
        self.forget_future_transactions().await;
        let mut stop = pin!(stop);
        let restore = self.observed.restores(self.layout);
        loop {
            let leaving = Leaving {
                layout: self.layout,
                owners: self.observed.owners,
                password: &self.observed.settings.password,
                restore: restore.as_ref(),
                fetched: self.observed.facts.fetched,
                conf: &self.fallback.conf(),
                logs,
                progress: self,
            };
            match leaving.run(stop.as_mut()).await {
                Ok(Left::Stopped) => return Ok(true),
                Ok(Left::Ours(changed)) => {
                    self.journal.borrow_mut().record.changed.extend(changed);
                    return Ok(false);
                }
                // The parent may have run on what worked last, and its user's files came along.
                Err(LeaveError::Ended(_)) if self.fallback.look().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn leaves_parent(&self) -> bool {
        let leaves = |step: &BringUpStep| matches!(step, BringUpStep::Leave(_));
        self.plan.bring_up.iter().any(leaves)
    }

    /// Before Postgres starts, once a boot. A hook that fails stops the boot.
    pub(crate) async fn pre_start(&self) -> Result<(), HookError> {
        for step in &self.plan.bring_up {
            match step {
                BringUpStep::Hook(hook) if hook.stage == Stage::PreStart => {
                    self.began(step);
                    self.hooks.run(hook).await?;
                    self.ended(step);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn post_start(&self) -> Result<(), EnsureError> {
        let settings = &self.observed.settings;
        let mut post_start = PostStart::new(self.layout, &settings.password);
        for step in &self.plan.bring_up {
            match step {
                BringUpStep::Ensure(item) => {
                    self.began(step);
                    self.make_true(&mut post_start, item).await?;
                }
                BringUpStep::Hook(hook) if hook.stage == Stage::PostStart => {
                    self.began(step);
                    if let Err(error) = self.hooks.run(hook).await {
                        self.note_failure(&chain(&error));
                    }
                }
                BringUpStep::Hook(_)
                | BringUpStep::FillGap { .. }
                | BringUpStep::CatchUp
                | BringUpStep::Leave(_)
                | BringUpStep::StartPostgres
                | BringUpStep::StartPooler
                | BringUpStep::AwaitLogin => continue,
            }
            self.ended(step);
        }
        self.note_recovery().await?;
        Ok(())
    }

    async fn make_true(&self, on: &mut PostStart<'_>, item: &Ensure) -> Result<(), EnsureError> {
        match on.apply(item).await {
            Ok(Outcome::Unchanged) => {}
            Ok(Outcome::Changed(what)) => self.journal.borrow_mut().record.changed.push(what),
            Err(error) if item.is_advisory() => {
                self.note_failure(&format!("{item}: {}", chain(&error)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn note_failure(&self, words: &str) {
        tracing::error!("the boot goes on without this: {words}");
        self.journal
            .borrow_mut()
            .record
            .failed
            .push(words.to_owned());
    }

    async fn login(&self) {
        self.began(&BringUpStep::AwaitLogin);
        let settings = &self.observed.settings;
        let login = Login {
            user: SUPERUSER,
            password: &settings.password,
            database: &settings.database,
            certificate: self.layout.installed_cert(),
        };
        let mut pause = GLANCE;
        let mut said = String::new();
        while let Err(error) = login.attempt().await {
            // The first failures are a pooler that does not listen yet; a cause that lasts is said
            // once.
            let words = chain(&error);
            disk::lend_to_sessions(self.layout, &words);
            if pause > Duration::from_millis(500) && words != said {
                tracing::warn!("not ready: {words}");
                said = words;
            }
            clock::pause(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        self.ended(&BringUpStep::AwaitLogin);
    }

    /// What this boot could not do and went on without, in one sentence each.
    pub(crate) fn not_done(&self) -> Option<String> {
        let journal = self.journal.borrow();
        let failed = &journal.record.failed;
        (!failed.is_empty()).then(|| {
            format!(
                "the boot went on without this: {}\nHINT: mend the cause and restart the machine",
                failed.join("; ")
            )
        })
    }

    /// Says so; the first time with the record of the boot, which is answered as JSON.
    pub(crate) fn announce_ready(&self) -> Option<String> {
        let mut journal = self.journal.borrow_mut();
        if journal.is_closed() {
            tracing::info!("ready again");
            return None;
        }
        let record = serde_json::to_string(journal.close(clock::now()));
        match &record {
            Ok(json) => tracing::info!("boot record {json}"),
            Err(error) => tracing::error!("the boot record cannot be written: {error}"),
        }
        tracing::info!(
            "ready: a client's login over TLS works on port {}",
            wire::ports::POOLER
        );
        record.ok()
    }

    /// Hooks, then until no client has a transaction open. New ones may still come in on the direct
    /// port.
    async fn await_quiet(&self) -> Result<(), EnsureError> {
        // Best effort: a stop is not called off.
        if let Err(error) = self.hooks.run_all(Stage::PreStop).await {
            tracing::error!("the stop goes on without this: {}", chain(&error));
        }
        let session = Session::open(self.layout, MAINTENANCE_DATABASE).await?;
        let query = "SELECT count(*) FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND xact_start IS NOT NULL \
                       AND pid <> pg_backend_pid()";
        let failed = |source| EnsureError::Sql {
            item: "looking for open transactions before the stop".into(),
            source,
        };
        while session
            .query_one(query, &[])
            .await
            .map_err(failed)?
            .get::<_, i64>(0)
            > 0
        {
            clock::pause(LOOK).await;
        }
        Ok(())
    }

    /// So that the fast shutdown has little left to write.
    async fn checkpoint(&self) -> Result<(), EnsureError> {
        let session = Session::open(self.layout, MAINTENANCE_DATABASE).await?;
        session
            .batch_execute("CHECKPOINT")
            .await
            .map_err(|source| EnsureError::Sql {
                item: "checkpoint before the stop; the shutdown writes one too".into(),
                source,
            })
    }
}

impl Progress for Errands<'_> {
    fn began(&self, part: Part) {
        self.began(&BringUpStep::Leave(part));
    }

    fn ended(&self, part: Part) {
        self.ended(&BringUpStep::Leave(part));
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Transparent wrappers repeat their cause.
        if !words.ends_with(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        source = cause.source();
    }
    words
}
