//! WAL reaches the object storage, whatever happens on the way there, and nothing there is overwritten.

use anyhow::{Context as _, Result, ensure};
use e2e::until::{Look, until};
use e2e::{Operation, Outcome, Vm, archive_key, archived_by, budget, scenario};
use fake_substrate::s3::client::{Call, Method};
use fake_substrate::substrate::S3;

/// Something happens, and it must fail to be archived for now, in the log and in the health, with these words.
async fn fails_to_archive(db: &Vm, words: &str) -> Result<()> {
    db.sql("INSERT INTO t VALUES (2)").await?;
    db.refuses("archive_now", "archive_command failed for 0000")
        .await?;
    let health = db.complains_of(&["WAL is not archived", words]).await?;
    let said = health.archive.last_error.context("no last error")?;
    ensure!(said.contains(words), "{said}");
    Ok(())
}

/// Something happens and is archived, sooner or later; the segment that has it.
async fn archives(db: &Vm) -> Result<String> {
    db.sql("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)")
        .await?;
    // Postgres rests after three failures in a row, and a try may be under way that fails yet.
    until(budget::COMES_BACK, "everything is archived", async || {
        let answer = db.rpc("archive_now").await?;
        Ok(match answer.segment {
            Some(segment) if answer.ok => Look::Found(segment),
            _ => Look::NotYet(format!("{:?}", answer.error)),
        })
    })
    .await
}

/// All is archived, and nothing is left to complain of.
async fn is_well(db: &Vm, s3: &S3, instance: &str) -> Result<()> {
    let segment = archives(db).await?;
    let there = archived_by(s3, instance).await?;
    ensure!(
        there.contains(&archive_key(instance, &segment)),
        "{segment} is not in {there:?}"
    );
    db.comes_to_be("archiving without complaint", |health| {
        health.degraded.is_empty() && health.archive.last_error.is_none()
    })
    .await
    .map(drop)
}

async fn failures(db: &Vm) -> Result<u64> {
    let health = db.health().await?;
    health.archive.failures.context("nobody archives")
}

/// A storage that refuses, loses answers, breaks off, is slow or has another clock costs tries, never a
/// segment, and no hand is needed.
#[tokio::test]
async fn an_archive_survives_what_object_storage_does() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("one").boot().await?;
        is_well(&db, &s3, "one").await?;

        let refused = s3.refuse(Operation::Put).with_status(403).start().await?;
        fails_to_archive(&db, "403").await?;
        refused.heal().await?;
        is_well(&db, &s3, "one").await?;

        for breaking in [
            s3.refuse(Operation::Put).with_status(500).times(2),
            s3.reset(Operation::Put).times(1),
            s3.lose_reply(Operation::Put).times(1),
            s3.slow(Operation::Put, 65_536).times(1),
        ] {
            let before = failures(&db).await?;
            let broken = breaking.start().await?;
            is_well(&db, &s3, "one").await?;
            ensure!(
                failures(&db).await? == before,
                "Postgres heard of {broken:?}"
            );
            broken.heal().await?;
        }
        let before = failures(&db).await?;
        let off = world.clock_off_by("+20m").await?;
        archives(&db).await?;
        off.heal().await?;
        ensure!(failures(&db).await? == before, "a clock was in the way");
        is_well(&db, &s3, "one").await
    })
    .await
}

/// Settings that are wrong are told with what to mend, and those of the metadata count at the next try.
#[tokio::test]
async fn an_archive_that_may_not_or_is_not_there_is_told_and_mended_in_the_metadata() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("one").boot().await?;
        is_well(&db, &s3, "one").await?;

        db.set_metadata("AWS_SECRET_ACCESS_KEY", "rotated").await?;
        fails_to_archive(&db, "AWS_SECRET_ACCESS_KEY").await?;
        db.set_metadata("AWS_SECRET_ACCESS_KEY", &s3.keys.secret_key)
            .await?;
        is_well(&db, &s3, "one").await?;

        let target = db_target(&s3);
        db.set_metadata("BEYOND_PG_ARCHIVE_TARGET", "s3://nowhere/archive")
            .await?;
        fails_to_archive(&db, "NoSuchBucket").await?;
        db.set_metadata("BEYOND_PG_ARCHIVE_TARGET", &target).await?;
        is_well(&db, &s3, "one").await?;
        let log = db.log().await?.join("\n");
        ensure!(!log.contains(&s3.keys.secret_key), "a secret is in the log");
        Ok(())
    })
    .await
}

fn db_target(s3: &S3) -> String {
    format!("s3://{}/{}", s3.bucket, e2e::ARCHIVE)
}

