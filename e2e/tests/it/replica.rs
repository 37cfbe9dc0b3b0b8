//! A primary and a replica of the same image (D-002, C-003).

use anyhow::{Result, ensure};
use e2e::disk::PGDATA;
use e2e::{Door, Outcome, Vm, scenario};

/// The replica begins with a base backup and follows; both say so, with how far behind. Its restart, and
/// its primary's, cost nothing.
#[tokio::test]
async fn a_replica_follows_its_primary_and_both_say_how_far() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        let standby = db.has_standby("replica").await?;
        ensure!(standby.sync_state == "quorum", "{standby:?}");
        db.sql("CREATE TABLE t AS SELECT 42 AS answer").await?;
        replica.has_caught_up_with(&db).await?;
        ensure!(replica.ask::<i32>("SELECT answer FROM t").await? == 42);
        let refused = replica.sql("INSERT INTO t VALUES (43)").await;
        let words = format!(
            "{:#}",
            refused
                .err()
                .unwrap_or_else(|| anyhow::anyhow!("it writes"))
        );
        ensure!(words.contains("read-only transaction"), "{words}");

        let health = replica.receives().await?;
        ensure!(
            health.in_recovery == Some(true) && health.degraded.is_empty(),
            "{health:?}"
        );
        let upstream = health.upstream.unwrap_or_default();
        ensure!(upstream.slot.as_deref() == Some("replica"), "{upstream:?}");
        let standby = db.has_standby("replica").await?;
        ensure!(standby.sent_lag_bytes.is_some() && standby.replay_lag_bytes.is_some());
        no_password_but_on_tmpfs(&replica).await?;

        let replica = replica.crash().await?.boot().await?;
        replica.receives().await?;
        let replica = replica.restart().await?;
        replica.must_have_an_empty_plan().await?;
        db.sql("INSERT INTO t VALUES (44)").await?;
        replica.has_caught_up_with(&db).await?;
        ensure!(replica.ask::<i64>("SELECT count(*) FROM t").await? == 2);
        Ok(())
    })
    .await
}

/// A replica whose primary is away serves what it has, says what is missing, and goes on by itself; commits
/// of a primary without its standby wait, and are there when it is back.
#[tokio::test]
async fn either_may_be_away_and_both_go_on_when_it_is_back() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        db.sql("CREATE TABLE t (n int)").await?;
        replica.has_caught_up_with(&db).await?;

        let db = db.stop().await?;
        replica
            .is_degraded_by("no WAL comes in from the primary")
            .await?;
        ensure!(replica.ask::<i64>("SELECT count(*) FROM t").await? == 0);
        let replica = replica.restart().await?;
        replica
            .is_degraded_by("no WAL comes in from the primary")
            .await?;
        let db = db.boot().await?;
        replica.receives().await?;
        replica.is_whole().await?;

        let replica = replica.stop().await?;
        let waiting = db.session(Door::Direct).await?;
        let committed = tokio::spawn(async move { waiting.sql("INSERT INTO t VALUES (1)").await });
        db.is_degraded_by("commits wait: none of ANY 1 (\"replica\")")
            .await?;
        ensure!(
            !committed.is_finished(),
            "a commit was acknowledged by nobody else"
        );
        let replica = replica.boot().await?;
        committed.await??;
        db.is_whole().await?;
        replica.has_caught_up_with(&db).await?;
        ensure!(replica.ask::<i64>("SELECT count(*) FROM t").await? == 1);
        Ok(())
    })
    .await
}

/// A primary that was cut off has commits that nobody else ever heard of. It gives them up to follow whoever was
/// promoted meanwhile, and nothing is copied anew.
#[tokio::test]
async fn a_primary_that_wrote_what_nobody_heard_of_is_rewound() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        let cut = world.partition(&db, &replica).await?;
        db.sql("SET synchronous_commit = local; INSERT INTO t SELECT generate_series(2, 5000)")
            .await?;
        let db = db.crash().await?;
        cut.heal().await?;
        replica.promote().await?;
        replica.answers_again().await?;
        replica.sql("INSERT INTO t VALUES (2)").await?;

        let db = db.as_tier("replica").await?.boot().await?;
        db.expect_log("rewinding timeline 1").await?;
        db.receives().await?;
        let log = db.log().await?;
        let copied = log.iter().find(|line| line.contains("base backup"));
        ensure!(copied.is_none(), "it was sent anew: {copied:?}");
        replica.is_intact().await?;
        db.has_caught_up_with(&replica).await?;
        ensure!(db.ask::<i64>("SELECT count(*) FROM t").await? == 2);
        db.is_intact_as_a_standby().await
    })
    .await
}

