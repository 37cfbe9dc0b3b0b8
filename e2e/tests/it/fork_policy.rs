//! What a copy of a volume brings along, and what becomes of it: the table of docs/forks.md, row by row.

use anyhow::ensure;
use e2e::disk::PGDATA;
use e2e::{Door, Outcome, scenario};

/// A transaction that was prepared on the parent is in the fork as it was: its rows are not seen, its
/// locks are held, the fork says so, and either machine ends its own without the other.
#[tokio::test]
async fn a_prepared_transaction_is_kept_and_named_and_each_machine_ends_its_own() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.user_conf("max_prepared_transactions = 5\n").await?;
        let db = db.restart().await?;
        let direct = db.session(Door::Direct).await?;
        for statement in [
            "CREATE TABLE transfers (n int)",
            "BEGIN",
            "INSERT INTO transfers VALUES (1)",
            "PREPARE TRANSACTION 'between two banks'",
        ] {
            direct.sql(statement).await?;
        }

        let fork = db.fork("fork").boot().await?;
        let changed = fork.boot_record().await?.changed.join("\n");
        let words = "kept prepared transaction between two banks in postgres";
        ensure!(changed.contains(words), "{changed}");
        let seen = "SELECT count(*) FROM transfers";
        let pending = "SELECT count(*) FROM pg_prepared_xacts";
        for vm in [&db, &fork] {
            ensure!(vm.ask::<i64>(seen).await? == 0 && vm.ask::<i64>(pending).await? == 1);
        }
        let of_fork = fork.session(Door::Direct).await?;
        let locked = of_fork
            .sql("SET lock_timeout = '100ms'; TRUNCATE transfers")
            .await;
        ensure!(locked.is_err(), "its locks are not held in the fork");

        of_fork.sql("COMMIT PREPARED 'between two banks'").await?;
        ensure!(fork.ask::<i64>(seen).await? == 1 && db.ask::<i64>(pending).await? == 1);
        direct.sql("ROLLBACK PREPARED 'between two banks'").await?;
        ensure!(db.ask::<i64>(seen).await? == 0 && fork.ask::<i64>(seen).await? == 1);
        Ok(())
    })
    .await
}

/// Locks and temporary tables of the parent's sessions are the parent's; a sequence goes on behind
/// every value that the parent has given out before the fork.
#[tokio::test]
async fn what_belongs_to_sessions_stays_with_the_parent_and_no_sequence_value_comes_twice()
-> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let direct = db.session(Door::Direct).await?;
        direct.sql("CREATE SEQUENCE numbers").await?;
        direct
            .sql("SELECT pg_advisory_lock(7); CREATE TEMPORARY TABLE of_a_session AS SELECT 1 AS n")
            .await?;
        let given = "SELECT max(nextval('numbers')) FROM generate_series(1, 40)";
        let given: i64 = direct.ask(given).await?;

        let fork = db.fork("fork").boot().await?;
        let of_fork = fork.session(Door::Direct).await?;
        ensure!(
            of_fork
                .ask::<bool>("SELECT pg_try_advisory_lock(7)")
                .await?
        );
        let bytes = "SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint
            FROM pg_class WHERE relpersistence = 't'";
        ensure!(direct.ask::<i64>(bytes).await? > 0 && of_fork.ask::<i64>(bytes).await? == 0);
        let next: i64 = of_fork.ask("SELECT nextval('numbers')").await?;
        ensure!(next > given && next <= given + 33, "{given}, then {next}");
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        ensure!(
            db.ask::<i64>(held).await? == 1,
            "the parent has lost its lock"
        );
        Ok(())
    })
    .await
}

/// Where the parent ships its WAL to is not where the fork does: what `ALTER SYSTEM` set about archive,
/// sink and standbys goes, and whoever followed the parent follows it still.
#[tokio::test]
async fn the_parents_archive_and_those_who_follow_it_never_see_the_fork() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let archive = format!("{PGDATA}/../archive");
        db.shell(&format!("install -d -o postgres {archive}"))
            .await?;
        let direct = db.session(Door::Direct).await?;
        for statement in [
            &format!("ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'"),
            "ALTER SYSTEM SET primary_conninfo = 'host=192.0.2.1'",
            "ALTER SYSTEM SET work_mem = '5MB'",
            "SELECT pg_reload_conf()",
            "SELECT pg_create_logical_replication_slot('follower', 'test_decoding')",
            "CREATE TABLE news (n int)",
        ] {
            direct.sql(statement).await?;
        }

        let fork = db.fork("fork").boot().await?;
        fork.sql("INSERT INTO news VALUES (2)").await?;
        db.sql("INSERT INTO news VALUES (1)").await?;
        for (setting, of_fork) in [
            ("archive_command", "/usr/local/bin/beyond-pg archive %p %f"),
            ("primary_conninfo", ""),
            // The rest of what was set by hand is the user's wish like any other.
            ("work_mem", "5MB"),
        ] {
            let found = fork.shows(setting).await?;
            ensure!(found == of_fork, "{setting} is {found} on the fork");
        }
        ensure!(db.shows("archive_command").await?.starts_with("cp "));
        let heard: Vec<String> = direct
            .list("SELECT data FROM pg_logical_slot_get_changes('follower', NULL, NULL)")
            .await?;
        let heard = heard.join("\n");
        ensure!(
            heard.contains("n[integer]:1") && !heard.contains("n[integer]:2"),
            "{heard}"
        );
        Ok(())
    })
    .await
}
