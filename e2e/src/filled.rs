//! A database with something in it, and copies of it that Postgres makes: for benchmarks alone.

use std::time::Duration;

use anyhow::Result;
use fake_substrate::machine::metadata::Login;

use crate::sql::{Door, Session};
use crate::stopwatch::timed;
use crate::vm::Vm;

/// The database that is copied: nobody is connected to it.
const SOURCE: &str = "source";
const COPY: &str = "copy_of_source";

impl Vm {
    /// Makes a database with so much in one table, on its disk.
    pub async fn fill(&self, megabytes: u64) -> Result<()> {
        let session = self.session(Door::Direct).await?;
        session.sql(&format!("CREATE DATABASE {SOURCE}")).await?;
        // Eight rows to a page.
        let rows = megabytes << 10;
        let fill = format!(
            "CREATE TABLE filler AS \
             SELECT n, repeat(md5(n::text), 28) AS filler FROM generate_series(1, {rows}) n"
        );
        self.session_in(SOURCE).await?.sql(&fill).await?;
        self.session_in(SOURCE)
            .await?
            .sql("VACUUM ANALYZE filler")
            .await?;
        session.sql("CHECKPOINT").await
    }

    /// Makes a checkpoint, and an empty table for [`Vm::writes_wal`].
    pub async fn begins_anew(&self) -> Result<()> {
        let session = self.session(Door::Direct).await?;
        for statement in [
            "DROP TABLE IF EXISTS recent",
            "CREATE TABLE recent (filler text)",
            "CHECKPOINT",
        ] {
            session.sql(statement).await?;
        }
        Ok(())
    }

    /// Writes so much WAL, by inserting rows: what a crash recovery has to replay.
    pub async fn writes_wal(&self, megabytes: u64) -> Result<()> {
        let session = self.session(Door::Direct).await?;
        // With what Postgres adds to it, a row is a kilobyte of WAL.
        let rows = megabytes << 10;
        let write =
            format!("INSERT INTO recent SELECT repeat('x', 960) FROM generate_series(1, {rows})");
        session.sql(&write).await
    }

    /// Reads all of it once; answers how long that took.
    pub async fn reads_it_all(&self) -> Result<Duration> {
        let session = self.session_in(SOURCE).await?;
        timed(session.ask::<i64>("SELECT count(*) FROM filler")).await
    }

    /// Copies the database by its files, sharing their blocks where the file system can; answers how long
    /// it took until a query of the copy was answered. The copy is gone afterwards.
    pub async fn copies_the_database(&self) -> Result<Duration> {
        let session = self.session(Door::Direct).await?;
        session.sql("SET file_copy_method = clone").await?;
        let took = timed(async {
            let create = format!("CREATE DATABASE {COPY} TEMPLATE {SOURCE} STRATEGY FILE_COPY");
            session.sql(&create).await?;
            self.session_in(COPY).await?.ask::<i32>("SELECT 1").await
        });
        let took = took.await?;
        let drop = format!("DROP DATABASE {COPY} WITH (FORCE)");
        session.sql(&drop).await?;
        Ok(took)
    }

    async fn session_in(&self, database: &str) -> Result<Session> {
        let login = Login {
            database: database.to_owned(),
            ..self.login.clone()
        };
        Session::open(self.port(Door::Direct), Door::Direct, &login).await
    }
}
