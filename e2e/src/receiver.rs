//! `pg_receivewal` by itself, in place of PID 1: what benchmarks measure a sink against.

use anyhow::Result;
use fake_substrate::machine::metadata::Login;

use crate::running::Starting;
use crate::sql::Door;
use crate::vm::Vm;
use crate::world::World;

/// What it calls itself, and its slot.
const RECEIVER: &str = "bare_receiver";

/// On a disk that is mounted as PID 1 mounts it, as the account that PID 1 takes.
const RECEIVE: &str = r#"
set -e
mount -t ext4 -o noatime,nodev,nosuid,errors=remount-ro /dev/vdb /var/lib/postgresql
install -d -o postgres -g postgres /var/lib/postgresql/wal
exec setpriv --reuid postgres --regid postgres --clear-groups \
    pg_receivewal --synchronous --no-loop --no-password --slot "$1" -D /var/lib/postgresql/wal -d "$2"
"#;

impl World {
    /// `pg_receivewal --synchronous` in a container without PID 1, on a disk of that host: from now on commits of
    /// that machine wait for it, and for nobody else.
    pub async fn bare_receiver(&self, host: &'static str, of: &Vm) -> Result<Starting> {
        let make = format!("SELECT pg_create_physical_replication_slot('{RECEIVER}', true)");
        of.sql(&make).await?;
        let conninfo = format!(
            "user={} dbname=postgres host={} port={} application_name={RECEIVER}",
            Login::USER,
            of.name(),
            Door::Direct.port()
        );
        let argv = ["/bin/sh", "-c", RECEIVE, "sh", RECEIVER, &conninfo];
        let receiver = self
            .vm("receiver")
            .on_host(host)
            .in_place_of_init(argv)
            .env("PGPASSWORD", &of.login.password);
        let receiver = receiver.start().await?;
        // Named before it streams, it would have the machine's own session wait.
        of.has_standby(RECEIVER).await?;
        of.user_conf(&format!(
            "synchronous_standby_names = 'ANY 1 (\"{RECEIVER}\")'\n"
        ))
        .await?;
        of.does("reload").await?;
        of.holds_commits_for_its_receiver().await?;
        Ok(receiver)
    }
}

impl Vm {
    /// Its commits wait for [`World::bare_receiver`], which is there.
    pub async fn holds_commits_for_its_receiver(&self) -> Result<()> {
        self.has_its_commits_held_by(RECEIVER).await
    }
}
