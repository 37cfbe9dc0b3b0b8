//! What the host asks a machine over the control RPC, and what it is told.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Outcome, budget, scenario, until::until_true};

/// Where a user may archive to, in these scenarios.
const KEPT: &str = "/var/lib/postgresql/kept";

/// What a machine can do it lists and does; the rest it refuses in words, with the way out.
#[tokio::test]
async fn the_host_is_told_what_a_machine_can_do() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let before = db.does("checkpoint").await?;
        db.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
            .await?;
        let after = db.does("checkpoint").await?;
        ensure!(after.lsn > before.lsn, "{after:?} after {before:?}");
        ensure!(after.flush_lsn > after.lsn, "{after:?}");

        let capabilities = db.does("capabilities").await?.commands.context("no list")?;
        let listed = [
            "capabilities",
            "health",
            "checkpoint",
            "reload",
            "backup",
            "prepare_fork",
            "promote",
            "set_sync_standbys",
            "archive_now",
            "shutdown",
        ];
        ensure!(capabilities == listed, "{capabilities:?}");
        db.refuses("promote", "cannot do promote on a machine of tier single")
            .await?;
        let answer = db
            .refuses("teleport", "no command is called \"teleport\"")
            .await?;
        let known = answer.commands.context("it names no known ones")?;
        ensure!(known.contains(&"promote".to_owned()), "{known:?}");
        Ok(())
    })
    .await
}

/// A reload puts good lines in force before it answers. A bad one is named by file and line, with
/// what else it keeps out, in the answer and in health.
#[tokio::test]
async fn a_reload_names_the_lines_that_are_not_in_force() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.user_conf("work_mem = '77MB'\nwork_men = '1MB'\n").await?;
        let words = "your 99-user.conf line 2 was not applied: unrecognized configuration \
                     parameter \"work_men\"; until it is mended no change of any setting is applied";
        let refused = db.refuses("reload", words).await?;
        ensure!(refused.objections == [words], "{refused:?}");
        ensure!(db.health().await?.configuration.objections == [words]);
        ensure!(db.shows("work_mem").await? != "77MB");

        db.user_conf("work_mem = '77MB'\nmax_connections = 77\nrandom_page_cost = cheap\n")
            .await?;
        db.refuses("reload", "your 99-user.conf line 2 was not applied: max_connections: ")
            .await?;
        db.refuses("reload", "it changes only when the machine is restarted")
            .await?;
        db.refuses("reload", "your 99-user.conf line 3 was not applied: random_page_cost: ")
            .await?;
        db.comes_to_show("work_mem", "77MB").await?;

        db.user_conf("work_mem = '78MB'\n").await?;
        db.user_hba("# nobody\nhost all all 10.9.8.7/32 scarm-sha-256\n")
            .await?;
        let words = "your 99-user-hba.conf line 2 was not applied: invalid authentication method \
                     \"scarm-sha-256\"; until it is mended no change of who may log in is applied";
        let refused = db.refuses("reload", words).await?;
        ensure!(refused.objections == [words], "{refused:?}");
        db.comes_to_show("work_mem", "78MB").await?;

        db.user_conf("work_mem = '79MB'\n").await?;
        db.user_hba("").await?;
        db.does("reload").await?;
        ensure!(db.shows("work_mem").await? == "79MB");
        ensure!(db.health().await?.configuration.objections.is_empty());
        Ok(())
    })
    .await
}

/// A fork is prepared by the image's hooks and a checkpoint; the answer says up to where a copy of
/// the volume holds every commit. Prepared twice is prepared.
#[tokio::test]
async fn a_fork_is_prepared_by_hooks_and_a_checkpoint() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.hook(
            "pre-fork.d/10-note",
            "psql -c 'CREATE TABLE IF NOT EXISTS prepared (n int)'; echo $BEYOND_HOOK >>/tmp/noted",
        )
        .await?;
        let before = db.does("checkpoint").await?;
        let answer = db.does("prepare_fork").await?;
        ensure!(answer.lsn > before.flush_lsn, "{answer:?} after {before:?}");
        ensure!(answer.flush_lsn > answer.lsn, "{answer:?}");
        ensure!(db.health().await?.wal.redo_lsn == answer.lsn);
        ensure!(db.ask::<i64>("SELECT count(*) FROM prepared").await? == 0);
        db.does("prepare_fork").await?;
        ensure!(db.shell("cat /tmp/noted").await? == "pre-fork\npre-fork\n");
        Ok(())
    })
    .await
}

/// A hook that fails refuses the fork by name, with what it said; once it is mended, all is well.
#[tokio::test]
async fn a_failing_hook_refuses_the_fork_and_prepares_nothing() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let before = db.does("checkpoint").await?;
        db.hook("pre-fork.d/10-flush", "echo no room for this >&2; exit 3")
            .await?;
        let words = "prepare_fork failed: nothing was prepared: hook pre-fork.d/10-flush ended \
                     with exit status: 3; its last lines:\nno room for this";
        let refused = db.refuses("prepare_fork", words).await?;
        ensure!(refused.lsn.is_none(), "{refused:?}");
        ensure!(db.health().await?.wal.redo_lsn == before.lsn);
        db.hook("pre-fork.d/10-flush", "exit 0").await?;
        db.does("prepare_fork").await?;
        Ok(())
    })
    .await
}