/// A primary whose host was lost, and that nobody promoted over, is on the same timeline as its replicas and
/// behind them: what was acknowledged since the flush point is with a replica alone. Opening would give it up, also
/// when all were down and the primary is up first, or beside a replica that has less.
#[tokio::test]
async fn a_primary_that_fell_back_behind_its_replica_does_not_open() -> Outcome {
    const MEMBERS: [&str; 3] = ["db", "near", "far"];
    scenario(async |world| {
        let db = world.vm("db").primary_with(["near", "far"])?;
        let db = db.on_host("host-1").boot().await?;
        let near = world.vm("near").replica_in(MEMBERS)?.on_host("host-2");
        let near = near.boot().await?;
        let far = world.vm("far").replica_in(MEMBERS)?.on_host("host-2");
        let far = far.boot().await?;
        for standby in ["near", "far"] {
            db.has_standby(standby).await?;
        }
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let far = far.crash().await?;
        db.flush().await?;
        let no_flush = db.flush_fails().await?;
        ledger.reaches(ledger.so_far().rows() + 200).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;

        let near = near.crash().await?;
        let old = lost.rehome().await?.start().await?;
        old.expect_log("waiting for an answer of near and of far")
            .await?;
        let far = far.boot().await?;
        old.expect_log("waiting for an answer of near:").await?;
        let near = near.boot().await?;
        let old = old.ended().await?;
        old.must_have_said("instance near, which follows this machine, has WAL up to")
            .await?;
        old.must_have_said(
            "HINT: `promote` that machine, and boot this one with BEYOND_PG_TIER=replica",
        )
        .await?;

        near.promote().await?;
        near.answers_again().await?;
        all.is_kept_by(&near).await?;
        let old = old.as_tier("replica").await?.boot().await?;
        for standby in [old.receives().await.map(|_| &old)?, &far] {
            standby.has_caught_up_with(&near).await?;
            all.is_kept_by(standby).await?;
        }
        Ok(())
    })
    .await
}

/// A primary that crashed may lack what its replica has, and waits for it, until the metadata names nobody.
#[tokio::test]
async fn a_primary_waits_for_its_replica_until_it_is_told_that_there_is_none() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        db.sql("CREATE TABLE t AS SELECT 42 AS answer").await?;
        let replica = replica.stop().await?;

        let waiting = db.crash().await?.start().await?;
        let words = "waiting for an answer of replica: this volume was not shut down";
        waiting.expect_log(words).await?;
        waiting.is_degraded_by(words).await?;
        let db = waiting.stop().await?;
        db.set_metadata("BEYOND_PG_SYNC_STANDBYS", "").await?;
        let db = db.boot().await?;
        ensure!(db.ask::<i32>("SELECT answer FROM t").await? == 42);
        db.sql("INSERT INTO t VALUES (43)").await?;

        let replica = replica.boot().await?;
        replica.has_caught_up_with(&db).await?;
        ensure!(replica.ask::<i64>("SELECT count(*) FROM t").await? == 2);
        Ok(())
    })
    .await
}

/// A promotion outlives a crash though the metadata still says replica, and the names that commits wait for
/// do; both end when the metadata says something new. What makes no sense is refused.
#[tokio::test]
async fn what_an_rpc_made_of_a_machine_stays_until_its_metadata_says_something_new() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        db.refuses("promote", "cannot do promote on a machine of tier primary")
            .await?;
        let refused = replica.wait_for_standbys(&["db"]).await?;
        ensure!(
            refused
                .error
                .unwrap_or_default()
                .contains("commits are its primary's")
        );
        let refused = db.wait_for_standbys(&["*"]).await?;
        ensure!(
            refused
                .error
                .unwrap_or_default()
                .contains("\"*\" is no name of a standby")
        );

        let set = db.wait_for_standbys(&[]).await?;
        ensure!(
            set.ok && set.sync_standbys.as_deref() == Some(""),
            "{set:?}"
        );
        let db = db.crash().await?.boot().await?;
        db.comes_to_show("synchronous_standby_names", "").await?;
        let db = db.stop().await?;

        let promoted = replica.promote().await?;
        replica.answers_again().await?;
        let set = replica.wait_for_standbys(&[]).await?;
        ensure!(set.ok, "{set:?}");
        let replica = replica.crash().await?.boot().await?;
        replica.sql("CREATE TABLE t AS SELECT 1 AS one").await?;
        let again = replica.promote().await?;
        ensure!(
            (again.lsn, again.timeline) == (promoted.lsn, promoted.timeline),
            "{again:?}"
        );

        let replica = replica
            .stop()
            .await?
            .as_tier("primary")
            .await?
            .boot()
            .await?;
        replica.sql("INSERT INTO t VALUES (2)").await?;
        replica
            .refuses("promote", "cannot do promote on a machine of tier primary")
            .await?;
        replica.must_have_an_empty_plan().await?;
        drop(db);
        Ok(())
    })
    .await
}

/// A volume that follows is opened for writes by a promotion alone.
#[tokio::test]
async fn a_volume_that_follows_is_no_primary_because_its_metadata_says_so() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        let db = db.stop().await?;
        let replica = replica.stop().await?.as_tier("primary").await?;
        let replica = replica.start().await?.ended().await?;
        replica
            .must_have_said("follows a primary, and this machine was asked to be tier primary")
            .await?;
        let _db = db.boot().await?;
        let replica = replica.as_tier("replica").await?.boot().await?;
        replica.receives().await.map(drop)
    })
    .await
}

