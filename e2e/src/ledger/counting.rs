//! A writer that counts what was acknowledged to it.
//!
//! It inserts 1, 2, 3, … and adds each number to its count only once the COMMIT has come back.
//! Whatever happens to the machine afterwards, every number up to that count must be there, and at
//! most one more: the one whose answer was under way.

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::budget;
use crate::sql::Session;
use crate::until::within;
use crate::vm::Vm;

/// A writer at work.
#[derive(Debug)]
pub struct Ledger {
    acknowledged: watch::Receiver<i64>,
    writing: JoinHandle<()>,
}

/// What a writer had been promised at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    acknowledged: i64,
    /// Commits that may be there beyond that: the one whose answer was under way when the connection
    /// ended; any number when the writer went on.
    more: Option<i64>,
}

impl Ledger {
    pub(crate) async fn begin(session: Session) -> Result<Self> {
        session
            .sql("CREATE TABLE IF NOT EXISTS ledger (n bigint PRIMARY KEY)")
            .await?;
        let (told, acknowledged) = watch::channel(0);
        let writing = tokio::spawn(async move {
            for n in 1_i64.. {
                let insert = "INSERT INTO ledger VALUES ($1) RETURNING n";
                if session.ask_with::<i64>(insert, &[&n]).await.is_err() {
                    return;
                }
                told.send_replace(n);
            }
        });
        Ok(Self {
            acknowledged,
            writing,
        })
    }

    /// Waits until that many rows were acknowledged.
    pub async fn reaches(&mut self, rows: i64) -> Result<()> {
        let reached = self
            .acknowledged
            .wait_for(|acknowledged| *acknowledged >= rows);
        let reached = within(budget::SOON, format!("{rows} rows in the ledger"), reached).await?;
        reached
            .map(drop)
            .context("the ledger's connection ended too early")
    }

    /// What was promised up to now, while the writer goes on.
    pub fn so_far(&self) -> Promise {
        let acknowledged = *self.acknowledged.borrow();
        Promise {
            acknowledged,
            more: None,
        }
    }

    /// Waits until the connection is gone.
    pub async fn cut_off(self) -> Result<Promise> {
        within(budget::ENDS, "the ledger's connection ends", self.writing).await??;
        let acknowledged = *self.acknowledged.borrow();
        Ok(Promise {
            acknowledged,
            more: Some(1),
        })
    }
}

impl Promise {
    /// How many commits were acknowledged.
    pub fn rows(self) -> i64 {
        self.acknowledged
    }

    /// Looks whether a machine keeps it.
    pub async fn is_kept_by(self, vm: &Vm) -> Result<()> {
        let (rows, last) = counted(vm).await?;
        let Self { acknowledged, more } = self;
        ensure!(
            rows == last,
            "the ledger has gaps: {rows} rows, the last one is {last}"
        );
        ensure!(
            last >= acknowledged && more.is_none_or(|more| last <= acknowledged + more),
            "{acknowledged} commits were acknowledged, the ledger has {last}"
        );
        Ok(())
    }
}

/// How many rows there are, and the last one.
async fn counted(vm: &Vm) -> Result<(i64, i64)> {
    let rows = vm.ask("SELECT count(*) FROM ledger").await?;
    let last = vm.ask("SELECT coalesce(max(n), 0) FROM ledger").await?;
    Ok((rows, last))
}
