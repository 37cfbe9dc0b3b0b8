//! Servers that do not come up again by being started again.

use anyhow::ensure;
use e2e::disk::PGDATA;
use e2e::{Door, Outcome, scenario};

/// The pooler's file is the image's. Spoilt in a running machine it is put right before the pooler is
/// started with it, and that is said.
#[tokio::test]
async fn a_spoilt_pooler_configuration_is_put_right_before_the_next_start() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let untouched = db.booted_tree().await?;
        let direct = db.session(Door::Direct).await?;
        db.shell("echo 'no such = setting' >> /etc/pgbouncer/pgbouncer.ini")
            .await?;
        db.crash_pooler().await?;
        db.is_back().await?;

        db.expect_log("/etc/pgbouncer/pgbouncer.ini was changed since the boot")
            .await?;
        db.booted_tree()
            .await?
            .must_equal(&untouched, "put right")?;
        ensure!(direct.ask::<i32>("SELECT 1").await? == 1);
        db.is_well().await
    })
    .await
}

/// A pooler that cannot start, here because another process holds its port, is tried again and again;
/// health says so in its own last words, the direct door stays open, and when the cause is gone the
/// machine is ready again by itself.
#[tokio::test]
async fn a_pooler_that_cannot_start_is_told_of_and_comes_back_once_it_can() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let backend = db.session(Door::Direct).await?;
        let squatter = db.squat(Door::Pooled).await?;

        let health = db
            .complains_of(&["PgBouncer has ended", "its last words: "])
            .await?;
        ensure!(health.state == "restarting", "{health:?}");
        let said = health.degraded.join("\n");
        ensure!(said.contains("port") || said.contains("listen"), "{said}");
        ensure!(backend.ask::<i32>("SELECT 1").await? == 1);
        let fresh = db.session(Door::Direct).await?;
        ensure!(fresh.ask::<i32>("SELECT 1").await? == 1);

        db.kill(squatter).await?;
        db.is_back().await?;
        db.is_well().await
    })
    .await
}

/// A Postgres that dies at each start, for a reason that no configuration is to blame for, is started
/// ever more rarely. Health has its last words, and once the cause is gone it comes back by itself.
#[tokio::test]
async fn a_postgres_that_dies_at_each_start_is_told_of_and_comes_back_once_it_can() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let control = format!("{PGDATA}/global/pg_control");
        let postmaster = db.postmaster().await?;
        db.shell(&format!("chmod 000 {control} && kill -KILL {postmaster}"))
            .await?;
        let promise = ledger.cut_off().await?;

        let words = [
            "Postgres has ended",
            "global/pg_control",
            "Permission denied",
        ];
        let health = db.complains_of(&words).await?;
        ensure!(health.state == "restarting", "{health:?}");
        db.expect_log("Postgres is started again in 3200 ms")
            .await?;
        let waits = db.restarts("Postgres").await?;
        let doubled = waits.windows(2).all(|pair| pair[1] >= 2 * pair[0]);
        ensure!(doubled, "{waits:?}");
        // Each end is waited for but one, behind which another configuration is looked for.
        let log = db.log().await?;
        let ends = log
            .iter()
            .filter(|line| line.contains("Postgres ended by itself"));
        let ends = ends.count();
        ensure!(ends <= waits.len() + 1, "{ends} ends, {waits:?}");

        db.shell(&format!("chmod 600 {control}")).await?;
        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        db.is_well().await
    })
    .await
}
