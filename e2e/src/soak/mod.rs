//! Histories at random, one after the other: load, trouble, the loss of a host or of the power, and the verdict;
//! for hours rather than for a gate. `cargo run -p e2e --bin soak` is the way in, `docs/testing.md` has the rest.
//!
//! ```text
//! seed ─► history ─► load ─► end ─► start ─► what is there ─┐
//!                     └─► book, outside of the machine ─────┼─► verdict ─ lost ─► shrinker ─► shorter history
//!                     └─► who does what ────────────────────┘
//! ```

mod draw;
mod history;
mod played;
mod round;
mod shrink;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;

use crate::keep;
use crate::ledger::book::Book;
use crate::scenario::{Failed, scenario};
use crate::stopwatch::Stopwatch;
use crate::world::World;
use history::{History, Kind};
use played::Played;
use round::Round;
use shrink::Shrinker;
use stage::Cast;

/// Every so many rounds of a machine all of the database is looked at.
const CHECKED_EVERY: usize = 20;

/// How rounds end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ends {
    /// One in four with a power cut, the others with the loss of the host.
    Any,
    /// Always with the loss of the host.
    LoseHost,
    /// Always with a power cut, and without sinks.
    PowerCut,
}

/// A promise that the machines break on purpose: such a run must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Break {
    /// Nothing reaches the disk in time.
    FsyncOff,
    /// A commit is acknowledged before it is anywhere.
    SynchronousCommitOff,
    /// A commit is acknowledged before it is in the sink.
    SynchronousCommitLocal,
}

/// What to play.
#[derive(Debug, Clone)]
pub struct Soak {
    /// How many rounds.
    pub rounds: u64,
    /// The first round's seed; each has the next one.
    pub seed: u64,
    /// How they end.
    pub ends: Ends,
    /// Not drawn, but this.
    pub history: Option<String>,
    /// Go on after a round that lost something.
    pub keep_going: bool,
    /// Whether the shortest history that fails is looked for.
    pub shrink: bool,
    /// What to break.
    pub breaks: Option<Break>,
    /// Where finished rounds are written down; those that are there already are passed over.
    pub resume: Option<PathBuf>,
}

/// How a run that lost nothing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All rounds were played.
    Kept,
    /// Somebody asked it to end.
    Interrupted,
}

/// Turns true when somebody asks a run to end.
pub type Interrupted = watch::Receiver<bool>;

impl Break {
    const fn setting(self) -> &'static str {
        match self {
            Self::FsyncOff => "fsync = off",
            Self::SynchronousCommitOff => "synchronous_commit = off",
            Self::SynchronousCommitLocal => "synchronous_commit = local",
        }
    }
}

impl Soak {
    /// Plays the rounds and prints a line for each; takes everything away, also when it is interrupted.
    pub async fn play(self, interrupted: &Interrupted) -> Result<Ended, Failed> {
        let mut played = Played::begin(&self).map_err(Failed::from)?;
        let mut todo = self.todo(&played).map_err(Failed::from)?;
        todo.reverse();
        let mut first_failure = None;
        while let Some((seed, history)) = todo.last().cloned() {
            let outcome = self.in_a_world(&mut todo, &mut played, interrupted).await;
            if *interrupted.borrow() {
                println!("{}", played.summary());
                return Ok(Ended::Interrupted);
            }
            let Err(failed) = outcome else { break };
            let (seed, history) = todo.pop().unwrap_or((seed, history));
            println!("seed {seed} FAILED: {failed:?}");
            played.failed(seed, &history).map_err(Failed::from)?;
            if self.shrink {
                self.shrink(seed, history, interrupted).await?;
            }
            first_failure.get_or_insert(failed);
            if !self.keep_going {
                break;
            }
        }
        println!("{}", played.summary());
        first_failure.map_or(Ok(Ended::Kept), Err)
    }

    /// The rounds that are to be played.
    fn todo(&self, played: &Played) -> Result<Vec<(u64, History)>> {
        let mut todo = Vec::new();
        for nth in 0..self.rounds {
            let seed = self.seed + nth;
            let history = match &self.history {
                Some(history) => history.parse()?,
                None => draw::drawn(seed, self.ends),
            };
            if !played.was_kept(seed, &history) {
                todo.push((seed, history));
            }
        }
        Ok(todo)
    }

