//! What a machine says of itself: the truth in every state, and what it cannot find out by name.

use anyhow::{Context as _, ensure};
use e2e::{Door, MmdsTrouble, Outcome, scenario};

/// Before there is a server, the last checkpoint is known from disk, and what needs a server is
/// refused with the reason.
#[tokio::test]
async fn a_machine_that_boots_knows_its_disk_and_refuses_the_rest() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let redo = db.does("checkpoint").await?.lsn.context("no LSN")?;
        let db = db.stop().await?;
        let _silent = db.mmds(MmdsTrouble::Silent).await?;
        let db = db.start().await?;
        let health = db.says_health("booting").await?;
        ensure!(health.wal.redo_lsn >= Some(redo), "{health:?}");
        ensure!(
            health.timeline == Some(1) && health.in_recovery.is_none(),
            "{health:?}"
        );
        ensure!(health.unanswered.is_empty(), "{health:?}");
        ensure!(!health.postgres.up && health.postgres.starts == 0);
        ensure!(health.disk.bytes > health.disk.free_bytes, "{health:?}");
        for command in ["checkpoint", "reload", "prepare_fork", "archive_now"] {
            let words = format!("cannot do {command} while the machine is booting: no server runs");
            db.refuses(command, &words).await?;
        }
        let answer = db.does("shutdown").await?;
        ensure!(answer.lsn >= Some(redo), "{answer:?}");
        db.ended().await?;
        Ok(())
    })
    .await
}

/// While Postgres replays WAL it is not knocked at; where it began is known all the same.
#[tokio::test]
async fn a_machine_in_recovery_says_so_without_asking_postgres() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.hold_crash_recovery().await?;
        db.sql(
            "CREATE TABLE kept AS SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n",
        )
        .await?;
        let db = db.crash().await?.start().await?;
        let health = db
            .comes_to_be("in recovery", |health| health.in_recovery == Some(true))
            .await?;
        ensure!(health.state == "starting", "{health:?}");
        ensure!(health.postgres.up && health.postgres.pid.is_some());
        ensure!(health.wal.redo_lsn.is_some() && health.timeline == Some(1));
        ensure!(
            health.unanswered == ["asking Postgres: it does not serve yet"],
            "{health:?}"
        );
        let words = "while the machine is starting: no client has got in yet";
        for command in ["checkpoint", "prepare_fork", "archive_now"] {
            db.refuses(command, words).await?;
        }
        let words = "the servers read their configuration as they start";
        db.refuses("reload", words).await?;

        db.let_recovery_go_on().await?;
        let db = db.ready().await?;
        let health = db.says_health("ready").await?;
        ensure!(health.in_recovery == Some(false), "{health:?}");
        let fatal = "the database system is starting up";
        ensure!(!db.log().await?.iter().any(|line| line.contains(fatal)));
        ensure!(db.ask::<i64>("SELECT count(*) FROM kept").await? == 1_000_000);
        Ok(())
    })
    .await
}

/// A ready machine tells all there is: servers, WAL, archive, disk, the user's own settings.
#[tokio::test]
async fn a_ready_machine_tells_everything_there_is() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.user_conf("work_mem = '77MB'\nrestore_command = 'nobody is told'\n")
            .await?;
        db.does("reload").await?;
        let health = db.says_health("ready").await?;
        ensure!(
            health.degraded.is_empty() && health.unanswered.is_empty(),
            "{health:?}"
        );
        ensure!(health.ready_since.is_some() && health.standbys.is_empty());
        for server in [&health.postgres, &health.pooler] {
            ensure!(server.up && server.starts == 1 && server.pid.is_some());
            ensure!(server.since.is_some() && server.last_exit.is_none());
        }
        ensure!(health.postgres.pid == Some(db.postmaster().await?));
        ensure!(health.timeline == Some(1) && health.in_recovery == Some(false));
        let wal = &health.wal;
        ensure!(
            wal.redo_lsn < wal.flush_lsn && wal.flush_lsn <= wal.insert_lsn,
            "{wal:?}"
        );
        ensure!(
            wal.replay_lsn.is_none() && wal.checkpoint_at.is_some(),
            "{wal:?}"
        );
        let archive = &health.archive;
        ensure!(archive.by.as_deref() == Some("nobody"), "{archive:?}");
        ensure!(
            archive.target.is_none() && archive.last_segment.is_none(),
            "{archive:?}"
        );
        let configuration = &health.configuration;
        ensure!(
            configuration.in_force
                == [
                    "work_mem = 77MB (your 99-user.conf line 1)",
                    "restore_command = *** (your 99-user.conf line 2)"
                ],
            "{configuration:?}"
        );
        ensure!(configuration.objections.is_empty() && configuration.loaded_at.is_some());
        ensure!(
            health
                .versions
                .postgres
                .is_some_and(|version| version.starts_with("18"))
        );
        let record = health.boot.context("no boot record")?;
        ensure!(
            record["tier"] == "single" && record["wal"]["timeline"] == 1,
            "{record:?}"
        );

        // A segment that goes by while nobody archives is on record.
        db.sql("SELECT pg_switch_wal()").await?;
        db.comes_to_be("told what went by unarchived", |health| {
            health.archive.unarchived_last.is_some()
        })
        .await?;
        Ok(())
    })
    .await
}

