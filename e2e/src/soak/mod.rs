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

use std::pin::Pin;
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
use verdict::Kept;

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
    interrupted: Pin<&mut dyn Future<Output = ()>>,
) -> Result<Ended, Failed> {
    let mut ended = Ended::Kept;
    scenario(async |world| {
        let name = format!("{}-{}.ledger", soak.seed, std::process::id());
        let book = Book::begin(&keep::root().join("power-cuts").join(name)).await?;
        let book = Arc::new(book);
        let mut played = Played::default();
        let outcome = tokio::select! {
            outcome = soak.play(&book, world, &mut played) => outcome,
            () = interrupted => {
                ended = Ended::Interrupted;
                Ok(())
            }
        };
        println!("{}", played.summary(outcome.is_err()));
        let outcome = outcome.and(played.verdict());
        match outcome {
            Ok(()) => book.remove().await,
            Err(error) => {
                let kept = format!("the ledger is kept: {}", book.path().display());
                Err(error.context(kept))
            }
        }
    })
    .await?;
    Ok(ended)
}

impl Soak {
    async fn play(&self, book: &Arc<Book>, world: &World, played: &mut Played) -> Result<()> {
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
            let (booted, round) = outcome
                .with_context(|| format!("round {number} seed {seed} failed; {}", again(seed)))?;
            vm = booted;
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
                checked.with_context(|| {
                    format!(
                        "the check after round {number} seed {seed}; {}",
                        again(seed)
                    )
                })?;
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
            "round {number} seed {seed} lost what was acknowledged; {}",
            again(*seed)
        );
    }

    /// Of a run that was played to its end, or not.
    fn summary(&self, cut_short: bool) -> String {
        let kept: Vec<_> = self
            .rounds
            .iter()
            .filter_map(|it| it.verdict.as_ref().ok())
            .collect();
        let sum = |of: fn(&Kept) -> usize| kept.iter().map(|kept| of(kept)).sum::<usize>();
        let verdict = match (self.broken().count(), cut_short) {
            (0, false) => "every acknowledged commit is there, whole and once".to_owned(),
            (0, true) => "and one that FAILED".to_owned(),
            (broken, _) => format!("{broken} LOST acknowledged commits"),
        };
        let restarts = self.rounds.iter().map(|round| round.restart).collect();
        format!(
            "{} rounds: {verdict}; in {} that kept them: {} acknowledged, {} found, \
             {} of them unacknowledged; median restart to the first answered query {:.2} s, median round {:.1} s",
            self.rounds.len(),
            kept.len(),
            sum(|kept| kept.acknowledged),
            sum(|kept| kept.found),
            sum(|kept| kept.beyond),
            median(restarts),
            median(self.took.clone()),
        )
    }
}

/// How to play a round once more, on a new machine.
fn again(seed: u64) -> String {
    format!("again: cargo run -p e2e --bin power-cuts -- --seed {seed} --rounds 1")
}

/// In seconds; 0 of nothing.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}
