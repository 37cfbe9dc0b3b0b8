//! What a machine is told, and what it does about it.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Door, MmdsTrouble, Outcome, State, scenario};

/// A new password holds from the next boot on, at both doors, and the old one no longer does.
#[tokio::test]
async fn a_rotated_password_works_after_a_restart_and_the_old_one_does_not() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").password("the old one").boot().await?;
        db.set_metadata("POSTGRES_PASSWORD", "the new one").await?;
        let db = db.restart().await?;
        for door in Door::ALL {
            db.lets_in(door, "the new one").await?;
            db.turns_away(door, "the old one").await?;
        }
        let changed = db.boot_record().await?.changed;
        ensure!(
            changed.iter().any(|what| what.contains("password")),
            "{changed:?}"
        );

        let db = db.restart().await?;
        db.lets_in(Door::Pooled, "the new one").await?;
        let changed = db.boot_record().await?.changed;
        ensure!(
            !changed.iter().any(|what| what.contains("password")),
            "{changed:?}"
        );
        Ok(())
    })
    .await
}

/// Settings that cannot be used are said, the volume is left alone, and once they are mended the
/// machine goes on by itself.
#[tokio::test]
async fn a_machine_waits_for_settings_that_it_can_use() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let db = db.stop().await?;
        let untouched = db.volume_bytes().await?;

        db.set_metadata("BEYOND_PG_TIER", "solo").await?;
        db.set_metadata("BEYOND_VOLUME_EPHEMERAL", "perhaps")
            .await?;
        let db = db.start().await?;
        db.expect_log("2 settings from the metadata service cannot be used")
            .await?;
        db.expect_log("BEYOND_PG_TIER is \"solo\"; accepted: ")
            .await?;
        db.expect_log("BEYOND_VOLUME_EPHEMERAL is \"perhaps\"; accepted: ")
            .await?;

        db.remove_metadata("BEYOND_PG_TIER").await?;
        db.remove_metadata("BEYOND_VOLUME_EPHEMERAL").await?;
        db.remove_metadata("POSTGRES_PASSWORD").await?;
        db.expect_log("POSTGRES_PASSWORD is not set").await?;

        let garbage = MmdsTrouble::Garbage("<html>It works!</html>".into());
        let garbage = db.mmds(garbage).await?;
        db.expect_log("not JSON").await?;
        db.volume_bytes()
            .await?
            .must_equal(&untouched, "waiting for settings")?;

        db.set_metadata("POSTGRES_PASSWORD", "mended").await?;
        garbage.heal().await?;
        let db = db.ready().await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        Ok(())
    })
    .await
}

/// A metadata service that has nothing yet, or hangs, is asked again; the environment is no way out,
/// and neither is starting without a password. Waiting can be ended like any other boot.
#[tokio::test]
async fn a_machine_waits_for_a_metadata_service_that_does_not_answer() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?.stop().await?;
        let empty = db.mmds(MmdsTrouble::Empty).await?;
        let db = db.start().await?;
        db.expect_log("404").await?;
        let silent = db.mmds(MmdsTrouble::Silent).await?;
        empty.heal().await?;
        db.expect_log("took the connection and did not answer")
            .await?;

        let db = db.stop().await?;
        ensure!(db.state() == State::Stopped);
        silent.heal().await?;
        db.boot().await?;
        Ok(())
    })
    .await
}

/// Whatever a metadata service does short of not being there, it is asked again until it makes sense:
/// the password in the environment is never the way out, and nobody has to restart the machine.
#[tokio::test]
async fn a_metadata_service_in_trouble_is_waited_for_and_the_environment_never_taken() -> Outcome {
    scenario(async |world| {
        let spec = world.vm("db").password("from the document");
        let spec = spec.env("POSTGRES_PASSWORD", "from the environment");
        let db = spec.boot().await?.stop().await?;

        let mut trouble = db.mmds(MmdsTrouble::Silent).await?;
        let db = db.start().await?;
        db.expect_log("took the connection and did not answer")
            .await?;
        for (next, words) in [
            (MmdsTrouble::Empty, "status 404"),
            (MmdsTrouble::Reset, "failed: "),
            (MmdsTrouble::Forgetful, "MMDS token not valid"),
            (MmdsTrouble::Truncated, "failed: "),
            (MmdsTrouble::Garbage("{".into()), "not JSON"),
        ] {
            trouble = db.troubled_by(trouble, next, words).await?;
        }
        trouble.heal().await?;
        let db = db.ready().await?;
        db.lets_in(Door::Pooled, "from the document").await?;
        db.turns_away(Door::Pooled, "from the environment").await?;
        let log = db.log().await?.join("\n");
        ensure!(!log.contains("settings from the environment"), "{log}");
        Ok(())
    })
    .await
}

/// How long a first packet may wait for its neighbour's address (facts 58).
const NEIGHBOUR: Duration = Duration::from_millis(1500);

/// The first packet to the service may wait for its neighbour for a second or two: no trouble at all.
#[tokio::test]
async fn a_metadata_service_that_answers_late_is_no_trouble() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?.stop().await?;
        let late = MmdsTrouble::slow(NEIGHBOUR);
        let _late = db.mmds(late).await?;
        let db = db.boot().await?;
        let log = db.log().await?.join("\n");
        ensure!(!log.contains("no settings yet"), "{log}");
        Ok(())
    })
    .await
}

/// The store of a machine that is resumed from a snapshot is empty until its host fills it again. A
/// machine that runs does not care; one that boots meanwhile waits, and takes nothing else instead.
#[tokio::test]
async fn an_emptied_store_stops_no_machine_that_runs_and_is_waited_for_by_one_that_boots() -> Outcome
{
    scenario(async |world| {
        let spec = world.vm("db").password("from the document");
        let spec = spec.env("POSTGRES_PASSWORD", "from the environment");
        let db = spec.boot().await?;
        let empty = db.mmds(MmdsTrouble::Empty).await?;
        db.crash_postgres().await?;
        db.is_back().await?;
        ensure!(db.rpc("reload").await?.ok);
        db.lets_in(Door::Direct, "from the document").await?;
        db.is_well().await?;

        let db = db.stop().await?.start().await?;
        db.expect_log("status 404").await?;
        empty.heal().await?;
        let db = db.ready().await?;
        db.lets_in(Door::Pooled, "from the document").await?;
        db.turns_away(Door::Pooled, "from the environment").await
    })
    .await
}
