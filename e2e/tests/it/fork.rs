//! A machine on a copy of another's volume: it has everything that was acknowledged, it goes its own
//! way, and its parent never hears of it.

use anyhow::{Context as _, Result, ensure};
use e2e::disk::{CONF_D, PGDATA};
use e2e::{Cut, Door, Outcome, Stopped, Vm, scenario};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many forks are cut and completed at a time.
const AT_A_TIME: usize = 3;

/// Every commit that was acknowledged before the fork is in it. From then on both write, and neither
/// sees the other; the fork has a timeline, a password and a key of its own.
#[tokio::test]
async fn a_fork_has_what_was_acknowledged_and_goes_its_own_way() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").password("the parent's").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let before = ledger.so_far();
        let fork = db.fork("fork").password("the fork's").boot().await?;
        before.is_kept_by(&fork).await?;
        ledger.reaches(before.rows() + 100).await?;

        fork.sql("CREATE TABLE of_the_fork AS SELECT 1 AS n")
            .await?;
        for door in Door::ALL {
            fork.lets_in(door, "the fork's").await?;
            fork.turns_away(door, "the parent's").await?;
            db.lets_in(door, "the parent's").await?;
        }
        ensure!(timeline(&fork).await? == 2 && timeline(&db).await? == 1);
        let key = format!("sha256sum <{PGDATA}/beyond/server.key");
        ensure!(fork.shell(&key).await? != db.shell(&key).await?);
        let there: bool = db
            .ask("SELECT to_regclass('of_the_fork') IS NOT NULL")
            .await?;
        ensure!(!there, "the parent has what the fork wrote");

        let changed = fork.boot_record().await?.changed.join("\n");
        ensure!(
            changed.contains("on timeline 1; this is instance"),
            "{changed}"
        );
        db.crash_postgres().await?;
        let promise = ledger.cut_off().await?;
        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        fork.must_have_an_empty_plan().await?;

        // Once: the next boot is an ordinary one.
        let fork = fork.restart().await?;
        ensure!(timeline(&fork).await? == 2);
        ensure!(fork.boot_record().await?.wal.clean);
        Ok(())
    })
    .await
}

/// A parent that has only just been switched on is waited for: whoever asks for a fork need not know how
/// far it is.
#[tokio::test]
async fn a_fork_of_a_machine_that_starts_waits_for_it() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.hold_crash_recovery().await?;
        // Enough to replay that the recovery is there to be held.
        db.sql(
            "CREATE TABLE much AS SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n",
        )
        .await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let db = db.crash().await?.start().await?;
        let promise = ledger.cut_off().await?;
        db.comes_to_be("in recovery", |health| health.in_recovery == Some(true))
            .await?;
        let (fork, recovered) =
            futures_util::join!(db.fork("fork").boot(), db.let_recovery_go_on());
        recovered?;
        promise.is_kept_by(&fork?).await?;
        promise.is_kept_by(&db.ready().await?).await
    })
    .await
}

async fn timeline(db: &Vm) -> Result<u32> {
    let health = db.rpc("health").await?.health.context("no health")?;
    health.timeline.context("no timeline")
}

/// What the parent has that reaches out of it does not reach out of the fork: slots are gone,
/// subscriptions and jobs stand still, nobody is waited for. On the parent all of it goes on.
#[tokio::test]
async fn nothing_of_the_parents_acts_out_of_the_fork() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let direct = db.session(Door::Direct).await?;
        for statement in [
            "CREATE DATABASE other",
            "SELECT pg_create_physical_replication_slot('a_replica', true)",
            "SELECT pg_create_logical_replication_slot('a_consumer', 'pgoutput', false, false, true)",
            "CREATE TABLE published (n int)",
            "CREATE UNLOGGED TABLE scratch AS SELECT 1 AS n",
            "CREATE PUBLICATION everything FOR ALL TABLES",
            "CREATE SUBSCRIPTION from_afar CONNECTION 'host=192.0.2.1 dbname=x connect_timeout=1'
                PUBLICATION p WITH (connect = false, slot_name = 'theirs')",
            "ALTER SUBSCRIPTION from_afar ENABLE",
            "SELECT cron.schedule('hourly', '0 * * * *', 'SELECT 1')",
        ] {
            direct.sql(statement).await?;
        }
        db.shell(&format!(
            "echo \"synchronous_standby_names = 'the_parents_standby'\" >>{CONF_D}/99-user.conf"
        ))
        .await?;

        let fork = db.fork("fork").boot().await?;
        fork.sql("CREATE TABLE commits_are_not_waited_for (n int)").await?;
        let count = async |db: &Vm, what: &str| {
            db.ask::<i64>(&format!("SELECT count(*) FROM {what}")).await
        };
        for (what, in_parent, in_fork) in [
            ("pg_replication_slots", 2, 0),
            ("pg_subscription WHERE subenabled", 1, 0),
            ("pg_subscription WHERE subslotname IS NOT NULL", 1, 0),
            ("pg_subscription", 1, 1),
            ("pg_publication", 1, 1),
            ("cron.job WHERE active AND jobname = 'hourly'", 1, 0),
            ("cron.job WHERE active AND jobname LIKE 'beyond-%'", 1, 1),
            ("scratch", 1, 0),
        ] {
            let found = (count(&db, what).await?, count(&fork, what).await?);
            ensure!(found == (in_parent, in_fork), "{what}: in parent and fork {found:?}");
        }
        // With the parent's slot in it, this would drop it there.
        fork.session(Door::Direct)
            .await?
            .sql("DROP SUBSCRIPTION from_afar")
            .await?;
        ensure!(count(&db, "pg_replication_slots").await? == 2);

        let changed = fork.boot_record().await?.changed.join("\n");
        for words in [
            "dropped the parent's replication slot a_consumer",
            "dropped the parent's replication slot a_replica",
            "disabled subscription from_afar in postgres",
            "paused cron job 2 hourly",
            "emptied unlogged table scratch in postgres",
        ] {
            ensure!(changed.contains(words), "not in the boot record: {words}: {changed}");
        }
        Ok(())
    })
    .await
}

