//! Accounts beside the ledger, whose sum never changes: each commit of a writer moves money from one to another.

use anyhow::Result;

use crate::sql::Session;

/// How many accounts there are.
pub(crate) const ACCOUNTS: usize = 64;

/// What is in each at first.
const OPENING: i64 = 1000;

/// Money that a commit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) debit: usize,
    pub(crate) credit: usize,
    pub(crate) amount: usize,
}

/// What is wrong with the bank; nothing of all if it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Books {
    /// What there is too much (or too little) of.
    pub(crate) surplus: i64,
    /// Accounts that do not have what the transfers that are there brought them.
    pub(crate) wrong_accounts: i64,
}

impl Transfer {
    /// In the order of the accounts, so that no two writers wait for each other.
    pub(super) fn sql(self) -> String {
        let Self {
            debit,
            credit,
            amount,
        } = self;
        let update = |account: usize, sign: char| {
            format!(
                "UPDATE ledger_accounts SET balance = balance {sign} {amount} WHERE n = {account}; "
            )
        };
        let (take, give) = (update(debit, '-'), update(credit, '+'));
        if debit < credit {
            take + give.as_str()
        } else {
            give + take.as_str()
        }
    }
}

/// Opens the accounts that are missing.
pub(crate) async fn open(session: &Session) -> Result<()> {
    session
        .sql(&format!(
            "CREATE TABLE IF NOT EXISTS ledger_accounts (n int PRIMARY KEY, opening bigint, balance bigint);
             INSERT INTO ledger_accounts SELECT n, {OPENING}, {OPENING} FROM generate_series(0, {ACCOUNTS} - 1) n
                 ON CONFLICT DO NOTHING"
        ))
        .await
}

/// From now on the transfers that there are now count no more: for whoever deletes them, while nobody writes.
pub(crate) const CLOSE_BOOKS: &str = "UPDATE ledger_accounts SET opening = balance";

/// Holds the accounts against the transfers of one round, or of all that there ever were.
pub(crate) async fn audit(session: &Session, round: Option<u64>) -> Result<Books> {
    let which = round.map_or("true".to_owned(), |round| format!("round = {round}"));
    let surplus = format!(
        "SELECT (coalesce(sum(balance), 0) - {OPENING} * {ACCOUNTS})::bigint FROM ledger_accounts"
    );
    let wrong = format!(
        "WITH moved AS (
             SELECT debit AS n, -amount AS amount FROM ledger_commits WHERE {which}
             UNION ALL SELECT credit, amount FROM ledger_commits WHERE {which}),
         net AS (SELECT n, sum(amount) AS amount FROM moved GROUP BY n)
         SELECT count(*) FROM ledger_accounts LEFT JOIN net USING (n)
         WHERE balance <> opening + coalesce(amount, 0)"
    );
    Ok(Books {
        surplus: session.ask(&surplus).await?,
        wrong_accounts: session.ask(&wrong).await?,
    })
}