/// A server that ends by itself and cannot come back is a state of its own: told with the reason,
/// and Postgres still does what needs no pooler.
#[tokio::test]
async fn a_machine_without_its_pooler_is_restarting_and_says_why() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.shell("chmod a-x /usr/sbin/pgbouncer").await?;
        db.crash_pooler().await?;
        let health = db
            .comes_to_be("without a pooler", |health| !health.pooler.up)
            .await?;
        ensure!(health.state == "restarting" && health.ready_since.is_none());
        let pooler = &health.pooler;
        ensure!(
            pooler.last_exit_at.is_some() && pooler.pid.is_none(),
            "{pooler:?}"
        );
        let health = db
            .comes_to_be("unable to start the pooler", |health| {
                let exit = health.pooler.last_exit.as_deref();
                exit.is_some_and(|words| words.contains("Permission denied"))
            })
            .await?;
        ensure!(
            health.postgres.up && health.unanswered.is_empty(),
            "{health:?}"
        );
        db.does("checkpoint").await?;
        let words = "while the machine is restarting: a fork would inherit what made a server end";
        db.refuses("prepare_fork", words).await?;

        db.shell("chmod a+x /usr/sbin/pgbouncer").await?;
        db.is_back().await?;
        let health = db.says_health("ready").await?;
        ensure!(health.ready_since.is_some() && health.pooler.starts > 1);
        ensure!(health.postgres.starts == 1, "{health:?}");
        Ok(())
    })
    .await
}

/// A stop that waits for a transaction says that it stops, tells how Postgres is, and refuses what
/// would only be in its way. Asked again, it is the same stop.
#[tokio::test]
async fn a_machine_that_stops_says_so_as_long_as_it_takes() -> Outcome {
    scenario(async |world| {
        let db = world
            .vm("db")
            .init_option("--stop-budget", "90")
            .boot()
            .await?;
        db.sql("CREATE TABLE t (n int)").await?;
        let open = db.session(Door::Direct).await?;
        open.sql("BEGIN; INSERT INTO t VALUES (1)").await?;
        let first = db.does("shutdown").await?;
        ensure!(
            first.lsn.is_some() && first.flush_lsn.is_some(),
            "{first:?}"
        );
        let health = db.says_health("stopping").await?;
        ensure!(health.ready_since.is_none() && health.postgres.up);
        ensure!(health.wal.flush_lsn.is_some(), "{health:?}");
        for command in ["checkpoint", "reload", "prepare_fork", "archive_now"] {
            let answer = db.refuses(command, "while the machine is stopping").await?;
            let said = answer.error.unwrap_or_default();
            ensure!(said.contains("HINT: start the machine"), "{said}");
        }
        let again = db.does("shutdown").await?;
        ensure!(again.lsn == first.lsn, "{again:?} after {first:?}");

        open.sql("COMMIT").await?;
        let db = db.ends_cleanly().await?.boot().await?;
        ensure!(db.boot_record().await?.wal.clean);
        ensure!(db.ask::<i32>("SELECT n FROM t").await? == 1);
        Ok(())
    })
    .await
}

/// A Postgres that takes connections and answers nobody hangs nobody who asks how it is.
#[tokio::test]
async fn a_postgres_that_hangs_does_not_hang_health() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let before = db.health().await?;
        let frozen = db.freeze_postmaster().await?;
        for health in db.health_for(10).await? {
            ensure!(
                health.unanswered == ["asking Postgres: no answer within 3 s"],
                "{health:?}"
            );
            let (now, then) = (&health.postgres, &before.postgres);
            ensure!(health.state == "ready" && now.up && now.pid == then.pid);
            ensure!(health.wal.redo_lsn == before.wal.redo_lsn, "{health:?}");
            ensure!(health.disk.free_bytes.is_some() && health.boot == before.boot);
        }
        db.refuses("reload", "no answer within 5 s").await?;
        frozen.thaw().await?;
        let health = db
            .comes_to_be("heard again", |health| health.unanswered.is_empty())
            .await?;
        ensure!(health.wal.flush_lsn >= before.wal.flush_lsn, "{health:?}");
        ensure!(health.postgres.starts == 1);
        Ok(())
    })
    .await
}

/// Where clients have taken every connection, the machine still gets in to itself.
#[tokio::test]
async fn a_machine_out_of_connections_is_asked_and_does_all_the_same() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").password("one for both").boot().await?;
        db.user_conf("max_connections = 20\n").await?;
        let db = db.restart().await?;
        db.sql("CREATE ROLE app LOGIN PASSWORD 'one for both'")
            .await?;
        let all = db.use_up_connections_as("app").await?;
        ensure!(all.len() > 5, "{} sessions", all.len());
        for health in db.health_for(10).await? {
            ensure!(health.unanswered.is_empty(), "{health:?}");
        }
        db.does("checkpoint").await?;
        db.does("prepare_fork").await?;
        db.does("reload").await?;
        drop(all);
        Ok(())
    })
    .await
}