/// A fork of a fork, several at once, and of a machine that is off.
#[tokio::test]
async fn forks_fork_again_and_siblings_never_meet() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql("CREATE TABLE t AS SELECT 'db' AS who").await?;
        let one = db.fork("one").boot().await?;
        one.sql("INSERT INTO t VALUES ('one')").await?;
        let db = db.stop().await?;
        let two = db.fork("two").boot().await?;
        let grandchild = one.fork("grandchild").boot().await?;
        grandchild
            .sql("INSERT INTO t VALUES ('grandchild')")
            .await?;

        for (vm, whole, on) in [
            (&one, "db one", 2),
            (&two, "db", 2),
            (&grandchild, "db one grandchild", 3),
        ] {
            let who: String = vm.ask("SELECT string_agg(who, ' ') FROM t").await?;
            ensure!(who == whole, "{}: {who}", vm.name());
            ensure!(
                timeline(vm).await? == on,
                "{} is on another timeline",
                vm.name()
            );
        }
        let db = db.boot().await?;
        ensure!(db.boot_record().await?.wal.clean && timeline(&db).await? == 1);
        Ok(())
    })
    .await
}

/// A parent that runs on what worked last, because its user's file has a line that Postgres refuses, is
/// forked like any other: the fork leaves it on the same terms and says the same of that line.
#[tokio::test]
async fn a_machine_whose_configuration_is_refused_can_be_forked() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.user_conf("work_men = '1MB'\n").await?;
        let db = db.restart().await?;
        let words = "not applied: your 99-user.conf line 1 (work_men)";
        db.complains(words).await?;

        let fork = db.fork("fork").boot().await?;
        fork.complains(words).await?;
        ensure!(timeline(&fork).await? == 2 && timeline(&db).await? == 1);
        fork.user_conf("").await?;
        fork.restart().await?.is_well().await
    })
    .await
}

/// Wherever a fork is cut while it leaves its parent, nobody has been let in, and the next boot ends
/// where an uncut one does: on the one timeline that follows the parent's, with nothing of the parent's
/// that acts.
#[tokio::test]
async fn a_fork_that_is_cut_at_any_step_is_completed_by_the_next_boot() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let direct = db.session(Door::Direct).await?;
        direct
            .sql("SELECT pg_create_physical_replication_slot('a_replica', true)")
            .await?;
        let db = db.stop().await?;
        let uncut = db.fork("uncut").boot().await?;
        let log = uncut.log().await?;
        let steps = log
            .iter()
            .filter_map(|line| line.split_once(" boot ")?.1.split_once('/'))
            .take_while(|(_, rest)| !rest.ends_with("start Postgres"))
            .filter_map(|(number, _)| number.parse::<usize>().ok())
            .max()
            .context("no step in the log of a fork")?;
        ensure!(steps > 10, "{steps} steps do not make a fork");

        stream::iter(1..=steps)
            .map(|step| cut_and_complete(&db, step))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await
    })
    .await
}

async fn cut_and_complete(parent: &Stopped, step: usize) -> Result<()> {
    let cut = parent.fork(&format!("cut-{step}")).cut(Cut::After(step));
    let cut = cut.start().await?.ended().await?;
    cut.must_have_been_cut(Cut::After(step)).await?;
    let log = cut.log().await?;
    ensure!(
        !log.iter()
            .any(|line| line.contains("process up: PgBouncer")),
        "cut after step {step}: clients could get in"
    );

    let fork = cut.with_the_released_image().boot().await?;
    let on = timeline(&fork).await?;
    ensure!(on == 2, "cut after step {step}, then booted: timeline {on}");
    ensure!(
        fork.ask::<i64>("SELECT count(*) FROM pg_replication_slots")
            .await?
            == 0
    );
    ensure!(fork.ask::<i32>("SELECT answer FROM kept").await? == 42);
    fork.must_have_an_empty_plan().await?;
    fork.crash().await?.remove().await
}
