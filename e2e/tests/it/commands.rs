//! Commands of `fake-substrate` from end to end, as a person types them: what they make is what they say.

use anyhow::{Result, ensure};
use e2e::{Outcome, Vm, World, free_port, scenario};

/// The two copies of what is acknowledged lie on two hosts, at first and after one was lost: so the host of the
/// database can be lost again and again.
#[tokio::test]
async fn up_with_a_sink_puts_the_two_on_different_hosts() -> Outcome {
    scenario(async |world| {
        let port = free_port()?;
        let up = ["up", "--sink", "--no-page", "--memory", "512m"];
        let on = ["--volumes", "block", "--port", &port];
        world.command(&[&up[..], &on[..]].concat()).await?;
        let db = world.database("db").await?;
        db.has_its_sink().await?;
        db.sql("CREATE TABLE t (n int)").await?;
        for n in 1..=2 {
            are_apart(world).await?;
            let db = world.database("db").await?;
            let no_flush = world.flushes_fail().await?;
            db.sql(&format!("INSERT INTO t VALUES ({n})")).await?;
            world.command(&["lose-host", "db"]).await?;
            no_flush.heal().await?;
            world.command(&["rehome", "db"]).await?;
            let db = world.database("db").await?;
            let rows: i64 = db.ask("SELECT count(*) FROM t").await?;
            ensure!(rows == n, "after {n} hosts there are {rows} rows");
            db.has_its_sink().await?;
        }
        Ok(())
    })
    .await
}

async fn are_apart(world: &World) -> Result<()> {
    let db = world.machine("db")?.host().await?;
    let sink = world.machine("db-sink")?.host().await?;
    ensure!(db != sink, "the database and its sink are both on {db}");
    Ok(())
}

/// A machine with an archive by one flag, a backup, and machines made of it: as of its end, of a time, a position and
/// a name. Each is a database of its own. What cannot be restored is refused, and leaves nothing.
#[tokio::test]
async fn restore_makes_a_machine_of_another_at_the_moment_that_is_asked_for() -> Outcome {
    scenario(async |world| {
        let memory = ["--memory", "512m"];
        world
            .command(&[&["add", "books", "--archive"], &memory[..]].concat())
            .await?;
        let books = world.database("books").await?;
        books.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        world
            .refuses_command(
                &["restore", "books", "early"],
                &[
                    "there is no whole backup",
                    "take it away: fake-substrate remove early --volume",
                ],
            )
            .await?;
        world.command(&["remove", "early", "--volume"]).await?;
        world.command(&["rpc", "books", "backup"]).await?;

        books.sql("INSERT INTO t VALUES (2)").await?;
        let lsn: String = books.ask("SELECT pg_current_wal_lsn()::text").await?;
        let after = "SELECT (date_trunc('second', clock_timestamp()) + '1 s')::text";
        let time: String = books.ask(after).await?;
        let reached = format!("SELECT clock_timestamp() > '{time}'::timestamptz");
        e2e::until::until_true(e2e::budget::SOON, "a second passes", async || {
            books.ask::<bool>(&reached).await
        })
        .await?;
        books.sql("INSERT INTO t VALUES (3)").await?;
        books
            .sql("SELECT pg_create_restore_point('three rows')")
            .await?;
        books.sql("INSERT INTO t VALUES (4)").await?;

        for (name, to, rows) in [
            ("to-lsn", Some(lsn.as_str()), 2),
            ("to-time", Some(&time), 2),
            ("to-name", Some("three rows"), 3),
            ("to-end", None, 4),
        ] {
            let to: Vec<&str> = to.map_or(Vec::new(), |to| vec!["--to", to]);
            let line = [&["restore", "books", name], &to[..]].concat();
            world.command(&line).await?;
            let restored = world.database(name).await?;
            ensure!(found(&restored).await? == rows, "{name}");
            restored.sql("INSERT INTO t VALUES (99)").await?;
        }
        ensure!(found(&books).await? == 4, "a restore wrote to its source");
        for (line, told) in [
            (["restore", "books", "to-end"], "to-end"),
            (["restore", "to-end", "books"], "books"),
        ] {
            world.refuses_command(&line, &[told]).await?;
        }
        Ok(())
    })
    .await
}

async fn found(vm: &Vm) -> Result<i64> {
    vm.ask("SELECT count(*) FROM t").await
}
