//! Base backups: streamed into the archive whole or not at all, and back from there as a database.

use anyhow::{Context as _, Result, ensure};
use e2e::until::{Look, until};
use e2e::{ARCHIVE, Operation, Outcome, Vm, budget, scenario};
use fake_substrate::substrate::S3;

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
        for broken in [
            Operation::CreateMultipart,
            Operation::UploadPart,
            Operation::CompleteMultipart,
        ] {
            let refused = s3.refuse(broken).with_status(403).start().await?;
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
