//! What a database has of a ledger.

use anyhow::{Context as _, Result};

use super::bank::{self, Books};
use super::entry::{Commit, Entry};
use super::transaction::table_of;
use crate::sql::Session;

/// So that heaps are counted, whatever an index says.
const HEAPS_ALONE: &str =
    "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off";

/// What there is.
#[derive(Debug)]
pub(crate) struct Found {
    /// With how many rows each; what they were begun after is not known here.
    pub(crate) commits: Vec<Entry>,
    pub(crate) bank: Books,
}

/// Looks at one round, or at all that there are.
pub(crate) async fn look(session: &Session, round: Option<u64>) -> Result<Found> {
    session.sql(HEAPS_ALONE).await?;
    let absent =
        "SELECT to_regclass('ledger_commits') IS NULL OR to_regclass('ledger_accounts') IS NULL";
    if session.ask(absent).await? {
        // Made before the first commit: whatever was acknowledged is gone with it.
        let bank = Books {
            surplus: 0,
            wrong_accounts: 0,
        };
        return Ok(Found {
            commits: Vec::new(),
            bank,
        });
    }
    let which = round.map_or("true".to_owned(), |round| format!("round = {round}"));
    let query = format!(
        "SELECT format('%s %s %s %s 0', round, writer, nth, count(*)) FROM ledger_commits \
         WHERE {which} GROUP BY round, writer, nth"
    );
    let lines = session.list::<String>(&query).await?;
    let commits = lines.iter().map(|line| line.parse());
    let commits = commits
        .collect::<Result<_>>()
        .context("reading the table")?;
    let bank = bank::audit(session, round).await?;
    Ok(Found { commits, bank })
}

/// Commits what was left prepared in a round: acknowledged, it must be there to be committed; of one that was
/// not, either may be.
pub(crate) async fn commit_prepared(session: &Session, round: u64) -> Result<usize> {
    let query =
        format!("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'ledger\\_of\\_{round}\\_%'");
    let names = session.list::<String>(&query).await?;
    for name in &names {
        session.sql(&format!("COMMIT PREPARED '{name}'")).await?;
    }
    Ok(names.len())
}

/// Whether the table that a commit made is there, with all of its rows in its heap and its index.
pub(crate) async fn made_its_table(session: &Session, commit: Commit) -> Result<bool> {
    let table = table_of(commit);
    let there = format!("SELECT to_regclass('{table}') IS NOT NULL");
    if !session.ask::<bool>(&there).await? {
        return Ok(false);
    }
    let rows = format!("SELECT count(*) = 500 FROM {table}");
    let index = format!(
        "SELECT count(*) = 1 FROM pg_index WHERE indrelid = '{table}'::regclass AND indisvalid"
    );
    Ok(session.ask(&rows).await? && session.ask(&index).await?)
}
