//! Volumes that fill up, and that somebody makes room on.

use anyhow::ensure;
use e2e::disk::PGDATA;
use e2e::{Door, Outcome, Spec, World, scenario};

const READ_ONLY: &str = "default_transaction_read_only";
const MAKE_ROOM: &str = "BEGIN READ WRITE; TRUNCATE hog; COMMIT";

fn with_a_small_volume(world: &World) -> Spec {
    world.vm("db").memory("2g").volume_of("400m")
}

/// At 80 % somebody is told, and nothing else happens.
#[tokio::test]
async fn a_volume_at_80_percent_is_reported_and_nothing_else() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        db.fill_volume_to(82).await?;
        let told = db.complains("the volume is 82 % full").await?;
        ensure!(told.contains("At 90 % transactions become read-only") && told.contains("HINT"));
        db.host_hears("the volume is 82 % full").await?;

        ensure!(db.shows(READ_ONLY).await? == "off");
        db.sql("CREATE TABLE written AS SELECT 1").await?;
        ensure!(db.has_reserve().await?);
        db.must_have_an_empty_plan().await?;

        db.clear_volume().await?;
        db.is_well().await?;
        db.host_hears("there is room again").await.map(drop)
    })
    .await
}

/// At 90 % clients are refused to write, an operator makes room all the same, and writes go on by
/// themselves. Also when the machine is booted in between.
#[tokio::test]
async fn a_volume_at_90_percent_takes_no_writes_until_an_operator_made_room() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        db.sql("CREATE TABLE hog AS SELECT repeat('x', 1000) FROM generate_series(1, 60000)")
            .await?;
        let old_direct = db.session(Door::Direct).await?;
        let old_pooled = db.session(Door::Pooled).await?;
        let pooler = db.pooler().await?;
        db.fill_volume_to(93).await?;
        db.has_another_pooler_than(pooler).await?;

        let write = "INSERT INTO kept VALUES (43)";
        db.must_refuse_to_write(write).await?;
        ensure!(old_direct.sql(write).await.is_err());
        // PgBouncer would have played its old default back to Postgres.
        ensure!(old_pooled.sql(write).await.is_err());
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        let told = db
            .complains("Transactions are read-only by default")
            .await?;
        ensure!(
            told.contains("BEGIN READ WRITE; TRUNCATE"),
            "no way out: {told}"
        );

        let db = db.restart().await?;
        db.must_refuse_to_write(write).await?;
        ensure!(db.boot_record().await?.failed.is_empty());

        let pooler = db.pooler().await?;
        db.session(Door::Pooled).await?.sql(MAKE_ROOM).await?;
        db.has_another_pooler_than(pooler).await?;
        for door in Door::ALL {
            db.session(door).await?.sql(write).await?;
        }
        db.host_hears("transactions are read-write again").await?;
        ensure!(db.has_reserve().await?);
        Ok(())
    })
    .await
}

/// ENOSPC: somebody writes on in spite of the default, until nothing is left and Postgres dies. It
/// comes back on the reserve, nothing that was acknowledged is lost, and a TRUNCATE makes all well.
#[tokio::test]
async fn a_filled_volume_recovers_after_a_truncate_and_loses_nothing() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        let mut ledger = db.keep_writing_regardless().await?;
        ledger.reaches(100).await?;

        let dies_and_recovers = async {
            db.hog_the_volume_but_for(48 << 20).await?;
            db.fill_volume_but_for_the_reserve().await?;
            db.exhaust_the_wal().await?;
            let promise = ledger.cut_off().await?;
            db.host_hears("PANIC:  could not write to file").await?;
            db.host_hears("released the reserve file").await?;
            db.is_back().await?;
            db.complains("the reserve file was given up so that Postgres can start")
                .await?;
            ensure!(!db.has_reserve().await?);
            promise.is_kept_by(&db).await?;
            db.must_refuse_to_write("INSERT INTO ledger VALUES (0)")
                .await?;

            let pooler = db.pooler().await?;
            db.sql(MAKE_ROOM).await?;
            db.has_another_pooler_than(pooler).await?;
            db.makes_a_reserve().await?;
            Ok(promise)
        };
        let promise = db.answers_throughout(dies_and_recovers).await?;
        db.sql("CREATE TABLE written AS SELECT 1").await?;
        db.must_have_an_empty_plan().await?;
        promise.is_kept_by(&db).await
    })
    .await
}

