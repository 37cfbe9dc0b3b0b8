//! Base backups: streamed into the archive whole or not at all, and back from there as a database.

use anyhow::{Context as _, Result, ensure};
use e2e::disk::PGDATA;
use e2e::until::{Look, until};
use e2e::{ARCHIVE, Door, Operation, Outcome, Vm, budget, scenario};
use fake_substrate::substrate::S3;

/// Where a backup is unpacked.
const STAGING: &str = "/var/lib/postgresql/18/main.backup";

/// The keys of an instance's backups.
async fn backups_of(s3: &S3, instance: &str) -> Result<Vec<String>> {
    let prefix = format!("{ARCHIVE}/{instance}/backups/");
    let answer = s3.client()?.list(&prefix).await?;
    ensure!(answer.status.is_success(), "{answer:?}");
    let text = String::from_utf8(answer.body).context("a listing that is no text")?;
    let keys = text.split("<Key>").skip(1);
    let key = |rest: &str| rest.split("</Key>").next().unwrap_or_default().to_owned();
    Ok(keys.map(key).collect())
}

/// Takes a backup, of which there are three objects then; its name.
async fn backs_up(db: &Vm, s3: &S3) -> Result<String> {
    let answer = db.does("backup").await?;
    let name = answer.backup.context("a backup without a name")?;
    let keys = backups_of(s3, "db").await?;
    for part in ["backup.json", "backup_manifest.lz4", "base.tar.lz4"] {
        let key = format!("{ARCHIVE}/db/backups/{name}/{part}");
        ensure!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    Ok(name)
}

/// Object storage that refuses, breaks off in a body or loses an answer costs tries or the backup, and a
/// backup that failed leaves nothing behind.
#[tokio::test]
async fn a_backup_is_whole_or_leaves_nothing() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("db").boot().await?;
        db.sql("CREATE TABLE t AS SELECT repeat(md5(n::text), 20) AS w FROM generate_series(1, 40000) n")
            .await?;
        for breaking in [
            s3.refuse(Operation::UploadPart).with_status(500).times(2),
            s3.reset(Operation::UploadPart).times(1),
            s3.lose_reply(Operation::UploadPart).times(1),
            s3.lose_reply(Operation::CreateMultipart).times(1),
            s3.lose_reply(Operation::CompleteMultipart).times(1),
        ] {
            let broken = breaking.start().await?;
            backs_up(&db, &s3).await?;
            broken.heal().await?;
        }
        let before = backups_of(&s3, "db").await?;
        for (broken, key) in [
            (Operation::CreateMultipart, "*"),
            (Operation::UploadPart, "*"),
            (Operation::CompleteMultipart, "*"),
            // Of these there is something already that has to go.
            (Operation::Put, "*/backup_manifest.lz4"),
            (Operation::Put, "*/backup.json"),
        ] {
            let refused = s3.refuse(broken).of(key).with_status(403).start().await?;
            db.refuses("backup", "403").await?;
            let health = db.health().await?;
            let said = health.backup.last_error.context("no last error")?;
            ensure!(said.contains("403") && health.backup.name.is_none(), "{said}");
            refused.heal().await?;
            ensure!(backups_of(&s3, "db").await? == before, "it left something");
        }
        let name = backs_up(&db, &s3).await?;
        let backup = db.health().await?.backup;
        ensure!(
            backup.last_name == Some(name) && backup.last_error.is_none(),
            "{backup:?}"
        );
        Ok(())
    })
    .await
}

/// A second caller finds it busy, and a caller that hangs up calls it off.
#[tokio::test]
async fn one_backup_at_a_time_and_none_for_a_caller_who_has_gone() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("db").boot().await?;
        let slow = s3.slow(Operation::UploadPart, 65_536).start().await?;
        let (first, second) = tokio::join!(db.rpc_within("backup", budget::SOON.limit), async {
            db.comes_to_be("taking a backup", |health| health.backup.name.is_some())
                .await?;
            db.refuses("backup", "a backup is under way").await
        });
        second?;
        ensure!(first.is_err(), "it was not as slow as that: {first:?}");
        db.comes_to_be("without a backup", |health| health.backup.name.is_none())
            .await?;
        slow.heal().await?;
        until(budget::SOON, "nothing is left of it", async || {
            let left = backups_of(&s3, "db").await?;
            Ok(match left.is_empty() {
                true => Look::Found(()),
                false => Look::NotYet(format!("{left:?}")),
            })
        })
        .await?;
        backs_up(&db, &s3).await.map(drop)
    })
    .await
}

/// What would be no backup is refused.
#[tokio::test]
async fn without_an_archive_there_is_no_backup() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.refuses("backup", "there is no archive target").await?;
        Ok(())
    })
    .await
}

/// Whose database it has become, and that nothing of the restore is left to do.
async fn is_restored(db: &Vm) -> Result<()> {
    let health = db.health().await?;
    ensure!(health.timeline == Some(2), "{health:?}");
    let left = format!(
        "ls -d {PGDATA}/beyond/fetched.json {PGDATA}/conf.d/05-pitr.conf {PGDATA}/recovery.signal \
         {STAGING} 2>/dev/null || true"
    );
    let left = db.shell(&left).await?;
    ensure!(left.trim().is_empty(), "{left}");
    db.must_have_an_empty_plan().await
}