/// A folder that a rewind was cut in is of no use: a base backup replaces it, and its WAL.
#[tokio::test]
async fn what_a_rewind_that_was_cut_left_is_replaced_by_a_base_backup() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.on_folder();
        let replica = replica.boot().await?;
        db.has_standby("replica").await?;
        db.sql("CREATE TABLE t AS SELECT 42 AS answer").await?;
        let replica = replica.stop().await?;
        let half = format!("echo '\"begun\"' > {PGDATA}/../rewind.json; rm -r {PGDATA}/base {PGDATA}/standby.signal");
        replica.on_volume(&half).await?;

        let replica = replica.boot().await?;
        replica.expect_log("replace what a rewind that was cut left").await?;
        replica.expect_log("base backup from instance db").await?;
        replica.receives().await?;
        replica.has_caught_up_with(&db).await?;
        ensure!(replica.ask::<i32>("SELECT answer FROM t").await? == 42);
        let left = replica.shell(&format!("cd {PGDATA}/..; ls")).await?;
        ensure!(left.split_whitespace().eq(["main", "wal"]), "{left}");
        replica.restart().await?.must_have_an_empty_plan().await
    })
    .await
}

/// A replica on a copy of its primary's volume: nothing is sent twice, it stays on its primary's timeline, and
/// the slots of its parent are not on it.
#[tokio::test]
async fn a_fork_of_the_primary_becomes_its_replica_without_a_copy() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["fork"])?.on_block_volume();
        let db = db.boot().await?;
        db.sql("SELECT pg_create_physical_replication_slot('of_another')")
            .await?;
        db.sql("SET synchronous_commit = local; CREATE TABLE t AS SELECT 1 AS n")
            .await?;
        let fork = db.fork("fork").replica_of("db")?.boot().await?;
        fork.expect_log("follow the primary from a copy of its volume")
            .await?;
        let log = fork.log().await?;
        ensure!(
            !log.iter().any(|line| line.contains("base backup")),
            "it was sent anew"
        );
        db.has_standby("fork").await?;
        db.sql("INSERT INTO t VALUES (2)").await?;
        fork.has_caught_up_with(&db).await?;
        ensure!(fork.ask::<i64>("SELECT count(*) FROM t").await? == 2);
        let health = fork.receives().await?;
        ensure!(health.timeline == Some(1), "{health:?}");
        let slots = "SELECT count(*) FROM pg_replication_slots";
        ensure!(
            fork.ask::<i64>(slots).await? == 0,
            "a slot of its parent is there"
        );
        let fork = fork.crash().await?.boot().await?;
        fork.receives().await?;
        fork.restart().await?.must_have_an_empty_plan().await
    })
    .await
}

/// A consumer of changes goes on at the promoted replica: nothing is missing, and what comes again is what it
/// confirmed last.
#[tokio::test]
async fn a_logical_slot_goes_on_at_the_promoted_replica() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.boot().await?;
        db.has_standby("replica").await?;
        db.make_failover_slot("changes").await?;
        replica.has_slot_of(&db, "changes").await?;
        let confirmed = db.changes("changes").await?.last().copied().unwrap_or(0);
        let confirmed = confirmed.max(db.ask("SELECT max(n) FROM numbers").await?);
        db.sql(&format!(
            "INSERT INTO numbers SELECT generate_series({confirmed} + 1, {confirmed} + 4)"
        ))
        .await?;
        db.crash().await?;

        replica.promote().await?;
        replica.answers_again().await?;
        replica
            .sql("INSERT INTO numbers SELECT max(n) + 1 FROM numbers")
            .await?;
        let rest = replica.changes("changes").await?;
        let first = rest.first().copied().unwrap_or(0);
        ensure!(
            first <= confirmed + 1,
            "{confirmed} confirmed, then {rest:?}"
        );
        ensure!(
            rest == (first..=confirmed + 5).collect::<Vec<_>>(),
            "{rest:?}"
        );
        eprintln!("{confirmed} confirmed; at the promoted replica came {rest:?}");
        Ok(())
    })
    .await
}

async fn no_password_but_on_tmpfs(replica: &Vm) -> Result<()> {
    let find = "grep -rl 'only replication [k]nows' /var/lib/postgresql/18/main/conf.d \
                /var/lib/postgresql/18/main/postgresql.auto.conf /etc/postgresql /run/beyond-pg \
                /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true";
    let found = replica.shell(find).await?;
    ensure!(found.trim() == "/run/beyond-pg/pgpass.standby", "{found}");
    let mode = replica
        .shell("stat -c '%a %U' /run/beyond-pg/pgpass.standby")
        .await?;
    ensure!(mode.trim() == "600 postgres", "{mode}");
    Ok(())
}
