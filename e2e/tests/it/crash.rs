//! Machines that go down without a word.

use anyhow::ensure;
use e2e::disk::PGDATA;
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

/// A checkpoint that was cut has written the file of a prepared transaction and not its own record: what was
/// acknowledged is there all the same. Postgres alone passes over it.
#[tokio::test]
async fn a_prepared_transaction_outlives_a_checkpoint_that_was_cut() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.user_conf("max_prepared_transactions = 4\n").await?;
        let db = db.restart().await?;
        db.sql("CREATE TABLE t (n int); CHECKPOINT").await?;
        db.shell(&format!("cp {PGDATA}/global/pg_control /var/lib/postgresql/control.before"))
            .await?;
        // Postgres finds the file of the very next transaction.
        db.sql("INSERT INTO t VALUES (1)").await?;
        db.session(Door::Direct)
            .await?
            .sql("BEGIN; INSERT INTO t VALUES (42); PREPARE TRANSACTION 'kept'")
            .await?;
        db.sql("CHECKPOINT").await?;
        let db = db.crash().await?;
        let files = db.on_volume(&format!("ls {PGDATA}/pg_twophase")).await?;
        ensure!(files.trim().len() == 16, "the checkpoint wrote {files:?}");
        db.on_volume(&format!(
            "cd /var/lib/postgresql; cat control.before > {PGDATA}/global/pg_control; rm control.before"
        ))
        .await?;

        let db = db.boot().await?;
        db.expect_log("is taken from the WAL").await?;
        db.sql("COMMIT PREPARED 'kept'").await?;
        ensure!(db.ask::<i32>("SELECT max(n) FROM t").await? == 42);
        Ok(())
    })
    .await
}
