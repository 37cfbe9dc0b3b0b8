//! The ledger against any Postgres: `write` until the connections end, do to the database what you like, `check`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::Config;

use super::book::{self, Book};
use super::entry::Commit;
use super::found;
use super::transaction::{Size, Work};
use super::verdict::verdict;
use super::writers::Writers;
use crate::sql::Session;

/// What writers do by hand. CHECKPOINT is not everybody's to ask for.
const WORK: Work = Work::Stream {
    size: Size::Mixed,
    checkpoints: false,
};

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Every acknowledged commit is there, whole and once.
    Whole(String),
    /// Something is not.
    Lost(String),
}

/// Commits until every connection has ended, or somebody asks it to end, or that many were acknowledged; answers
/// what it did, in words.
pub async fn write(
    url: &str,
    path: &Path,
    writers: usize,
    commits: Option<u64>,
    interrupted: impl Future<Output = ()>,
) -> Result<String> {
    let config = read(url)?;
    let book = Arc::new(Book::open(path).await?);
    let session = Session::of(&config).await?;
    Writers::prepare(&session).await?;
    let last: i64 = session
        .ask("SELECT coalesce(max(round), 0) FROM ledger_commits")
        .await?;
    let of_book = book::read(path).await?;
    let of_book = of_book.iter().map(|entry| entry.commit.round).max();
    let round = of_book.unwrap_or(0).max(u64::try_from(last)?) + 1;
    let mut at_work = Writers::new(Arc::clone(&book), round);
    for writer in 0..writers {
        drop(at_work.begin(Session::of(&config).await?, writer, WORK));
    }
    let why = match commits {
        Some(commits) => tokio::select! {
            reached = at_work.reach(commits) => reached.err().map_or("that many were asked for".to_owned(), |e| format!("{e:#}")),
            () = interrupted => "somebody asked it to end".to_owned(),
        },
        None => tokio::select! {
            end = at_work.end() => end?.map_or("there were no writers".to_owned(), |e| format!("the last writer says: {}", e.root_cause())),
            () = interrupted => "somebody asked it to end".to_owned(),
        },
    };
    Ok(format!(
        "{} commits acknowledged to {writers} writers in round {round}, in {}; ended: {why}",
        at_work.so_far(),
        path.display()
    ))
}

/// Holds a database against a ledger.
pub async fn check(url: &str, path: &Path) -> Result<Checked> {
    let acknowledged = book::read(path).await?;
    ensure!(
        !acknowledged.is_empty(),
        "the ledger {} is empty: nothing was promised; write one first",
        path.display()
    );
    let session = Session::of(&read(url)?).await?;
    let mut found = found::look(&session, None).await?;
    let rounds: Vec<_> = acknowledged.iter().map(|it| it.commit.round).collect();
    // Another ledger may have been written into the same database.
    found
        .commits
        .retain(|entry| rounds.contains(&entry.commit.round));
    let rows_of = |commit: Commit| WORK.transaction(commit).map(|it| it.rows);
    Ok(
        match verdict(&acknowledged, acknowledged.len(), rows_of, &found) {
            Ok(kept) => Checked::Whole(format!(
                "whole: {} commits were acknowledged and are there, each once, with all of their rows; {} more are there \
             whose answer was under way; {} rows; the bank's sum is what it was",
                kept.acknowledged, kept.beyond, kept.rows
            )),
            Err(broken) => Checked::Lost(format!("LOST: {broken}")),
        },
    )
}

fn read(url: &str) -> Result<Config> {
    // Without the address: it may have a password in it.
    url.parse()
        .context("reading the address of the database: it is not postgres://user:password@host:port/database")
}
