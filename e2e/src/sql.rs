//! Talking SQL to a machine, from the host, as a client with `sslmode=require` does.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fake_substrate::login;
use fake_substrate::machine::metadata::Login;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::budget;
use crate::until::within;

/// Which way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Through PgBouncer.
    Pooled,
    /// To Postgres itself.
    Direct,
}

impl Door {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pooled, Self::Direct];

    /// The port inside of the machine.
    pub const fn port(self) -> u16 {
        match self {
            Self::Pooled => wire::ports::POOLER,
            Self::Direct => wire::ports::DIRECT,
        }
    }

    const fn way(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.way())
    }
}

/// A connection; ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    way: &'static str,
}

impl Session {
    /// Logs in as the superuser on a port of this host.
    pub(crate) async fn open(port: u16, door: Door, login: &Login) -> Result<Self> {
        Self::open_as(Login::USER, port, door, login).await
    }

    /// Logs in on a port of this host.
    pub(crate) async fn open_as(role: &str, port: u16, door: Door, login: &Login) -> Result<Self> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user(role)
            .password(&login.password)
            .dbname(&login.database)
            .application_name("e2e")
            .connect_timeout(Duration::from_secs(10))
            .ssl_mode(SslMode::Require);
        Self::connect(&config, door.way()).await
    }

    /// Logs in to any Postgres, as its address says; what certificate it shows is not looked at.
    pub(crate) async fn of(config: &Config) -> Result<Self> {
        Self::connect(config, "by hand").await
    }

    async fn connect(config: &Config, way: &'static str) -> Result<Self> {
        let tls = MakeRustlsConnect::new(login::unverified_tls()?);
        let opening = within(budget::SOON, format!("a {way} login"), config.connect(tls)).await?;
        let role = config.get_user().unwrap_or_default();
        let (client, connection) =
            opening.with_context(|| format!("logging in as {role} ({way})"))?;
        // Ends with the client; how, the client's own calls tell.
        tokio::spawn(connection);
        Ok(Self { client, way })
    }

    /// Runs statements.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        let ran = self.client.batch_execute(statements).await;
        ran.with_context(|| format!("running ({}): {statements}", self.way))
    }

    /// Asks for one value.
    pub async fn ask<T: FromSqlOwned>(&self, query: &str) -> Result<T> {
        self.ask_with(query, &[]).await
    }

    /// Asks for one value, with parameters.
    pub async fn ask_with<T: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T> {
        let asking = || format!("asking ({}): {query}", self.way);
        let row = self
            .client
            .query_one(query, parameters)
            .await
            .with_context(asking)?;
        row.try_get(0).with_context(asking)
    }

    /// Asks for a column.
    pub async fn list<T: FromSqlOwned>(&self, query: &str) -> Result<Vec<T>> {
        let asking = || format!("asking ({}): {query}", self.way);
        let rows = self.client.query(query, &[]).await.with_context(asking)?;
        rows.iter()
            .map(|row| row.try_get(0).with_context(asking))
            .collect()
    }

    /// What EXPLAIN says, as text.
    pub async fn explain(&self, query: &str) -> Result<String> {
        Ok(self
            .list::<String>(&format!("EXPLAIN {query}"))
            .await?
            .join("\n"))
    }
}
