//! The writers of a round at work.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::book::Book;
use super::entry::{Commit, Entry};
use super::history::{History, Writer};
use crate::budget;
use crate::sql::Session;
use crate::until::within;
use crate::vm::Vm;

/// Where the writers write. The second index sends each row to a page of its own choosing, so that pages
/// which are on the disk already are changed again.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS commits (
        round bigint, writer int, nth bigint, part bigint, token uuid DEFAULT gen_random_uuid(),
        PRIMARY KEY (round, writer, nth, part));
    CREATE INDEX IF NOT EXISTS commits_token ON commits (token)";

/// Writers at work; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    acknowledged: watch::Receiver<u64>,
    writers: JoinSet<Result<anyhow::Error>>,
}

impl Load {
    pub(super) async fn begin(
        vm: &Vm,
        round: u64,
        history: &History,
        book: &Arc<Book>,
    ) -> Result<Self> {
        vm.sql(TABLE).await?;
        let (told, acknowledged) = watch::channel(0);
        let mut writers = JoinSet::new();
        for (number, writer) in history.writers.iter().enumerate() {
            let session = vm.session(writer.door).await?;
            let first = Commit {
                round,
                writer: number,
                nth: 1,
            };
            writers.spawn(write(
                session,
                *writer,
                first,
                Arc::clone(book),
                told.clone(),
            ));
        }
        Ok(Self {
            acknowledged,
            writers,
        })
    }

    /// Waits until that many commits were acknowledged to all of them together.
    pub(super) async fn reaches(&mut self, commits: u64) -> Result<()> {
        let awaited = format!("{commits} commits");
        let reached = self.acknowledged.wait_for(|so_far| *so_far >= commits);
        let reached = within(budget::STORY, awaited, reached).await?;
        if reached.is_ok() {
            return Ok(());
        }
        let why = self.writers.join_next().await;
        Err(match why.context("there are no writers")?? {
            Ok(why) | Err(why) => {
                why.context(format!("the writers ended before {commits} commits"))
            }
        })
    }

    /// Waits until every connection is gone, and with it the last that may be acknowledged.
    pub(super) async fn cut_off(mut self) -> Result<()> {
        while let Some(ended) =
            within(budget::ENDS, "the writers end", self.writers.join_next()).await?
        {
            // How a connection ends when the power goes is all the same, unless it is the ledger that failed.
            ended?.map(drop)?;
        }
        Ok(())
    }
}

/// One transaction after the other, until there is no answer; answers what came instead.
async fn write(
    session: Session,
    writer: Writer,
    first: Commit,
    book: Arc<Book>,
    told: watch::Sender<u64>,
) -> Result<anyhow::Error> {
    for nth in first.nth.. {
        let transaction = writer.transaction(nth);
        let commit = Commit { nth, ..first };
        if let Err(end) = session.sql(&transaction.sql(commit)).await {
            return Ok(end);
        }
        let rows = transaction.rows;
        book.acknowledged(Entry { commit, rows }).await?;
        told.send_modify(|so_far| *so_far += 1);
    }
    Ok(anyhow!("writer {} ran out of numbers", first.writer))
}
