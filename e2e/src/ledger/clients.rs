//! Clients of a machine: each commits one transaction after the other, and what was acknowledged to it stands in a
//! file outside of the database before it goes on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use super::book::{self, Book};
use super::entry::{Commit, Entry};
use super::found;
use super::transaction::{Size, Work};
use super::verdict::verdict;
use super::writers::Writers;
use crate::keep;
use crate::sql::Door;
use crate::vm::Vm;

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    ledger: Arc<Ledger>,
    writers: Writers,
    round: u64,
}

/// How much had been acknowledged at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl Mark {
    /// Nothing was.
    pub const NOTHING: Self = Self(0);
}

/// What was acknowledged to clients whose connections are gone.
#[derive(Debug)]
pub struct Acknowledged {
    ledger: Arc<Ledger>,
    entries: Vec<Entry>,
    round: u64,
}

/// A book that stays when a promise in it was broken.
#[derive(Debug)]
struct Ledger {
    book: Arc<Book>,
    broken: AtomicBool,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !self.broken.load(Ordering::Relaxed) {
            // Best effort: one that stays under `target` is in nobody's way.
            drop(std::fs::remove_file(self.book.path()));
        }
    }
}

/// What a machine has of it, in commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Whose success a client saw.
    pub acknowledged: usize,
    /// Of those and of the ones whose answer was under way when the connection ended.
    pub found: usize,
    /// Acknowledged and gone, as it was allowed.
    pub given_up: usize,
}

/// What the client of that number commits: a third of them one to three rows, a third hundreds, a third of both
/// kinds, some with a CHECKPOINT between their halves.
fn work_of(client: usize) -> Work {
    Work::Stream {
        size: Size::ALL[client % Size::ALL.len()],
        checkpoints: true,
    }
}

fn rows_of(commit: Commit) -> Option<i64> {
    let transaction = work_of(commit.writer).transaction(commit)?;
    Some(transaction.rows)
}

impl Vm {
    /// So many clients begin to commit, big transactions and tiny ones.
    pub async fn serves(&self, clients: usize, door: Door) -> Result<Clients> {
        let file = format!("{}.ledger", self.machine.container());
        let path = keep::root().join("ledgers").join(file);
        let ledger = Arc::new(Ledger {
            book: Arc::new(Book::open(&path).await?),
            broken: AtomicBool::new(false),
        });
        Clients::begin(ledger, 1, self, clients, door).await
    }
}

impl Clients {
    async fn begin(
        ledger: Arc<Ledger>,
        round: u64,
        vm: &Vm,
        clients: usize,
        door: Door,
    ) -> Result<Self> {
        Writers::prepare(&vm.session(Door::Direct).await?).await?;
        let mut writers = Writers::new(Arc::clone(&ledger.book), round);
        for client in 0..clients {
            drop(writers.begin(vm.session(door).await?, client, work_of(client)));
        }
        Ok(Self {
            ledger,
            writers,
            round,
        })
    }

    /// Waits until so many more commits were acknowledged.
    pub async fn commit(&mut self, more: u64) -> Result<()> {
        self.writers.reach(self.writers.so_far() + more).await
    }

    /// What is acknowledged by now.
    pub async fn mark(&self) -> Mark {
        Mark(self.ledger.book.entries().await)
    }

    /// Waits until every connection is gone.
    pub async fn cut_off(self) -> Result<Acknowledged> {
        let Self {
            ledger,
            writers,
            round,
        } = self;
        drop(writers.cut_off().await?);
        let entries = book::read(ledger.book.path()).await?;
        Ok(Acknowledged {
            ledger,
            entries,
            round,
        })
    }
}

impl Acknowledged {
    /// As many clients go on elsewhere, in the same ledger: what holds it in the end holds all of it.
    pub async fn go_on_at(self, vm: &Vm, clients: usize, door: Door) -> Result<Clients> {
        let Self { ledger, round, .. } = self;
        Clients::begin(ledger, round + 1, vm, clients, door).await
    }

    /// What there was at the end.
    pub fn all(&self) -> Mark {
        Mark(self.entries.len())
    }

    /// Looks whether a machine has every one of them, whole and once.
    pub async fn are_kept_by(&self, vm: &Vm) -> Result<Tally> {
        self.are_kept_up_to(self.all(), vm).await
    }

    /// Looks whether a machine has every one of them up to there, and of the rest everything up to some moment:
    /// what is gone is the end, and nobody has half of a commit.
    pub async fn are_kept_up_to(&self, mark: Mark, vm: &Vm) -> Result<Tally> {
        let found = found::look(&vm.session(Door::Direct).await?, None).await?;
        let kept = match verdict(&self.entries, mark.0, rows_of, &found) {
            Ok(kept) => kept,
            Err(broken) => {
                self.ledger.broken.store(true, Ordering::Relaxed);
                let file = self.ledger.book.path().display();
                bail!("on {}: {broken}; the ledger is kept: {file}", vm.name());
            }
        };
        let tally = Tally {
            acknowledged: kept.acknowledged,
            found: kept.found,
            given_up: kept.given_up,
        };
        eprintln!("on {}: {tally}", vm.name());
        Ok(tally)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            found,
            given_up,
        } = self;
        write!(
            f,
            "{acknowledged} commits acknowledged, {found} found, {given_up} given up"
        )
    }
}
