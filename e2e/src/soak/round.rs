//! One round: load, a history, the end, the machine starts again, and what it has is held against the ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::admin::CutPower;
use fake_substrate::fault::Guard;
use fake_substrate::volume::store::cut::Tear;

use super::history::{End, Event, History, Kind, Roll};
use super::stage::{Cast, Left, Stay};
use crate::budget;
use crate::ledger::bank::CLOSE_BOOKS;
use crate::ledger::book::{self, Book};
use crate::ledger::found::{self, Found};
use crate::ledger::transaction::Work;
use crate::ledger::verdict::{Broken, Kept, verdict};
use crate::ledger::writers::Writers;
use crate::sql::{Door, Session};
use crate::stopped::Stopped;
use crate::until::within;
use crate::world::World;
use tokio::sync::watch;

/// Ends with the machine.
const NEIGHBOUR: &str = "cd /var/lib/postgresql; \
    while dd if=/dev/urandom of=unflushed bs=64k count=64 oflag=direct conv=notrunc; do :; done \
        </dev/null >/dev/null 2>&1 &";

/// How a round went.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) seed: u64,
    history: History,
    pub(super) restart: Duration,
    prepared: usize,
    pub(super) verdict: Result<Kept, Broken>,
}

/// What goes on until the end.
struct Load<'a> {
    world: &'a World,
    cast: Cast,
    book: Arc<Book>,
    writers: Writers,
    roll: Roll,
    /// How much of the book is safe without a sink.
    floor: usize,
    cut: Option<Guard>,
    neighbour: bool,
}

/// What is left of it when the machine is off.
struct After {
    stay: Stay,
    roll: Roll,
    floor: usize,
}

/// Plays one on machines that are ready; answers them, ready again.
pub(super) async fn play(
    world: &World,
    cast: Cast,
    seed: u64,
    history: &History,
    book: &Arc<Book>,
) -> Result<(Cast, Round)> {
    forget_all_before(&cast).await?;
    if history.kind == Kind::Alone {
        // What earlier rounds left is none of this one's business.
        cast.vm.flush().await?;
    }
    let mut load = Load {
        world,
        cast,
        book: Arc::clone(book),
        writers: Writers::new(Arc::clone(book), seed),
        roll: Roll::default(),
        floor: 0,
        cut: None,
        neighbour: false,
    };
    for event in &history.events {
        let happened = load.happens(*event).await;
        happened.with_context(|| format!("at the event {event}"))?;
    }
    let (off, after) = load.ends(history.end, seed).await?;
    let After {
        mut stay,
        roll,
        floor,
    } = after;
    let (vm, restart) = off.timed_boot().await?;
    if matches!(history.end, End::PowerCut { .. }) {
        ensure!(
            !vm.boot_record().await?.wal.clean,
            "the power was cut, and the machine says that it was shut down"
        );
    }
    let session = vm.session(Door::Direct).await?;
    let prepared = found::commit_prepared(&session, seed).await?;
    if let Some(left) = stay.before {
        still_there(&session, left).await?;
    }
    let mut found = found::look(&session, Some(seed)).await?;
    tables_made(&session, &roll, &mut found).await?;
    let acknowledged = book::read(book.path()).await?;
    let floor = match (history.kind, history.end) {
        (Kind::Alone, End::LoseHost) => floor,
        (Kind::Sink, _) | (_, End::PowerCut { .. }) => acknowledged.len(),
    };
    let rows_of = |commit| roll.rows_of(commit);
    let verdict = verdict(&acknowledged, floor, rows_of, &found);
    stay.before = verdict.as_ref().ok().map(|kept| Left {
        round: seed,
        rows: kept.rows,
    });
    let round = Round {
        seed,
        history: history.clone(),
        restart,
        prepared,
        verdict,
    };
    Ok((Cast { vm, stay }, round))
}

/// What is deleted leaves room in pages that are on the disk already.
async fn forget_all_before(cast: &Cast) -> Result<()> {
    let session = cast.vm.session(Door::Direct).await?;
    Writers::prepare(&session).await?;
    let kept = cast.stay.before.map_or(0, |left| left.round);
    let delete = format!("DELETE FROM ledger_commits WHERE round <> {kept}");
    session
        .sql(&format!("BEGIN; {CLOSE_BOOKS}; {delete}; COMMIT"))
        .await?;
    let tables =
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname LIKE 'ledger\\_of\\_%'";
    for table in session.list::<String>(tables).await? {
        session.sql(&format!("DROP TABLE {table}")).await?;
    }
    session.sql("VACUUM ledger_commits").await
}

async fn still_there(session: &Session, Left { round, rows }: Left) -> Result<()> {
    let count = format!("SELECT count(*) FROM ledger_commits WHERE round = {round}");
    let there: i64 = session.ask(&count).await?;
    ensure!(
        there == rows,
        "of {rows} rows that were there after round {round}, {there} are left"
    );
    Ok(())
}

