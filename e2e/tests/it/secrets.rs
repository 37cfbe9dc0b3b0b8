//! Where passwords are not.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

/// Neither the password that a machine was made with nor the one that it was given later is in
/// anything that somebody might read, copy or be sent.
#[tokio::test]
async fn no_password_is_left_anywhere() -> Outcome {
    scenario(async |world| {
        let sentinels = ["sentinel-first-Qx7", "sentinel-second-Vb3"];
        let db = world.vm("db").password(sentinels[0]).boot().await?;
        db.set_metadata("POSTGRES_PASSWORD", sentinels[1]).await?;
        let db = db.restart().await?;
        for door in Door::ALL {
            db.lets_in(door, sentinels[1]).await?;
            db.turns_away(door, sentinels[0]).await?;
        }

        let sql = db.session(Door::Direct).await?;
        let stored = "SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL";
        let verifiers: Vec<String> = sql.list(stored).await?;
        ensure!(!verifiers.is_empty());
        ensure!(
            verifiers
                .iter()
                .all(|verifier| verifier.starts_with("SCRAM-SHA-256$"))
        );

        let statements =
            "SELECT query FROM pg_stat_statements UNION ALL SELECT query FROM pg_stat_activity";
        let statements = sql.list::<String>(statements).await?.join("\n");
        ensure!(
            statements.contains("pg_authid"),
            "the statement views are empty"
        );
        ensure!(
            !statements.contains("SCRAM-SHA-256$4096:"),
            "a verifier is in a statement view"
        );

        let mut told = db.everything_told().await?;
        told.push(("the statement views".to_owned(), statements));
        for (place, text) in &told {
            let leaked = sentinels.iter().find(|sentinel| text.contains(**sentinel));
            ensure!(leaked.is_none(), "{leaked:?} is in {place}");
        }

        // What a table holds is in the files: the search does find what is there.
        db.sql("CREATE TABLE t AS SELECT 'canary-Kd9' AS canary; CHECKPOINT")
            .await?;
        ensure!(
            !db.files_with(&["canary-Kd9"]).await?.is_empty(),
            "the search finds nothing"
        );
        let files = db.files_with(&sentinels).await?;
        ensure!(files.is_empty(), "files that hold a password: {files:?}");
        Ok(())
    })
    .await
}
