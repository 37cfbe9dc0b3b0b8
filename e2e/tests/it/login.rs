//! Who gets in, and how.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

/// A machine that boots for the first time lets clients in on both ports, over TLS, and only with
/// the right password.
#[tokio::test]
async fn a_new_machine_lets_clients_in_on_both_ports_and_only_with_its_password() -> Outcome {
    scenario(async |world| {
        let db = world
            .vm("db")
            .password("correct horse battery")
            .boot()
            .await?;
        for door in Door::ALL {
            let query = "SELECT current_user || ' ' || current_setting('ssl')";
            let psql = world
                .psql(&db, door, "correct horse battery", query)
                .await?;
            ensure!(
                psql.exit_code == 0 && psql.stdout == "postgres on\n",
                "{door}: {psql:?}"
            );

            let psql = world.psql(&db, door, "correct horse", query).await?;
            ensure!(
                psql.exit_code == 2 && psql.stdout.is_empty(),
                "{door}: {psql:?}"
            );
            ensure!(
                psql.stderr.contains("authentication failed"),
                "{door}: {psql:?}"
            );

            db.lets_in(door, "correct horse battery").await?;
            db.turns_away(door, "").await?;
        }
        let direct = db.session(Door::Direct).await?;
        let version: String = direct
            .ask("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
            .await?;
        ensure!(
            version == "TLSv1.3",
            "a client that offers TLS 1.3 got {version}"
        );
        Ok(())
    })
    .await
}

/// Roles that users make get in through the pooler as well, until their time is up.
#[tokio::test]
async fn the_pooler_knows_every_role_and_honours_the_end_of_its_validity() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql(
            "CREATE ROLE current LOGIN PASSWORD 'x' VALID UNTIL '2999-01-01';
             CREATE ROLE expired LOGIN PASSWORD 'x' VALID UNTIL '1999-01-01';
             CREATE ROLE locked NOLOGIN PASSWORD 'x';",
        )
        .await?;
        for door in Door::ALL {
            db.lets_in_as("current", door, "x").await?;
        }
        db.turns_away_as("expired", Door::Direct, "x", "authentication failed")
            .await?;
        // The pooler learns of no role that may not log in, and says so.
        db.turns_away_as("expired", Door::Pooled, "x", "no such user")
            .await?;
        db.turns_away_as("locked", Door::Pooled, "x", "no such user")
            .await?;
        Ok(())
    })
    .await
}
