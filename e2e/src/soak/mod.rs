//! Power cuts, one after the other, on one machine under load: for hours rather than for a gate.
//! `cargo run -p e2e --bin power-cuts` is the way in, `docs/testing.md` has the rest.
//!
//! ```text
//! seed ─► history ─► load ─► power cut ─► start ─► what is there ─┐
//!            │         └─► book, outside of the machine ──────────┼─► verdict
//!            └────────────────────────────────────────────────────┘
//! ```

mod book;
mod entry;
mod history;
mod load;
mod round;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::keep;
use crate::scenario::{Failed, scenario};
use crate::sql::Door;
use crate::stopwatch::Stopwatch;
use crate::world::World;
use book::Book;
use round::{Left, Round};

/// Every so many rounds, and after the last one, all of the database is looked at.
const CHECKED_EVERY: u64 = 20;

/// What to play.
#[derive(Debug, Clone)]
pub struct Soak {
    /// How many rounds.
    pub rounds: u64,
    /// The first round's seed; each has the next one.
    pub seed: u64,
    /// Whether a round that lost something ends the run.
    pub keep_going: bool,
    /// The server acknowledges what is not on its disk: a run that must fail.
    pub fsync_off: bool,
}

/// How a run that lost nothing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All rounds were played.
    Kept,
    /// Somebody asked it to end.
    Interrupted,
}

/// What has been played so far.
#[derive(Debug, Default)]
struct Played {
    rounds: Vec<Round>,
    took: Vec<Duration>,
}

/// Plays the rounds, and prints a line for each; takes everything away, also when it is interrupted.
pub async fn power_cuts(
    soak: Soak,
    interrupted: impl Future<Output = ()>,
) -> Result<Ended, Failed> {
    let mut ended = Ended::Kept;
    scenario(async |world| {
        let mut played = Played::default();
        let outcome = tokio::select! {
            outcome = soak.play(world, &mut played) => outcome,
            () = interrupted => {
                ended = Ended::Interrupted;
                Ok(())
            }
        };
        println!("{}", played.summary());
        outcome.and(played.verdict())
    })
    .await?;
    Ok(ended)
}

impl Soak {
    async fn play(&self, world: &World, played: &mut Played) -> Result<()> {
        let name = format!("{}-{}.ledger", self.seed, std::process::id());
        let book = Book::begin(&keep::root().join("power-cuts").join(name)).await?;
        let book = Arc::new(book);
        let outcome = self.play_with(&book, world, played).await;
        if outcome.is_ok() && played.verdict().is_ok() {
            book.remove().await?;
            return Ok(());
        }
        outcome.with_context(|| format!("the ledger is kept: {}", book.path().display()))
    }

    async fn play_with(&self, book: &Arc<Book>, world: &World, played: &mut Played) -> Result<()> {
        let mut vm = world.vm("db").on_block_volume().boot().await?;
        if self.fsync_off {
            let session = vm.session(Door::Direct).await?;
            session.sql("ALTER SYSTEM SET fsync = off").await?;
            session.sql("SELECT pg_reload_conf()").await?;
        }
        let mut before = None;
        for nth in 0..self.rounds {
            let number = nth + 1;
            let seed = self.seed.wrapping_add(nth);
            let watch = Stopwatch::start();
            let outcome = round::play(vm, number, seed, before, book).await;
            let (again, round) = outcome.with_context(|| format!("round {number} seed {seed}"))?;
            vm = again;
            println!("{round}; round {:.1} s", watch.elapsed().as_secs_f64());
            played.took.push(watch.elapsed());
            let kept = round.verdict.as_ref().ok();
            before = kept.map(|kept| Left {
                round: number,
                rows: kept.rows,
            });
            played.rounds.push(round);
            if before.is_none() && !self.keep_going {
                return Ok(());
            }
            if number.is_multiple_of(CHECKED_EVERY) || number == self.rounds {
                let checked = vm.is_intact().await;
                checked.with_context(|| format!("the check after round {number} seed {seed}"))?;
                let took = watch
                    .elapsed()
                    .saturating_sub(played.took[played.took.len() - 1]);
                println!(
                    "pg_amcheck and pg_dumpall: intact; {:.1} s",
                    took.as_secs_f64()
                );
            }
        }
        Ok(())
    }
}

impl Played {
    fn broken(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(|round| round.verdict.is_err())
    }

    /// The first round that lost something, and how to play it again.
    fn verdict(&self) -> Result<()> {
        let Some(Round { number, seed, .. }) = self.broken().next() else {
            return Ok(());
        };
        bail!(
            "round {number} seed {seed} lost what was acknowledged; again: \
             cargo run -p e2e --bin power-cuts -- --seed {seed} --rounds 1"
        );
    }

    fn summary(&self) -> String {
        let kept = self
            .rounds
            .iter()
            .filter_map(|round| round.verdict.as_ref().ok());
        let (mut acknowledged, mut found, mut beyond) = (0, 0, 0);
        for round in kept {
            acknowledged += round.acknowledged;
            found += round.found;
            beyond += round.beyond;
        }
        let broken = self.broken().count();
        let verdict = match broken {
            0 => "every acknowledged commit is there, whole and once".to_owned(),
            _ => format!("{broken} rounds LOST acknowledged commits"),
        };
        let restarts = self.rounds.iter().map(|round| round.restart).collect();
        format!(
            "{} rounds: {verdict}; in the others {acknowledged} acknowledged, {found} found, \
             {beyond} of them unacknowledged; median restart to the first answered query {:.2} s, \
             median round {:.1} s",
            self.rounds.len(),
            median(restarts),
            median(self.took.clone()),
        )
    }
}

/// In seconds; 0 of nothing.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}
