//! What a boot makes of a volume.

use std::collections::BTreeSet;

use anyhow::ensure;
use e2e::disk::CONF_D;
use e2e::{Door, Outcome, scenario};

/// The second boot and every later one find nothing to do, whether the one before was shut down or
/// crashed, and leave the same disk.
#[tokio::test]
async fn ten_boots_leave_the_same_tree_and_an_empty_plan() -> Outcome {
    scenario(async |world| {
        let mut db = world.vm("db").boot().await?;
        let first = db.booted_tree().await?;
        db.must_have_an_empty_plan().await?;
        for boot in 2..=10 {
            let clean = boot % 2 == 0;
            let stopped = if clean {
                db.stop().await?
            } else {
                db.crash().await?
            };
            db = stopped.boot().await?;
            db.booted_tree()
                .await?
                .must_equal(&first, &format!("after boot {boot}"))?;
            db.must_have_an_empty_plan().await?;
            let record = db.boot_record().await?;
            ensure!(record.failed.is_empty(), "boot {boot}: {record:?}");
            ensure!(record.wal.clean == clean, "boot {boot}: {record:?}");
        }
        Ok(())
    })
    .await
}

/// The files of contract 3 are there when they should be, and gone when they should not.
#[tokio::test]
async fn a_conf_file_is_there_exactly_as_long_as_its_reason() -> Outcome {
    scenario(async |world| {
        let always = [
            "00-beyond.conf",
            "01-tuning.conf",
            "06-tls.conf",
            "99-user.conf",
        ];
        let always = BTreeSet::from(always);
        let ephemeral: BTreeSet<_> = always
            .iter()
            .copied()
            .chain(["02-durability.conf"])
            .collect();

        let db = world
            .vm("db")
            .metadata("POSTGRES_DATABASE", "app")
            .boot()
            .await?;
        ensure!(db.booted_tree().await?.names_in(CONF_D) == always);
        ensure!(db.shows("synchronous_commit").await? == "on");
        ensure!(db.ask::<String>("SELECT current_database()::text").await? == "app");
        let record = db.boot_record().await?;
        ensure!(record.settings == "metadata service", "{record:?}");
        ensure!(
            record.tier == "single" && record.failed.is_empty(),
            "{record:?}"
        );

        db.set_metadata("BEYOND_VOLUME_EPHEMERAL", "true").await?;
        let db = db.restart().await?;
        ensure!(db.booted_tree().await?.names_in(CONF_D) == ephemeral);
        ensure!(db.shows("synchronous_commit").await? == "off");
        ensure!(db.shows("fsync").await? == "on" && db.shows("full_page_writes").await? == "on");

        db.set_metadata("BEYOND_VOLUME_EPHEMERAL", "false").await?;
        let db = db.restart().await?;
        ensure!(db.booted_tree().await?.names_in(CONF_D) == always);
        ensure!(db.shows("synchronous_commit").await? == "on");
        Ok(())
    })
    .await
}

/// What users make of the superuser's defaults is theirs; a boot still does its work.
#[tokio::test]
async fn defaults_that_a_user_set_do_not_stop_a_boot() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql(
            "DROP EXTENSION hypopg;
             ALTER ROLE postgres SET search_path = nowhere;
             ALTER ROLE postgres SET statement_timeout = '1s';
             ALTER ROLE postgres SET default_transaction_read_only = on",
        )
        .await?;

        let db = db.stop().await?.boot().await?;
        let record = db.boot_record().await?;
        ensure!(record.failed.is_empty(), "{record:?}");
        let schema: String = db
            .session(Door::Direct)
            .await?
            .ask(
                "SELECT extnamespace::regnamespace::text FROM pg_extension \
                 WHERE extname = 'hypopg'",
            )
            .await?;
        ensure!(schema == "public", "hypopg came back in {schema}");
        Ok(())
    })
    .await
}
