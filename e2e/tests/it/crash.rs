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

/// A backend that is killed takes all of Postgres down, and PID 1 starts it again: whatever it does before a start is
/// done before every recovery.
#[tokio::test]
async fn a_backend_that_dies_is_recovered_from_by_pid_1() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let starts = db.restarts("Postgres").await?.len();
        let postmaster = db.postmaster().await?;
        let session = db.session(Door::Direct).await?;
        let backend: i32 = session.ask("SELECT pg_backend_pid()").await?;
        db.kill(backend.try_into()?).await?;
        let promise = ledger.cut_off().await?;
        db.is_back().await?;
        let now = (db.restarts("Postgres").await?.len(), db.postmaster().await?);
        ensure!(now.0 == starts + 1 && now.1 != postmaster, "{now:?}");
        promise.is_kept_by(&db).await
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
