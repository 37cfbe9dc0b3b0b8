//! A connection as the superuser over the socket, which needs no password (I-002).

use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::layout::Layout;

/// What a boot does must not depend on what users make of the superuser's defaults. A statement that
/// hangs longer than five minutes is given up: most wait for a lock that somebody holds. One whose
/// session was dropped here ends there, too, within a second, instead of going on for nobody. Its commits wait for no other machine:
/// a sink gets its role from them, and each boot makes them true again.
const OUR_OWN_DEFAULTS: &str = "
    SET statement_timeout = '5min';
    SET default_transaction_read_only = off;
    SET search_path = public;
    SET client_connection_check_interval = '1s';
    SET synchronous_commit = local;
    SET session_replication_role = origin";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("connecting to database `{database}` over the socket in {socket}")]
    Connect {
        database: String,
        socket: String,
        source: tokio_postgres::Error,
    },
    #[error(
        "connecting to database `{database}` over the socket in {socket}: no answer within 5 s"
    )]
    Silent { database: String, socket: String },
    #[error("preparing the session in database `{database}`")]
    Prepare {
        database: String,
        source: tokio_postgres::Error,
    },
}

/// Ends with its owner.
pub(crate) struct Session {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closing the socket ends the backend; there is nothing to wait for.
        self.connection.abort();
    }
}

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Session {
    pub(crate) async fn open(layout: &Layout, database: &str) -> Result<Session, SessionError> {
        Session::open_at(&layout.socket_dir(), database).await
    }

    /// To a server whose socket lies in that folder.
    pub(crate) async fn open_at(folder: &Path, database: &str) -> Result<Session, SessionError> {
        let socket = folder.display().to_string();
        let mut config = Config::new();
        config
            .host_path(folder)
            .port(wire::ports::DIRECT)
            .user("postgres")
            .dbname(database)
            .application_name("beyond-pg");
        let database = database.to_owned();
        let (client, connection) =
            match tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(source)) => {
                    return Err(SessionError::Connect {
                        database,
                        socket,
                        source,
                    });
                }
                Err(_) => return Err(SessionError::Silent { database, socket }),
            };
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a session of beyond-pg ended: {error}");
            }
        });
        let session = Session { client, connection };
        session
            .batch_execute(OUR_OWN_DEFAULTS)
            .await
            .map_err(|source| SessionError::Prepare { database, source })?;
        Ok(session)
    }
}
