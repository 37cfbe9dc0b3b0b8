//! Writers at work: each writes into the book what was acknowledged to it before it goes on.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bank;
use super::book::Book;
use super::entry::{Commit, Entry};
use super::transaction::{TABLE, Work};
use crate::budget;
use crate::sql::Session;
use crate::until::within;

/// Writers at work; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Writers {
    book: Arc<Book>,
    round: u64,
    told: watch::Sender<u64>,
    writing: JoinSet<Result<anyhow::Error>>,
}

impl Writers {
    /// None yet.
    pub(crate) fn new(book: Arc<Book>, round: u64) -> Self {
        Self {
            book,
            round,
            told: watch::Sender::new(0),
            writing: JoinSet::new(),
        }
    }

    /// Makes what they write into.
    pub(crate) async fn prepare(session: &Session) -> Result<()> {
        session.sql(TABLE).await?;
        bank::open(session).await
    }

    /// One more; answers how many were acknowledged to it.
    pub(crate) fn begin(
        &mut self,
        session: Session,
        writer: usize,
        work: Work,
    ) -> watch::Receiver<i64> {
        let first = Commit {
            round: self.round,
            writer,
            nth: 1,
        };
        let (book, told) = (Arc::clone(&self.book), self.told.clone());
        let (own, acknowledged) = watch::channel(0);
        let told = Told { all: told, own };
        self.writing.spawn(write(session, work, first, book, told));
        acknowledged
    }

    /// How many commits were acknowledged to all of them together.
    pub(crate) fn so_far(&self) -> u64 {
        *self.told.borrow()
    }

    /// Waits until that many were.
    pub(crate) async fn reach(&mut self, commits: u64) -> Result<()> {
        let mut acknowledged = self.told.subscribe();
        let reached = async {
            let ended = async {
                while let Some(end) = self.writing.join_next().await {
                    let why = end??;
                    if let Some(why) = unexpected(why) {
                        return Err(why);
                    }
                }
                Err(anyhow!("there are no writers any more"))
            };
            tokio::select! {
                reached = acknowledged.wait_for(|so_far| *so_far >= commits) => Ok(reached.map(drop)?),
                ended = ended => ended,
            }
        };
        let awaited = format!("{commits} commits");
        within(budget::STORY, &awaited, reached)
            .await?
            .with_context(|| format!("the writers ended before {awaited}"))
    }

    /// Waits until every connection is gone, and with it the last that may be acknowledged; answers how the
    /// last one ended.
    pub(crate) async fn cut_off(mut self) -> Result<Option<anyhow::Error>> {
        let mut last = None;
        while let Some(ended) =
            within(budget::ENDS, "the writers end", self.writing.join_next()).await?
        {
            // How a connection ends is all the same, unless it is the ledger that failed.
            last = Some(ended??);
        }
        Ok(last)
    }

    /// Waits until they have ended by themselves, however long that takes.
    pub(crate) async fn end(&mut self) -> Result<Option<anyhow::Error>> {
        let mut last = None;
        while let Some(ended) = self.writing.join_next().await {
            last = Some(ended??);
        }
        Ok(last)
    }
}

/// Who hears that something was acknowledged.
struct Told {
    all: watch::Sender<u64>,
    own: watch::Sender<i64>,
}

/// What a writer ends with that has done all that there was to do.
#[derive(Debug, thiserror::Error)]
#[error("there was no more to do")]
struct Done;

fn unexpected(why: anyhow::Error) -> Option<anyhow::Error> {
    (!why.is::<Done>()).then_some(why)
}

/// One transaction after the other, until there is no answer; answers what came instead.
async fn write(
    session: Session,
    work: Work,
    first: Commit,
    book: Arc<Book>,
    told: Told,
) -> Result<anyhow::Error> {
    for nth in first.nth.. {
        let commit = Commit { nth, ..first };
        let Some(transaction) = work.transaction(commit) else {
            break;
        };
        let after = book.entries().await;
        if let Err(end) = session.sql(&transaction.sql(commit)).await {
            return Ok(end);
        }
        let rows = transaction.rows;
        book.acknowledged(Entry {
            commit,
            rows,
            after,
        })
        .await?;
        told.own.send_replace(nth);
        told.all.send_modify(|so_far| *so_far += 1);
    }
    Ok(Done.into())
}