/// A backend that finds no cache of its catalogs writes one before it lets its session in, which on a
/// volume without a byte left keeps everybody out while Postgres runs on. A little of the reserve lets
/// them in again, and the rest stays for a start of Postgres.
#[tokio::test]
async fn nobody_is_kept_out_of_a_volume_that_is_full() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        let postmaster = db.postmaster().await?;
        db.fill_volume_and_forget_the_catalogs().await?;

        db.complains("part of the reserve file was given up so that sessions get in")
            .await?;
        db.is_back().await?;
        for door in Door::ALL {
            let session = db.session(door).await?;
            ensure!(session.ask::<i32>("SELECT 1").await? == 1);
        }
        ensure!(db.has_reserve().await? && db.postmaster().await? == postmaster);

        db.clear_volume().await?;
        db.is_well().await
    })
    .await
}

/// A boot on a volume without a byte left writes nothing but what Postgres must, and serves.
#[tokio::test]
async fn a_machine_boots_on_a_volume_that_is_full() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let db = db.stop().await?;
        db.fill_volume().await?;

        let db = db.boot().await?;
        let record = db.boot_record().await?;
        // Sockets and the certificate that is served lie on tmpfs, where each boot makes them.
        let on_tmpfs = |change: &&String| {
            change.starts_with("make folder /") || change.starts_with("install ")
        };
        let on_the_volume: Vec<_> = record
            .changed
            .iter()
            .filter(|change| !on_tmpfs(change))
            .collect();
        ensure!(
            on_the_volume == ["release the reserve file but for 2 MB: the volume is full"],
            "{record:?}"
        );
        ensure!(record.wal.clean, "{record:?}");
        ensure!(db.shows(READ_ONLY).await? == "on");
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        db.complains("the reserve file was given up").await?;

        let pooler = db.pooler().await?;
        db.clear_volume().await?;
        db.has_another_pooler_than(pooler).await?;
        db.makes_a_reserve().await?;
        db.is_well().await?;
        db.sql("INSERT INTO kept VALUES (43)").await?;
        db.must_have_an_empty_plan().await
    })
    .await
}

/// What Postgres came back on is eaten, too, and nobody gets in: the last part of the reserve is theirs.
#[tokio::test]
async fn whoever_eats_the_reserve_too_does_not_lock_the_operator_out() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        db.hog_the_volume_but_for(48 << 20).await?;
        let db = db.stop().await?;
        db.fill_volume().await?;
        let db = db.boot().await?;
        ensure!(!db.has_reserve().await?);
        let postmaster = db.postmaster().await?;
        db.fill_volume_and_forget_the_catalogs().await?;

        db.complains("the reserve file was given up so that Postgres can start")
            .await?;
        db.host_hears("could not write init file").await?;
        db.answers_again().await?;
        for door in Door::ALL {
            let session = db.session(door).await?;
            ensure!(session.ask::<i32>("SELECT 1").await? == 1);
        }
        db.complains("and its last part so that sessions get in")
            .await?;
        ensure!(db.postmaster().await? == postmaster);

        db.session(Door::Direct).await?.sql(MAKE_ROOM).await?;
        db.makes_a_reserve().await?;
        db.is_well().await
    })
    .await
}

/// Segments that go by without an archive are recorded on a full volume, too: were they not, Postgres
/// could recycle none of them, and no checkpoint would make room.
#[tokio::test]
async fn wal_that_goes_by_is_recorded_where_no_room_is_left() -> Outcome {
    scenario(async |world| {
        let db = with_a_small_volume(world).boot().await?;
        let goes_by = async |segment| {
            let argv = ["beyond-pg", "archive", "PG_VERSION", segment];
            db.as_postgres(&argv).await
        };
        goes_by("0000000100000000000000A1").await?;
        db.fill_volume().await?;
        goes_by("0000000100000000000000A2").await?;
        let record = db
            .shell(&format!("cat {PGDATA}/beyond/unarchived.json"))
            .await?;
        ensure!(record.contains("A2\"}"), "{record}");
        Ok(())
    })
    .await
}