    /// Until one fails, or somebody asks it to end; what is left to do is then still there, the one that failed
    /// last.
    async fn in_a_world(
        &self,
        todo: &mut Vec<(u64, History)>,
        played: &mut Played,
        interrupted: &Interrupted,
    ) -> Result<(), Failed> {
        let mut interrupted = interrupted.clone();
        scenario(async |world| {
            let mut casts = BTreeMap::new();
            let playing = async {
                while let Some((seed, history)) = todo.last() {
                    let last = todo.len() == 1;
                    let watch = Stopwatch::start();
                    let round = self.round(world, &mut casts, *seed, history, last).await?;
                    println!("{round}; round {:.1} s", watch.elapsed().as_secs_f64());
                    if let Err(broken) = &round.verdict {
                        return Err(anyhow!("{broken}"));
                    }
                    played.kept(&round, history, watch.elapsed())?;
                    todo.pop();
                }
                Ok(())
            };
            tokio::select! {
                played = playing => played,
                _asked = interrupted.wait_for(|asked| *asked) => Ok(()),
            }
        })
        .await
    }

    async fn round(
        &self,
        world: &World,
        casts: &mut BTreeMap<Kind, (Cast, usize)>,
        seed: u64,
        history: &History,
        last: bool,
    ) -> Result<Round> {
        let (cast, rounds) = match casts.remove(&history.kind) {
            Some(there) => there,
            None => (Cast::enter(world, history.kind, self.breaks).await?, 0),
        };
        let path = fresh_ledger(seed);
        let book = Arc::new(Book::open(&path).await?);
        let played = round::play(world, cast, seed, history, &book).await;
        let kept = || format!("{history}; the ledger is kept: {}", path.display());
        let (cast, round) = played.with_context(kept)?;
        if round.verdict.is_ok() {
            book.remove().await?;
        }
        let rounds = rounds + 1;
        if last || rounds.is_multiple_of(CHECKED_EVERY) {
            let watch = Stopwatch::start();
            cast.vm.is_intact().await.context("the check after it")?;
            let took = watch.elapsed().as_secs_f64();
            println!("pg_amcheck and pg_dumpall: intact; {took:.1} s");
        }
        casts.insert(history.kind, (cast, rounds));
        Ok(round)
    }

    /// Prints the shortest history that still fails, each tried on new machines.
    async fn shrink(
        &self,
        seed: u64,
        history: History,
        interrupted: &Interrupted,
    ) -> Result<(), Failed> {
        println!("shrinking, each try on new machines: {history}");
        if !self.fails(seed, &history, interrupted).await? {
            println!(
                "by itself, on new machines, it does not fail: what came before it may matter"
            );
            println!("again: {}", self.again(seed, None));
            return Ok(());
        }
        let mut shrinker = Shrinker::of(history);
        while let Some(candidate) = shrinker.candidate() {
            if *interrupted.borrow() {
                break;
            }
            let failed = self.fails(seed, &candidate, interrupted).await?;
            let verdict = if failed { "fails" } else { "does not fail" };
            println!("{verdict}: {candidate}");
            shrinker.told(candidate, failed);
        }
        let shortest = shrinker.shortest();
        println!("the shortest that fails: {shortest}");
        println!("again: {}", self.again(seed, Some(&shortest)));
        Ok(())
    }

    /// Whether one round by itself fails.
    async fn fails(
        &self,
        seed: u64,
        history: &History,
        interrupted: &Interrupted,
    ) -> Result<bool, Failed> {
        let mut todo = vec![(seed, history.clone())];
        let mut played = Played::of_a_try();
        let outcome = self.in_a_world(&mut todo, &mut played, interrupted).await;
        Ok(outcome.is_err())
    }

    /// How to play a round once more, on new machines.
    fn again(&self, seed: u64, history: Option<&History>) -> String {
        let breaks = self
            .breaks
            .map(|breaks| format!(" --break {}", word(&breaks)));
        let what = match history {
            Some(history) => format!("--history '{history}'"),
            None => format!("--ends {}", word(&self.ends)),
        };
        format!(
            "cargo run -p e2e --bin soak -- --seed {seed} --rounds 1{} {what}",
            breaks.unwrap_or_default()
        )
    }
}

/// A file that no round has written into: one that failed keeps its own, and is played again by the shrinker.
fn fresh_ledger(seed: u64) -> PathBuf {
    let process = std::process::id();
    let mut nth = 1;
    loop {
        let path = folder().join(format!("{seed}-{process}-{nth}.ledger"));
        if !path.exists() {
            return path;
        }
        nth += 1;
    }
}

/// As the command line has it.
fn word(value: &impl clap::ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Where a run leaves what has to outlive it.
fn folder() -> PathBuf {
    Path::new(&keep::root()).join("soak")
}