/// Without a target nothing is archived, and nobody is told otherwise.
#[tokio::test]
async fn archiving_now_without_an_archive_is_refused_and_does_nothing() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let file = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";
        let before: String = db.ask(file).await?;
        let words = "nothing is archived: there is no archive target; nothing was done";
        let refused = db.refuses("archive_now", words).await?;
        ensure!(refused.lsn.is_none() && refused.segment.is_none());
        ensure!(db.ask::<String>(file).await? == before);
        Ok(())
    })
    .await
}

/// With an archive of the user's own, everything up to the answered position is in it by then. When
/// nothing was written since, the answer is about the segment before.
#[tokio::test]
async fn archiving_now_waits_until_the_segment_is_archived() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.shell(&format!("install -d -o postgres -g postgres {KEPT}"))
            .await?;
        db.user_conf(&format!("archive_command = 'cp %p {KEPT}/%f'\n"))
            .await?;
        db.does("reload").await?;
        let written = db.health().await?.wal.flush_lsn;
        let answer = db.does("archive_now").await?;
        ensure!(answer.lsn > written, "{answer:?} after {written:?}");
        let segment = answer.segment.context("no segment")?;
        db.shell(&format!("test -s {KEPT}/{segment}")).await?;
        let health = db
            .comes_to_be("told of the segment", |health| {
                health.archive.last_segment.as_ref() >= Some(&segment)
            })
            .await?;
        ensure!(health.archive.by.as_deref() == Some("user"), "{health:?}");

        for _again in 0..2 {
            let answer = db.does("archive_now").await?;
            let segment = answer.segment.context("no segment")?;
            db.shell(&format!("test -s {KEPT}/{segment}")).await?;
        }
        Ok(())
    })
    .await
}

/// A command that fails is named by the segment it failed for, which is ended all the same, and
/// health says that WAL piles up; mended, the same request is done.
#[tokio::test]
async fn archiving_now_says_when_the_archive_does_not_take_it() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.user_conf("archive_command = 'false'\n").await?;
        db.does("reload").await?;
        let refused = db
            .refuses("archive_now", "archive_command failed for 00000001")
            .await?;
        ensure!(
            refused.lsn.is_some() && refused.segment.is_some(),
            "{refused:?}"
        );
        let health = db.health().await?;
        let degraded = health.degraded.join("\n");
        ensure!(degraded.contains("WAL is not archived and "), "{health:?}");
        ensure!(health.archive.waiting > Some(0) && health.archive.failures > Some(0));

        db.user_conf("archive_command = 'true'\n").await?;
        db.does("reload").await?;
        db.does("archive_now").await?;
        let health = db.health().await?;
        ensure!(health.degraded.is_empty(), "{health:?}");
        Ok(())
    })
    .await
}

/// A checkpoint that hangs keeps nobody from asking how the machine is. Who gives up on it leaves no
/// session behind, and asks again.
#[tokio::test]
async fn a_caller_that_hangs_up_leaves_nothing_behind() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
            .await?;
        let frozen = db.freeze("postgres: checkpointer").await?;
        let impatient = db.rpc_within("checkpoint", Duration::from_secs(5));
        let others = async {
            until_true(budget::SOON, "the checkpoint is under way", async || {
                db.ask::<bool>(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%CHECKPOINT' \
                     AND application_name = 'beyond-pg' AND state = 'active')",
                )
                .await
            })
            .await?;
            db.health_for(12).await
        };
        let (given_up, healths) = tokio::join!(impatient, others);
        ensure!(given_up.is_err(), "it was answered: {given_up:?}");
        for health in healths? {
            ensure!(health.unanswered.is_empty(), "{health:?}");
        }
        until_true(budget::SOON, "its session is gone", async || {
            db.ask::<bool>(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity \
                 WHERE application_name = 'beyond-pg' AND state = 'active')",
            )
            .await
        })
        .await?;
        frozen.thaw().await?;
        db.does("checkpoint").await?;
        Ok(())
    })
    .await
}

/// `shutdown` says from where everything is safe, and then the machine ends as after SIGTERM.
#[tokio::test]
async fn a_shutdown_by_the_host_is_a_clean_stop() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let answer = db.does("shutdown").await?;
        ensure!(answer.lsn.is_some(), "{answer:?}");
        let db = db.ends_cleanly().await?;
        let record = db.boot().await?.boot_record().await?;
        ensure!(
            record.wal.clean && record.wal.replayed_bytes == 0,
            "{record:?}"
        );
        Ok(())
    })
    .await
}
