//! The ledger by hand, as its binary keeps it: `docs/testing.md`.

use std::future::pending;

use anyhow::{Result, ensure};
use e2e::ledger::by_hand::{Checked, check, write};
use e2e::{Door, Outcome, Vm, scenario};

/// Four writers, a torn last line, a second run on the same file; then a row, a whole commit and money go, and each
/// is told.
#[tokio::test]
async fn a_ledger_by_hand_tells_what_is_gone() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ledger");
        let url = db.url(Door::Direct);
        for writers in [4, 2] {
            let said = write(&url, &file, writers, Some(60), pending()).await?;
            ensure!(said.contains("that many were asked for"), "{said}");
            let mut torn = tokio::fs::read(&file).await?;
            torn.extend_from_slice(b"1 0 99");
            tokio::fs::write(&file, torn).await?;
            let Checked::Whole(_) = check(&url, &file).await? else {
                anyhow::bail!("nothing is gone");
            };
        }
        let says = async |change: &str, words: &str| told(&db, &file, change, words).await;
        let of_commit = "round = 2 AND writer = 1 AND nth = 3";
        says(
            "UPDATE ledger_accounts SET balance = balance + 7 WHERE n = 3",
            "the bank has 7 too much",
        )
        .await?;
        says(
            &format!("DELETE FROM ledger_commits WHERE {of_commit} AND part = 1"),
            "commit 3 of writer 1 in round 2",
        )
        .await?;
        says(
            &format!("DELETE FROM ledger_commits WHERE {of_commit}"),
            "1 are gone (commit 3 of writer 1 in round 2)",
        )
        .await?;
        let nowhere = check("postgres://nobody@127.0.0.1:1/nothing", &file).await;
        ensure!(nowhere.is_err(), "nobody can know");
        Ok(())
    })
    .await
}

async fn told(db: &Vm, file: &std::path::Path, change: &str, words: &str) -> Result<()> {
    db.sql(change).await?;
    match check(&db.url(Door::Direct), file).await? {
        Checked::Lost(said) if said.contains(words) => Ok(()),
        other => anyhow::bail!("{change}: {other:?}"),
    }
}