/// A time that is surely behind the end of the last backup, which is known to the second.
async fn after_the_backup(db: &Vm) -> Result<String> {
    let backup = db.health().await?.backup;
    let ended = backup.last_at.context("no backup")?;
    until(budget::SOON, "the second is over", async || {
        let now: i64 = db
            .ask("SELECT extract(epoch FROM clock_timestamp())::bigint")
            .await?;
        Ok(match now > ended + 1 {
            true => Look::Found(()),
            false => Look::NotYet(format!("{now}, and the backup ended at {ended}")),
        })
    })
    .await?;
    db.ask("SELECT clock_timestamp()::text").await
}

/// Under load a backup is taken and everything goes on; from it the database comes back with all that was
/// acknowledged before the archive ends, or as it was at a position, a time and a name.
#[tokio::test]
async fn a_backup_comes_back_at_its_end_an_lsn_a_time_and_a_name() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Pooled).await?;
        ledger.reaches(20).await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        backs_up(&db, &s3).await?;
        let rows = ledger.so_far().rows();
        ledger.reaches(rows + 20).await?;
        let at_lsn = ledger.so_far();
        db.sql("INSERT INTO t VALUES (2)").await?;
        let lsn: String = db.ask("SELECT pg_current_wal_insert_lsn()::text").await?;
        let time = after_the_backup(&db).await?;
        db.sql("INSERT INTO t VALUES (3)").await?;
        db.sql("SELECT pg_create_restore_point('three')").await?;
        db.sql("INSERT INTO t VALUES (4)").await?;
        let rows = ledger.so_far().rows();
        ledger.reaches(rows + 20).await?;
        let at_the_end = ledger.so_far();
        db.does("archive_now").await?;

        let spec = |name: &str| world.vm(name).restored_from(&s3, "db").instance(name);
        let to_end = spec("to-end").boot().await?;
        at_the_end.is_kept_by(&to_end).await?;
        is_restored(&to_end).await?;

        for (kind, target, last) in [
            ("LSN", lsn.as_str(), 2),
            ("TIME", &time, 2),
            ("NAME", "three", 3),
        ] {
            let name = format!("to-{}", kind.to_lowercase());
            let key = format!("BEYOND_PG_RESTORE_TARGET_{kind}");
            let vm = spec(&name).metadata(&key, target).boot().await?;
            let found: i32 = vm.ask("SELECT max(n) FROM t").await?;
            ensure!(found == last, "{kind}: {found}");
            at_lsn.is_kept_by(&vm).await?;
            is_restored(&vm).await?;
        }

        for (name, lsn, words) in [
            (
                "too-early",
                "0/1",
                "LSN 0/1 lies before the end of this volume. The window: from ",
            ),
            (
                "too-late",
                "F/0",
                "LSN F/0 lies behind what the archive has. The window: from ",
            ),
        ] {
            let vm = spec(name).metadata("BEYOND_PG_RESTORE_TARGET_LSN", lsn);
            let vm = vm.start().await?.ended().await?;
            vm.must_have_said(words).await?;
        }
        Ok(())
    })
    .await
}

/// A machine that dies while it unpacks, or is given a backup that was spoilt, has no cluster yet, says so, and
/// begins anew.
#[tokio::test]
async fn a_restore_that_is_cut_begins_anew_and_a_spoilt_backup_is_refused() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("db").boot().await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        let name = backs_up(&db, &s3).await?;

        let new = world.vm("new").on_folder().restored_from(&s3, "db");
        let new = new.instance("new");
        let slow = s3.slow(Operation::Get, 65_536).start().await?;
        let new = new.start().await?;
        until(budget::COMES_BACK, "it unpacks", async || {
            let there = new
                .shell(&format!("ls {STAGING} 2>/dev/null || true"))
                .await?;
            Ok(match there.trim().is_empty() {
                false => Look::Found(()),
                true => Look::NotYet("nothing there".to_owned()),
            })
        })
        .await?;
        let new = new.crash().await?;
        slow.heal().await?;
        let found = new.on_volume("ls /var/lib/postgresql/18").await?;
        ensure!(found.trim() == "main.backup", "{found}");

        let (host, key) = (
            s3.client()?,
            format!("{ARCHIVE}/db/backups/{name}/base.tar.lz4"),
        );
        let whole = host.get(&key).await?.body;
        let mut spoilt = whole.clone();
        let middle = spoilt.len() / 2;
        spoilt[middle] ^= 1;
        ensure!(host.put(&key, spoilt).await?.status.is_success());
        let new = new.start().await?.ended().await?;
        new.must_have_said("base.tar.lz4 is damaged").await?;
        let found = new.on_volume("ls /var/lib/postgresql/18").await?;
        ensure!(found.trim() == "main.backup", "{found}");

        ensure!(host.put(&key, whole).await?.status.is_success());
        let new = new.boot().await?;
        let rows: i32 = new.ask("SELECT max(n) FROM t").await?;
        ensure!(rows == 1);
        is_restored(&new).await
    })
    .await
}