/// What is in the archive under a name stays as it is: another file of that name, and another cluster's
/// archive, are refused aloud.
#[tokio::test]
async fn what_another_has_archived_is_never_overwritten() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("one").boot().await?;
        is_well(&db, &s3, "one").await?;

        let name: String = db
            .ask("SELECT pg_walfile_name(pg_current_wal_lsn())")
            .await?;
        let (host, key) = (s3.client()?, archive_key("one", &name));
        let put = Call::new(Method::PUT, &key)
            .header("x-amz-meta-sha256", "00")
            .header("x-amz-meta-bytes", "6")
            .header("x-amz-meta-system-id", "1")
            .body("theirs");
        ensure!(host.send(put).await?.status.is_success());
        fails_to_archive(&db, "holds another file of this name").await?;
        ensure!(host.get(&key).await?.body == b"theirs");
        host.delete(&key).await?;
        is_well(&db, &s3, "one").await?;

        let before = archived_by(&s3, "one").await?;
        let other = world.vm("other").archived(&s3).instance("one");
        let other = other.boot().await?;
        other.sql("CREATE TABLE t (n int)").await?;
        fails_to_archive(&other, "this is the archive of the cluster with system id").await?;
        ensure!(archived_by(&s3, "one").await? == before);
        Ok(())
    })
    .await
}

/// What is ready behind a segment reaches the archive before it, when that one is refused. Nobody depends on the
/// process that sees to it: killed again and again, it costs no segment and no failure. Over TLS, as object storage
/// is spoken to elsewhere.
#[tokio::test]
async fn segments_are_archived_several_at_a_time_and_also_when_nobody_works_ahead() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        // Its memory is for four segments under way.
        let db = world
            .vm("db")
            .memory("1g")
            .archived(&s3)
            .instance("one")
            .boot()
            .await?;
        db.archives_over_tls(&s3).await?;
        is_well(&db, &s3, "one").await?;

        let first = archive_key("one", &next_segment(&db).await?);
        let refused = s3.refuse(Operation::Put).of(&first).start().await?;
        let mut behind = Vec::new();
        finishes(&db).await?;
        for _segment in 0..3 {
            behind.push(archive_key("one", &next_segment(&db).await?));
            finishes(&db).await?;
        }
        let them = "the segments behind the one that is refused";
        until(budget::COMES_BACK, them, async || {
            let there = archived_by(&s3, "one").await?;
            ensure!(!there.contains(&first), "{first} was not refused");
            Ok(match behind.iter().all(|key| there.contains(key)) {
                true => Look::Found(()),
                false => Look::NotYet(format!("{there:?}")),
            })
        })
        .await?;
        refused.heal().await?;
        is_well(&db, &s3, "one").await?;
        ensure!(archived_by(&s3, "one").await?.contains(&first));

        let before = failures(&db).await?;
        for _kill in 0..5 {
            let killed = next_segment(&db).await?;
            finishes(&db).await?;
            db.kill(db.archives_ahead().await?).await?;
            is_well(&db, &s3, "one").await?;
            let there = archived_by(&s3, "one").await?;
            ensure!(there.contains(&archive_key("one", &killed)), "{there:?}");
            db.comes_to_archive_ahead().await?;
        }
        ensure!(failures(&db).await? == before, "Postgres heard of it");
        Ok(())
    })
    .await
}

/// A volume that fell back to its flush point lacks segments that were archived since: it gets them, and writes none
/// of their names again. An archive that is away holds up nobody, and is named.
#[tokio::test]
async fn a_volume_that_fell_back_behind_its_archive_goes_on_from_there() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").on_block_volume().archived(&s3);
        let db = db.instance("one").boot().await?;
        is_well(&db, &s3, "one").await?;
        db.flush().await?;
        let no_flush = db.flush_fails().await?;
        for _segment in 0..3 {
            finishes(&db).await?;
        }
        is_well(&db, &s3, "one").await?;
        let archived: i64 = db.ask("SELECT count(*) FROM t").await?;

        let lost = db.lose_host().await?;
        no_flush.heal().await?;
        let db = lost.rehome().await?.boot().await?;
        let said = db
            .expect_log("segments were fetched from the archive")
            .await?;
        db.expect_log("the archive's WAL at").await?;
        let found: i64 = db.ask("SELECT count(*) FROM t").await?;
        ensure!(found == archived, "{found} of {archived} rows; {said}");
        is_well(&db, &s3, "one").await?;
        db.is_intact().await?;

        let refused = s3.refuse(Operation::List).start().await?;
        let db = db.crash().await?.boot().await?;
        db.is_degraded_by("started without asking the archive")
            .await?;
        refused.heal().await?;
        let db = db.crash().await?.boot().await?;
        is_well(&db, &s3, "one").await
    })
    .await
}

/// The segment that is written to.
async fn next_segment(db: &Vm) -> Result<String> {
    db.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        .await
}

/// It is finished, with something in it.
async fn finishes(db: &Vm) -> Result<()> {
    db.sql("INSERT INTO t VALUES (3); SELECT pg_switch_wal()")
        .await
}
