//! What must be true inside the server before clients get in: each item is checked first and changed
//! only when it is not, in a transaction of its own, so that one that fails takes no other with it
//! (facts E 77) and a boot that is cut repeats nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::boot::gap::Whose;
use thiserror::Error;
use tokio_postgres::Transaction;
use wire::lsn::Lsn;

use crate::layout::Layout;
use crate::manifest::Extension;
use crate::postgres::scram;
use crate::postgres::session::{Session, SessionError};
use crate::settings::{REPLICATION_ROLE, Secret};

/// Where roles, the pooler's function and pg_cron live.
pub(crate) const MAINTENANCE_DATABASE: &str = "postgres";
pub(crate) const SUPERUSER: &str = "postgres";

/// One thing that must be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ensure {
    SuperuserPassword,
    PoolerAccess,
    /// The role that a sink logs in as, with this password.
    ReplicationRole(Secret),
    /// That role may read what pg_rewind reads: all that a base backup would give it anyway.
    RewindAccess,
    Database(String),
    Extension {
        database: String,
        extension: Extension,
        available: String,
    },
}

impl fmt::Display for Ensure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ensure::SuperuserPassword => write!(f, "ensure the superuser's password"),
            Ensure::PoolerAccess => write!(f, "ensure the pooler's role and auth_query function"),
            Ensure::ReplicationRole(_) => write!(f, "ensure the role {REPLICATION_ROLE}"),
            Ensure::RewindAccess => write!(f, "ensure that {REPLICATION_ROLE} can rewind"),
            Ensure::Database(name) => write!(f, "ensure database {name}"),
            Ensure::Extension {
                database,
                extension,
                available,
            } => {
                write!(
                    f,
                    "ensure extension {} {available} in {database}",
                    extension.name
                )
            }
        }
    }
}

impl Ensure {
    /// A failure is reported by name and does not stop the boot (contract 7).
    pub(crate) fn is_advisory(&self) -> bool {
        match self {
            Ensure::Extension { .. } => true,
            Ensure::SuperuserPassword
            | Ensure::PoolerAccess
            | Ensure::ReplicationRole(_)
            | Ensure::RewindAccess
            | Ensure::Database(_) => false,
        }
    }
}

/// What an item took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unchanged,
    Changed(String),
}

#[derive(Debug, Error)]
pub(crate) enum EnsureError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("making a SCRAM verifier: the system gave no randomness")]
    Random(#[source] ring::error::Unspecified),
    #[error(
        "recovery ended at {end}, before the end of the {whose}'s WAL at {until}: acknowledged commits are missing\n\
         HINT: stop the machine, keep the volume and what the {whose} has, and compare their WAL with pg_waldump"
    )]
    Short {
        end: Lsn,
        /// Who had it: the sink or the archive.
        whose: Whose,
        until: Lsn,
    },
    #[error("{item}")]
    Sql {
        item: String,
        source: tokio_postgres::Error,
    },
}

/// The sessions of one post-start pass: one for each database, opened when first needed.
pub(crate) struct PostStart<'a> {
    socket: PathBuf,
    password: &'a Secret,
    sessions: BTreeMap<String, Session>,
}

