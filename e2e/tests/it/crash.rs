//! Machines that go down without a word.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

/// What a client was told is committed is there after the machine was killed, twice in a row.
#[tokio::test]
async fn acknowledged_rows_outlive_a_crash_of_the_machine() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Pooled).await?;
        ledger.reaches(100).await?;
        let db = db.crash().await?;
        let promise = ledger.cut_off().await?;

        let db = db.start().await?.crash().await?.boot().await?;
        promise.is_kept_by(&db).await?;
        let record = db.boot_record().await?;
        ensure!(
            !record.wal.clean && record.wal.replayed_bytes > 0,
            "{record:?}"
        );
        Ok(())
    })
    .await
}
