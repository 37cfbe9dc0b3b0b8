//! One round: load, the power goes, the machine starts again, and what it has is held against the ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::admin::PowerCutReport;
use fake_substrate::volume::store::cut::Tear;

use super::book::Book;
use super::entry::Entry;
use super::history::History;
use super::load::Load;
use super::verdict::{Broken, Kept, verdict};
use crate::sql::{Door, Session};
use crate::vm::Vm;

/// So that heaps are counted, whatever an index says.
const HEAPS_ALONE: &str =
    "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off";

/// Ends with the machine.
const NEIGHBOUR: &str = "cd /var/lib/postgresql; \
    while dd if=/dev/urandom of=unflushed bs=64k count=64 oflag=direct conv=notrunc; do :; done \
        </dev/null >/dev/null 2>&1 &";

/// What a round left, and the next one must still find.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) round: u64,
    pub(super) rows: i64,
}

/// How a round went.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) seed: u64,
    history: History,
    cut: PowerCutReport,
    pub(super) restart: Duration,
    pub(super) verdict: Result<Kept, Broken>,
}

/// Plays one on a machine that is ready; answers the machine, ready again.
pub(super) async fn play(
    vm: Vm,
    number: u64,
    seed: u64,
    before: Option<Left>,
    book: &Arc<Book>,
) -> Result<(Vm, Round)> {
    let history = History::drawn(seed);
    let mut load = Load::begin(&vm, number, &history, book).await?;
    forget_all_before(&vm, before).await?;
    load.reaches(history.commits / 2).await?;
    if history.neighbour {
        vm.shell(NEIGHBOUR).await?;
    }
    load.reaches(history.commits).await?;
    if history.checkpoint_last {
        let session = vm.session(Door::Direct).await?;
        // Nobody is left to hear how it ends.
        tokio::spawn(async move { session.sql("CHECKPOINT").await });
    }
    let (off, cut) = vm.running.cut_power(history.cut()).await?;
    load.cut_off().await?;
    let (vm, restart) = off.timed_boot().await?;
    ensure!(
        !vm.boot_record().await?.wal.clean,
        "the power was cut, and the machine says that it was shut down"
    );
    let session = vm.session(Door::Direct).await?;
    session.sql(HEAPS_ALONE).await?;
    if let Some(left) = before {
        still_there(&session, left).await?;
    }
    let found = found(&session, number).await?;
    let verdict = verdict(&history, &book.of_round(number).await?, &found);
    let round = Round {
        number,
        seed,
        history,
        cut,
        restart,
        verdict,
    };
    Ok((vm, round))
}

/// While the load is on: what is deleted leaves room in pages that are on the disk already.
async fn forget_all_before(vm: &Vm, before: Option<Left>) -> Result<()> {
    let Some(Left { round, .. }) = before else {
        return Ok(());
    };
    let delete = format!("DELETE FROM commits WHERE round < {round}");
    vm.sql(&delete).await?;
    vm.sql("VACUUM commits").await
}

async fn still_there(session: &Session, Left { round, rows }: Left) -> Result<()> {
    let count = format!("SELECT count(*) FROM commits WHERE round = {round}");
    let there: i64 = session.ask(&count).await?;
    ensure!(
        there == rows,
        "of {rows} rows that were there after round {round}, {there} are left"
    );
    Ok(())
}

async fn found(session: &Session, round: u64) -> Result<Vec<Entry>> {
    if session.ask("SELECT to_regclass('commits') IS NULL").await? {
        // Made before the first commit: whatever was acknowledged is gone with it.
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT format('%s %s %s %s', round, writer, nth, count(*)) FROM commits \
         WHERE round = {round} GROUP BY round, writer, nth"
    );
    let lines = session.list::<String>(&query).await?;
    let entries = lines.iter().map(|line| line.parse());
    entries.collect::<Result<_>>().context("reading the table")
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} seed {}: ", self.number, self.seed)?;
        match &self.verdict {
            Ok(kept) => write!(
                f,
                "{} acknowledged, {} found, {} of them unacknowledged",
                kept.acknowledged, kept.found, kept.beyond
            )?,
            Err(broken) => write!(f, "LOST: {broken}")?,
        }
        let PowerCutReport {
            unsynced,
            survived,
            torn,
            ..
        } = self.cut;
        let tear = match self.history.tear {
            Tear::Block => "blocks",
            Tear::Sector => "sectors",
        };
        let beside = match (self.history.neighbour, self.history.checkpoint_last) {
            (true, true) => ", a neighbour, a checkpoint last",
            (true, false) => ", a neighbour",
            (false, true) => ", a checkpoint last",
            (false, false) => "",
        };
        write!(
            f,
            "; {} writers{beside}; by {tear}: of {unsynced} unsynced blocks {survived} changed, {torn} torn; \
             restart {:.2} s",
            self.history.writers.len(),
            self.restart.as_secs_f64()
        )
    }
}