impl<'a> PostStart<'a> {
    pub(crate) fn new(layout: &Layout, password: &'a Secret) -> PostStart<'a> {
        PostStart::at(layout.socket_dir(), password)
    }

    /// The same with a server whose socket lies in that folder.
    pub(crate) fn at(socket: PathBuf, password: &'a Secret) -> PostStart<'a> {
        PostStart {
            socket,
            password,
            sessions: BTreeMap::new(),
        }
    }

    pub(crate) async fn apply(&mut self, item: &Ensure) -> Result<Outcome, EnsureError> {
        let sql = |source| EnsureError::Sql {
            item: item.to_string(),
            source,
        };
        match item {
            Ensure::SuperuserPassword => {
                let password = self.password;
                let session = self.session(MAINTENANCE_DATABASE).await?;
                let stored = superuser_verifier(session).await.map_err(sql)?;
                if stored.is_some_and(|stored| scram::matches(&stored, password)) {
                    return Ok(Outcome::Unchanged);
                }
                let verifier = scram::verifier(password).map_err(EnsureError::Random)?;
                set_superuser_verifier(session, &verifier)
                    .await
                    .map_err(sql)
            }
            Ensure::PoolerAccess => pooler_access(self.session(MAINTENANCE_DATABASE).await?)
                .await
                .map_err(sql),
            Ensure::ReplicationRole(password) => {
                let session = self.session(MAINTENANCE_DATABASE).await?;
                let stored = replication_verifier(session).await.map_err(sql)?;
                if stored.is_some_and(|stored| scram::matches(&stored, password)) {
                    return Ok(Outcome::Unchanged);
                }
                let verifier = scram::verifier(password).map_err(EnsureError::Random)?;
                set_replication_role(session, &verifier).await.map_err(sql)
            }
            Ensure::RewindAccess => {
                let session = self.session(MAINTENANCE_DATABASE).await?;
                rewind_access(session).await.map_err(sql)
            }
            Ensure::Database(name) => database(self.session(MAINTENANCE_DATABASE).await?, name)
                .await
                .map_err(sql),
            Ensure::Extension {
                database,
                extension,
                available,
            } => {
                let session = self.session(database).await?;
                install(session, extension, available).await.map_err(sql)
            }
        }
    }

    async fn session(&mut self, database: &str) -> Result<&mut Session, SessionError> {
        // A session whose backend is gone (a crash between two steps) is opened again.
        if self
            .sessions
            .get(database)
            .is_none_or(|session| session.is_closed())
        {
            let session = Session::open_at(&self.socket, database).await?;
            self.sessions.insert(database.to_owned(), session);
        }
        match self.sessions.get_mut(database) {
            Some(session) => Ok(session),
            None => unreachable!("the session for {database} was inserted above"),
        }
    }
}

type Sql<T> = Result<T, tokio_postgres::Error>;

/// Statements that carry a verifier leave no trace in the log or the statement views (facts E 72).
const UNSEEN: &str = "SET LOCAL log_statement = 'none';
    SET LOCAL log_min_duration_statement = -1;
    SET LOCAL log_min_error_statement = 'panic';
    SET LOCAL pg_stat_statements.track_utility = off;";

async fn superuser_verifier(session: &Session) -> Sql<Option<String>> {
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = $1";
    Ok(session
        .query_opt(query, &[&SUPERUSER])
        .await?
        .and_then(|row| row.get(0)))
}

async fn set_superuser_verifier(session: &mut Session, verifier: &str) -> Sql<Outcome> {
    let transaction = session.transaction().await?;
    transaction.batch_execute(UNSEEN).await?;
    let alter = format!("ALTER ROLE {SUPERUSER} PASSWORD {}", literal(verifier));
    transaction.batch_execute(&alter).await?;
    transaction.commit().await?;
    Ok(Outcome::Changed("set the superuser's password".into()))
}

/// Of a role that may stream and nothing else; any other is made anew.
async fn replication_verifier(session: &Session) -> Sql<Option<String>> {
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin \
                 AND rolreplication AND NOT rolsuper AND NOT rolcreaterole AND NOT rolcreatedb";
    let row = session.query_opt(query, &[&REPLICATION_ROLE]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

async fn set_replication_role(session: &mut Session, verifier: &str) -> Sql<Outcome> {
    let transaction = session.transaction().await?;
    transaction.batch_execute(UNSEEN).await?;
    let exists = "SELECT FROM pg_roles WHERE rolname = $1";
    if transaction
        .query_opt(exists, &[&REPLICATION_ROLE])
        .await?
        .is_none()
    {
        let create = format!("CREATE ROLE {REPLICATION_ROLE}");
        transaction.batch_execute(&create).await?;
    }
    let alter = format!(
        "ALTER ROLE {REPLICATION_ROLE} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS \
         PASSWORD {}",
        literal(verifier)
    );
    transaction.batch_execute(&alter).await?;
    transaction.commit().await?;
    Ok(Outcome::Changed(format!(
        "set up the role {REPLICATION_ROLE}"
    )))
}

/// What pg_rewind calls on the source (its documentation lists them).
const REWIND_READS: &str = "pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), \
     pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean)";

async fn rewind_access(session: &mut Session) -> Sql<Outcome> {
    let query = "SELECT count(*) = 4 FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
                 AND oid = ANY (ARRAY['pg_ls_dir(text,boolean,boolean)', 'pg_stat_file(text,boolean)', \
                     'pg_read_binary_file(text)', 'pg_read_binary_file(text,bigint,bigint,boolean)']::regprocedure[]) \
                 AND has_function_privilege($1::text, oid, 'EXECUTE')";
    if session.query_one(query, &[&REPLICATION_ROLE]).await?.get(0) {
        return Ok(Outcome::Unchanged);
    }
    let grant = format!("GRANT EXECUTE ON FUNCTION {REWIND_READS} TO {REPLICATION_ROLE}");
    session.batch_execute(&grant).await?;
    Ok(Outcome::Changed(format!("let {REPLICATION_ROLE} rewind")))
}

/// The pooler asks for verifiers as a role that can do nothing else: it calls one function.
///
/// The function filters roles that may not log in or whose password has expired, which a custom
/// auth_query otherwise ignores (CVE-2025-2291), and is callable by the pooler alone (facts B 31, 34).
const GET_AUTH_BODY: &str = "
    SELECT rolname::text, rolpassword
    FROM pg_catalog.pg_authid
    WHERE rolname = p_user AND rolcanlogin AND rolpassword IS NOT NULL
      AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())
";

/// True when everything that [`create_pooler_access`] makes is there, unchanged.
const POOLER_ACCESS_IS_RIGHT: &str = "
    SELECT EXISTS (
        SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'pgbouncer' AND p.proname = 'get_auth' AND p.prosrc = $1 AND p.prosecdef
          AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
          AND p.proowner = 'postgres'::regrole
          AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                          WHERE a.grantee = 0)
          AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'pgbouncer' AND r.rolcanlogin
                        AND NOT r.rolsuper
                        AND has_schema_privilege(r.oid, n.oid, 'USAGE')
                        AND has_function_privilege(r.oid, p.oid, 'EXECUTE')))";

async fn pooler_access(session: &mut Session) -> Sql<Outcome> {
    let right: bool = session
        .query_one(POOLER_ACCESS_IS_RIGHT, &[&GET_AUTH_BODY])
        .await?
        .get(0);
    if right {
        return Ok(Outcome::Unchanged);
    }
    let transaction = session.transaction().await?;
    create_pooler_access(&transaction).await?;
    transaction.commit().await?;
    Ok(Outcome::Changed("set up the pooler's access".into()))
}

async fn create_pooler_access(transaction: &Transaction<'_>) -> Sql<()> {
    let exists = "SELECT FROM pg_roles WHERE rolname = 'pgbouncer'";
    if transaction.query_opt(exists, &[]).await?.is_none() {
        transaction.batch_execute("CREATE ROLE pgbouncer").await?;
    }
    transaction
        .batch_execute(&format!(
            "ALTER ROLE pgbouncer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
             CREATE SCHEMA IF NOT EXISTS pgbouncer;
             REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
             GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
             DROP FUNCTION IF EXISTS pgbouncer.get_auth(text);
             CREATE FUNCTION pgbouncer.get_auth(p_user text)
                 RETURNS TABLE (username text, password text)
                 LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
                 AS $get_auth${GET_AUTH_BODY}$get_auth$;
             ALTER FUNCTION pgbouncer.get_auth(text) OWNER TO postgres;
             REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
             GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer"
        ))
        .await
}

async fn database(session: &mut Session, name: &str) -> Sql<Outcome> {
    let exists = session
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
        .await?;
    if exists.is_some() {
        return Ok(Outcome::Unchanged);
    }
    // Not allowed in a transaction block; by itself it is atomic.
    session
        .batch_execute(&format!("CREATE DATABASE {}", identifier(name)))
        .await?;
    Ok(Outcome::Changed(format!("created database {name}")))
}

async fn install(session: &mut Session, extension: &Extension, available: &str) -> Sql<Outcome> {
    let name = identifier(&extension.name);
    let query = "SELECT extversion FROM pg_extension WHERE extname = $1";
    let installed: Option<String> = session
        .query_opt(query, &[&extension.name])
        .await?
        .map(|row| row.get(0));
    if installed.as_deref() == Some(available) {
        return Ok(Outcome::Unchanged);
    }
    let transaction = session.transaction().await?;
    let change = match installed {
        Some(installed) => {
            transaction
                .batch_execute(&format!("ALTER EXTENSION {name} UPDATE"))
                .await?;
            format!("updated extension {name} from {installed} to {available}")
        }
        None => {
            let placed = match extension.schema.as_deref().map(identifier) {
                Some(schema) => {
                    transaction
                        .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
                        .await?;
                    format!("CREATE EXTENSION {name} SCHEMA {schema} CASCADE")
                }
                None => format!("CREATE EXTENSION {name} CASCADE"),
            };
            transaction.batch_execute(&placed).await?;
            format!("created extension {name} {available}")
        }
    };
    for statement in &extension.after {
        transaction.batch_execute(statement).await?;
    }
    transaction.commit().await?;
    Ok(Outcome::Changed(change))
}

/// A name as SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL. `standard_conforming_strings` is on; an `E''` string would need more.
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_strings_cannot_end_their_quotes() {
        assert_eq!(
            identifier(r#"a"; DROP TABLE b; --"#),
            r#""a""; DROP TABLE b; --""#
        );
        assert_eq!(literal("a'; --"), "'a''; --'");
    }

    #[test]
    fn only_an_extension_may_fail_without_stopping_the_boot() {
        assert!(!Ensure::SuperuserPassword.is_advisory());
        assert!(!Ensure::PoolerAccess.is_advisory());
        assert!(!Ensure::Database("app".into()).is_advisory());
    }
}
