//! Volumes and settings that a machine must not start on, and does not.

use anyhow::{Result, ensure};
use e2e::disk::PGDATA;
use e2e::{Outcome, State, Stopped, scenario};

/// A volume of another major version is left exactly as it is; put right, it boots.
#[tokio::test]
async fn a_volume_that_is_not_ours_is_refused_and_left_alone() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let db = db.stop().await?;

        db.on_volume(&format!("echo 17 > {PGDATA}/PG_VERSION"))
            .await?;
        let db = refuses(db, "belongs to PostgreSQL 17; this image is PostgreSQL 18").await?;
        db.on_volume(&format!("echo 18 > {PGDATA}/PG_VERSION"))
            .await?;

        let db = db.boot().await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        Ok(())
    })
    .await
}

/// Starting ends with these words, in failure, and with every byte of the volume as it was.
async fn refuses(db: Stopped, words: &str) -> Result<Stopped> {
    let untouched = db.volume_bytes().await?;
    let db = db.start().await?.ended().await?;
    db.must_have_said(words).await?;
    let failed = State::Crashed {
        exit_code: 1,
        out_of_memory: false,
    };
    ensure!(db.state() == failed, "it refused and is {}", db.state());
    db.volume_bytes()
        .await?
        .must_equal(&untouched, "after a refusal")?;
    Ok(db)
}

/// Two postmasters on one volume destroy it, so the second machine does not start its own.
#[tokio::test]
async fn a_second_machine_on_one_volume_is_refused_and_the_first_unharmed() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let postmaster = db.postmaster().await?;

        let second = world
            .docker_run()?
            .env("POSTGRES_PASSWORD", "x")
            .volume_of(&db);
        let second = second.start().await?;
        second
            .expect_log("is held by another machine or process. Nothing was changed")
            .await?;
        ensure!(second.ended().await? == 1);

        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        ensure!(db.postmaster().await? == postmaster);
        db.must_have_an_empty_plan().await
    })
    .await
}