/// A commit that made a table is not whole without it.
async fn tables_made(session: &Session, roll: &Roll, found: &mut Found) -> Result<()> {
    for entry in &mut found.commits {
        let made_one = roll.0.get(entry.commit.writer) == Some(&Work::Ddl);
        if made_one && !found::made_its_table(session, entry.commit).await? {
            entry.rows = 0;
        }
    }
    Ok(())
}

impl Load<'_> {
    async fn happens(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Write {
                writers,
                size,
                door,
            } => {
                let checkpoints = true;
                for _nth in 0..writers {
                    let work = Work::Stream { size, checkpoints };
                    drop(self.begins(work, door).await?);
                }
                Ok(())
            }
            // Nothing is acknowledged while nobody writes, or while the sink hears nothing.
            Event::Commits(_) if self.hears_nothing() || !self.somebody_writes() => Ok(()),
            Event::Commits(more) => self.writers.reach(self.writers.so_far() + more).await,
            Event::Ddl => self.once(Work::Ddl).await,
            Event::Prepare => self.once(Work::Prepared).await,
            Event::Checkpoint => {
                let session = self.cast.vm.session(Door::Direct).await?;
                // Nobody may be left to hear how it ends.
                tokio::spawn(async move { session.sql("CHECKPOINT").await });
                Ok(())
            }
            Event::Flush => {
                let floor = self.book.entries().await;
                self.cast.vm.flush().await?;
                self.floor = floor;
                Ok(())
            }
            Event::Neighbour if self.neighbour => Ok(()),
            Event::Neighbour => {
                self.neighbour = true;
                self.cast.vm.shell(NEIGHBOUR).await.map(drop)
            }
            Event::CutNetwork => self.is_cut().await,
            Event::Heal => self.heals().await,
            Event::RestartSink => self.cast.stay.sink_comes_back(false).await,
            Event::CrashSink => self.cast.stay.sink_comes_back(true).await,
        }
    }

    async fn begins(&mut self, work: Work, door: Door) -> Result<watch::Receiver<i64>> {
        let session = self.cast.vm.session(door).await?;
        let number = self.roll.0.len();
        self.roll.0.push(work);
        Ok(self.writers.begin(session, number, work))
    }

    /// Whether commits wait for a sink that cannot be reached.
    fn hears_nothing(&self) -> bool {
        self.cut.is_some() && self.cast.stay.synchronous
    }

    fn somebody_writes(&self) -> bool {
        let mut works = self.roll.0.iter();
        works.any(|work| matches!(work, Work::Stream { .. }))
    }

    /// Waits for its acknowledgement if there can be one.
    async fn once(&mut self, work: Work) -> Result<()> {
        let mut acknowledged = self.begins(work, Door::Direct).await?;
        if self.hears_nothing() {
            return Ok(());
        }
        let is_there = acknowledged.wait_for(|nth| *nth == 1);
        let waited = within(budget::STORY, format!("{work:?} is acknowledged"), is_there).await?;
        waited
            .map(drop)
            .with_context(|| format!("{work:?} was not acknowledged"))
    }

    async fn is_cut(&mut self) -> Result<()> {
        if let (Some(sink), None) = (&self.cast.stay.sink, &self.cut) {
            self.cut = Some(self.world.partition(&self.cast.vm, sink).await?);
        }
        Ok(())
    }

    async fn heals(&mut self) -> Result<()> {
        match self.cut.take() {
            Some(cut) => Ok(cut.heal().await?),
            None => Ok(()),
        }
    }

    async fn ends(mut self, end: End, seed: u64) -> Result<(Stopped, After)> {
        let host = self.cast.stay.next_host();
        let cut = self.cut.take();
        let Self {
            cast: Cast { vm, stay },
            writers,
            roll,
            floor,
            ..
        } = self;
        let off = match end {
            End::LoseHost => {
                let lost = vm.lose_host().await?;
                writers.cut_off().await?;
                lost.rehome_to(&host).await?
            }
            End::PowerCut { sectors } => {
                let tear = if sectors { Tear::Sector } else { Tear::Block };
                let seed = Some(seed);
                let (off, _report) = vm.running.cut_power(CutPower { seed, tear }).await?;
                writers.cut_off().await?;
                off
            }
        };
        if let Some(cut) = cut {
            // The next boot asks the sink.
            cut.heal().await?;
        }
        Ok((off, After { stay, roll, floor }))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: ", self.seed)?;
        match &self.verdict {
            Ok(kept) => write!(
                f,
                "{} acknowledged, {} found, {} of them unacknowledged, {} given up",
                kept.acknowledged, kept.found, kept.beyond, kept.given_up
            )?,
            Err(broken) => write!(f, "LOST: {broken}")?,
        }
        let (prepared, restart) = (self.prepared, self.restart.as_secs_f64());
        write!(
            f,
            "; {prepared} prepared; restart {restart:.2} s; {}",
            self.history
        )
    }
}
