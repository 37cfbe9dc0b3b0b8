//! Machines that are asked to stop.

use anyhow::ensure;
use e2e::{Door, Outcome, Stopped, scenario};

/// Under load, a stop ends in time, keeps what was acknowledged, and leaves nothing to replay.
#[tokio::test]
async fn a_stop_under_load_is_clean_and_the_next_boot_replays_nothing() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let load = world.pgbench(&db, Door::Pooled).await?;
        let db = db.stop().await?;
        let committed = load.given_up().await?;
        ensure!(committed > 0, "pgbench committed nothing before the stop");

        let db = boots_without_recovery(db).await?;
        let rows: i64 = db.ask("SELECT count(*) FROM pgbench_history").await?;
        ensure!(
            (committed..=committed + 4).contains(&rows),
            "{committed} committed, {rows} there"
        );
        Ok(())
    })
    .await
}

/// A transaction that nobody ends does not keep a machine from stopping in time; it never happened.
#[tokio::test]
async fn a_stop_does_not_wait_for_ever_for_an_open_transaction() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
            .await?;
        let idle = db.session(Door::Direct).await?;
        idle.sql("BEGIN; INSERT INTO t VALUES (2)").await?;
        let pooled = db.session(Door::Pooled).await?;
        pooled.sql("BEGIN; INSERT INTO t VALUES (3)").await?;

        let db = db.stop().await?;
        ensure!(idle.sql("COMMIT").await.is_err() && pooled.sql("COMMIT").await.is_err());

        let db = boots_without_recovery(db).await?;
        ensure!(db.ask::<i32>("SELECT max(n) FROM t").await? == 1);
        Ok(())
    })
    .await
}

/// In the words of the machine that stopped, of the one that boots, and of Postgres.
async fn boots_without_recovery(stopped: Stopped) -> anyhow::Result<e2e::Vm> {
    stopped
        .must_have_said("stopped: the next boot replays no WAL")
        .await?;
    let db = stopped.boot().await?;
    let record = db.boot_record().await?;
    ensure!(
        record.wal.clean && record.wal.replayed_bytes == 0,
        "{record:?}"
    );
    db.expect_log("database system was shut down at").await?;
    let log = db.log().await?;
    ensure!(
        !log.iter().any(|line| line.contains("automatic recovery")),
        "{}",
        log.join("\n")
    );
    Ok(db)
}

/// What a machine and its servers say at the very end still reaches the host.
#[tokio::test]
async fn the_last_words_of_a_machine_reach_its_host() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?.stop().await?;
        let received = db.received().await?;
        for words in [
            "database system is shut down",
            "stopped: the next boot replays no WAL",
        ] {
            let heard = received.iter().any(|kept| kept.line.line.contains(words));
            ensure!(heard, "the host never heard: {words}");
        }
        Ok(())
    })
    .await
}
