//! What recovery begins with and how far it came.

use std::sync::Arc;
use std::time::Duration;

use wire::lsn::Lsn;

use super::{Errands, chain};
use crate::archive::ahead;
use crate::archive::loan::Loan;
use crate::boot::Observed;
use crate::boot::gap::archive::{Caught, Told};
use crate::boot::gap::{Filled, Filling, GapError};
use crate::boot::journal::WalRecord;
use crate::boot::step::BringUpStep;
use crate::fx::clock;
use crate::postgres::cluster;
use crate::postgres::controldata::ControlData;
use crate::postgres::ensure::{EnsureError, MAINTENANCE_DATABASE};
use crate::postgres::session::Session;
use crate::postgres::two_phase;
use crate::replication::upstream::Upstream;
use crate::replication::watch::Watch;
use crate::rpc::{Concern, Desk};
use crate::settings::Archive;

/// Between two tries to fetch what the archive has.
const AGAIN: Duration = Duration::from_secs(1);

impl Errands<'_> {
    /// Before each start of Postgres. Best effort: a file that stays is what Postgres would have met anyway.
    pub(crate) async fn forget_future_transactions(&self) {
        let user = self.observed.owners.postgres;
        if let Err(error) = two_phase::forget_future(self.layout, user).await {
            tracing::error!("{}", chain(&error));
        }
    }

    /// Where there is an archive, somebody works ahead of its commands from now on.
    pub(crate) fn archives_ahead(&self, lent: &Loan) -> Option<ahead::Child> {
        let Observed {
            owners, machine, ..
        } = &self.observed;
        let has_archive = lent.archive != Archive::Off;
        has_archive.then(|| ahead::Child::keep(self.layout, *owners, *machine))
    }

    /// Before Postgres starts: what the sink has and this volume lacks.
    pub(crate) async fn fill_gap(&self, desk: &Desk) -> Result<(), GapError> {
        let settings = &self.observed.settings;
        for step in &self.plan.bring_up {
            let (BringUpStep::FillGap { .. }, Some(sink)) = (step, &settings.sink) else {
                continue;
            };
            self.began(step);
            let filling = Filling {
                layout: self.layout,
                owners: self.observed.owners,
                sink,
                instance: settings.instance_id.as_ref(),
            };
            let filled = filling
                .run(|words| desk.concern(Concern::Sink, words))
                .await?;
            *self.filled.borrow_mut() = filled;
            self.ended(step);
        }
        Ok(())
    }

    /// Before Postgres starts: what this machine's own archive has and this volume lacks. Best effort until it is
    /// known to have more, and not given up from then on.
    pub(crate) async fn catch_up(&self, desk: &Desk) {
        let step = BringUpStep::CatchUp;
        if !self.plan.bring_up.contains(&step) {
            return;
        }
        self.began(&step);
        let mut said = None;
        loop {
            let told = Told::of(&self.ask_archive().await);
            if told.words != said {
                if let Some(words) = &told.words {
                    tracing::warn!("{words}");
                }
                desk.concern(Concern::Archive, told.words.clone());
                said = told.words;
            }
            if !told.again {
                if let Some(Filled { fetched, until, .. }) = &told.filled {
                    tracing::warn!(
                        "{fetched} segments were fetched from the archive, up to {until}"
                    );
                }
                *self.caught_up.borrow_mut() = told.filled;
                break;
            }
            clock::pause(AGAIN).await;
        }
        self.ended(&step);
    }

    async fn ask_archive(&self) -> Result<Caught, String> {
        let program = cluster::archive_gap(self.layout, self.observed.owners.postgres);
        let line = program.run().await.map_err(|error| chain(&error))?;
        serde_json::from_str(&line).map_err(|error| format!("it answers {line:?}: {error}"))
    }

    /// Looks after a standby while it runs.
    pub(crate) fn watch_upstream(&self, desk: &Arc<Desk>) {
        let role = &self.observed.settings.role;
        if let Some(upstream) = Upstream::of(self.layout, role) {
            let watch = Watch {
                desk: Arc::clone(desk),
                layout: self.layout.clone(),
                owner: self.observed.owners.postgres,
                upstream,
            };
            watch.begin();
        }
    }

    /// Best effort: it is for the boot record.
    pub(super) async fn note_control_data(&self) {
        if self.before.borrow().is_some() {
            return;
        }
        let program = cluster::controldata(self.layout, self.observed.owners.postgres);
        match program.run().await.map(|text| ControlData::parse(&text)) {
            Ok(Ok(control)) => *self.before.borrow_mut() = Some(control),
            Ok(Err(error)) => {
                tracing::warn!("the boot record will lack what recovery did: {error}");
            }
            Err(error) => tracing::warn!("the boot record will lack what recovery did: {error}"),
        }
    }

    /// What recovery replayed: from the redo point of before to the checkpoint that ended it.
    pub(super) async fn note_recovery(&self) -> Result<(), EnsureError> {
        let Some(before) = self.before.borrow().clone() else {
            return Ok(());
        };
        let session = Session::open(self.layout, MAINTENANCE_DATABASE).await?;
        let query = "SELECT redo_lsn, timeline_id FROM pg_control_checkpoint()";
        // Best effort: it is for the boot record.
        let row = match session.query_one(query, &[]).await {
            Ok(row) => row,
            Err(error) => {
                tracing::warn!("the boot record will lack what recovery did: {error}");
                return Ok(());
            }
        };
        let end: tokio_postgres::types::PgLsn = row.get(0);
        let timeline: i32 = row.get(1);
        let replayed = u64::from(end).saturating_sub(u64::from(before.redo));
        let filled = self.filled.borrow().clone();
        let caught_up = self.caught_up.borrow().clone();
        let all = || filled.iter().chain(&caught_up);
        let fetched = all().map(|filled| filled.fetched).sum::<usize>();
        let clean = before.is_clean() && fetched == 0;
        for filled in all() {
            reached(filled, Lsn::new(end.into()), clean)?;
        }
        self.journal.borrow_mut().record.wal = Some(WalRecord {
            clean,
            timeline: u32::try_from(timeline).unwrap_or(before.timeline),
            redo_lsn: before.redo.to_string(),
            end_lsn: end.to_string(),
            replayed_bytes: if clean { 0 } else { replayed },
            fetched_segments: all().next().map(|_| fetched),
            sink_lsn: filled.map(|filled| filled.until.to_string()),
            archive_lsn: caught_up.map(|filled| filled.until.to_string()),
        });
        Ok(())
    }
}

/// That the checkpoint which ended recovery lies behind all that was there. A clean stop's own checkpoint was
/// compared with it before the start.
fn reached(filled: &Filled, end: Lsn, clean: bool) -> Result<(), EnsureError> {
    let Filled { whose, until, .. } = *filled;
    if !clean && end < until {
        return Err(EnsureError::Short { end, whose, until });
    }
    tracing::info!("recovery ended at {end}, the {whose}'s WAL at {until}");
    Ok(())
}
