//! What Postgres makes of its configuration: what of the user's is in force, and what is not.

use wire::rpc::Configuration;

use crate::conf::{ConfFile, Owner};
use crate::layout::Layout;
use crate::postgres::session::Session;
use crate::rpc::objections::{self, at_most, place};

/// Settings that an answer has room for, many times more than anybody sets.
const MOST: usize = 200;

pub(super) async fn look(
    session: &Session,
    layout: &Layout,
) -> Result<Configuration, tokio_postgres::Error> {
    let loaded = "SELECT extract(epoch FROM pg_conf_load_time())::bigint";
    let loaded_at = session.query_one(loaded, &[]).await?.get(0);
    let pending = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name";
    let pending = session.query(pending, &[]).await?;
    Ok(Configuration {
        loaded_at,
        in_force: at_most(MOST, in_force(session, layout).await?),
        pending_restart: pending.iter().map(|row| row.get(0)).collect(),
        objections: objections::ask(session).await?.words,
    })
}

/// What stands in files that are not the image's: 99-user.conf, what it includes, and what ALTER
/// SYSTEM wrote.
async fn in_force(
    session: &Session,
    layout: &Layout,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let images: Vec<String> = ConfFile::ALL
        .into_iter()
        .filter(|file| file.owner() == Owner::Image)
        .map(|file| file.path(layout))
        .chain([layout.postgres_conf(), layout.last_good_conf()])
        .map(|path| path.display().to_string())
        .collect();
    let query = "SELECT name, current_setting(name), sourcefile, sourceline FROM pg_settings \
                 WHERE sourcefile <> ALL($1) ORDER BY sourcefile, sourceline";
    let rows = session.query(query, &[&images]).await?;
    let words = rows.iter().map(|row| {
        let (name, value): (String, String) = (row.get(0), row.get(1));
        let value = if may_hold_a_secret(&name) {
            "***"
        } else {
            &value
        };
        format!("{name} = {value} ({})", place(row.get(2), row.get(3)))
    });
    Ok(words.collect())
}

/// Connection strings, commands, which may carry a password or a key, and what extensions and
/// applications keep in settings of their own.
fn may_hold_a_secret(name: &str) -> bool {
    name.contains('.')
        || name.ends_with("_command")
        || name.contains("conninfo")
        || name.contains("passphrase")
}

#[cfg(test)]
mod tests {
    use super::may_hold_a_secret;

    #[test]
    fn values_that_may_be_secrets_are_not_told() {
        for name in [
            "primary_conninfo",
            "archive_command",
            "ssl_passphrase_command",
            "app.jwt_secret",
        ] {
            assert!(may_hold_a_secret(name), "{name}");
        }
        assert!(!may_hold_a_secret("work_mem"));
    }
}
