//! The server's own programs: argv, environment and user of each, in one place.

use std::path::Path;

use crate::conf::{self, Until};
use crate::fx::exec::Program;
use crate::inheritance::Process;
use crate::layout::Layout;
use crate::postgres::controldata::ControlData;
use crate::sys::user::Account;

/// Where Debian keeps programs; `archive_command` and `COPY … PROGRAM` need it as well.
pub(crate) fn search_path(layout: &Layout) -> String {
    format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        layout.bin("").display()
    )
}

/// A program of the server's own version.
pub(crate) fn program(layout: &Layout, name: &str, user: Account) -> Program {
    Program::new(layout.bin(name))
        .env("PATH", search_path(layout))
        .env("LC_ALL", "C.UTF-8")
        .user(user)
}

/// `initdb` into the staging folder: only a finished cluster is ever called PGDATA.
///
/// It is given no password: the superuser can log in over the socket alone until the verifier is set
/// after the start, so the cleartext is in no file at all.
pub(crate) fn initdb(layout: &Layout, user: Account) -> Program {
    program(layout, "initdb", user)
        .arg("--pgdata")
        .arg(layout.initdb_staging())
        .args([
            "--username=postgres",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            // The whole file system is flushed once, before the rename.
            "--no-sync",
            "--no-instructions",
        ])
}

/// What a sink kept of a cluster, into the folder in which initdb would have made it.
pub(crate) fn unpack(layout: &Layout, user: Account) -> Program {
    Program::new("/bin/tar")
        .env("PATH", search_path(layout))
        .env("LC_ALL", "C.UTF-8")
        .user(user)
        .args(["--extract", "--same-permissions", "--file"])
        .arg(layout.fetched_base())
        .arg("--directory")
        .arg(layout.initdb_staging())
}

/// `pg_controldata` of the live PGDATA.
pub(crate) fn controldata(layout: &Layout, user: Account) -> Program {
    program(layout, "pg_controldata", user)
        .env("LC_ALL", "C")
        .arg("-D")
        .arg(layout.pgdata())
}

/// Ourselves, asked how far a restore can go.
pub(crate) fn restore_window(layout: &Layout, user: Account) -> Program {
    ourselves(layout, user).args(["restore-window", "--json"])
}

/// Ourselves, told to fetch what the archive has and this volume lacks.
pub(crate) fn archive_gap(layout: &Layout, user: Account) -> Program {
    ourselves(layout, user).arg("archive-gap")
}

/// Ourselves, told to fill `folder` with a backup.
pub(crate) fn fetch_backup(layout: &Layout, user: Account, folder: &Path) -> Program {
    ourselves(layout, user).arg("fetch-backup").arg(folder)
}

/// `pg_waldump` of what lies behind the last checkpoint: ends of transactions and restore points, until
/// the WAL ends.
pub(crate) fn waldump(layout: &Layout, user: Account, control: &ControlData) -> Program {
    program(layout, "pg_waldump", user)
        // It prints local times.
        .env("TZ", "UTC")
        .arg("--path")
        .arg(layout.pgdata().join("pg_wal"))
        .arg(format!("--timeline={}", control.timeline))
        .arg(format!("--start={}", control.redo))
        .args(["--rmgr=Transaction", "--rmgr=XLOG"])
}

/// `pg_basebackup` as one tar stream on stdout, its manifest at the end. Over the socket, where only the
/// machine's own processes are.
///
/// It brings no WAL: Postgres answers when that is archived. Fetched at the end, it would be in the archive
/// and in the stream, and a checkpoint in the middle of an hour's backup may have recycled it by then.
pub(crate) fn basebackup(layout: &Layout, user: Account, label: &str) -> Program {
    program(layout, "pg_basebackup", user)
        .env("PGAPPNAME", "beyond-pg backup")
        .arg("--host")
        .arg(layout.socket_dir())
        .arg(format!("--port={}", wire::ports::DIRECT))
        .arg(format!("--label={label}"))
        .args([
            "--username=postgres",
            "--no-password",
            "--pgdata=-",
            "--format=tar",
            "--wal-method=none",
            "--checkpoint=fast",
            "--manifest-checksums=CRC32C",
        ])
}

/// Ourselves, asked for a backup.
pub(crate) fn backup(
    layout: &Layout,
    user: Account,
    name: &str,
    expected: u64,
    version: u32,
) -> Program {
    ourselves(layout, user)
        .arg("backup")
        .arg(name)
        .arg(format!("--expected={expected}"))
        .arg(format!("--postgres={version}"))
}

fn ourselves(layout: &Layout, user: Account) -> Program {
    Program::new(layout.beyond_pg())
        .env("PATH", search_path(layout))
        .env("LC_ALL", "C.UTF-8")
        .user(user)
}

/// The postmaster, with `conf` as its `postgresql.conf`.
pub(crate) fn postmaster(layout: &Layout, user: Account, conf: &Path) -> Program {
    let spared = Process::OfPostmaster.oom_score_adj();
    program(layout, "postgres", user)
        // Each of its children writes this there for itself: none inherits what spares the postmaster.
        .env("PG_OOM_ADJUST_FILE", "/proc/self/oom_score_adj")
        .env("PG_OOM_ADJUST_VALUE", spared.to_string())
        .arg("-D")
        .arg(layout.pgdata())
        .arg("-c")
        .arg(format!("config_file={}", conf.display()))
        // Whoever starts it again is PID 1, which first gives it room on a full volume and removes what recovery would
        // trip over. Left to itself, a postmaster whose checkpointer finds no room recovers over and over, for ever.
        .args(["-c", "restart_after_crash=off"])
}

/// The postmaster of a fork whose own settings name nobody to wait for: what its user's files say of
/// that was said on the parent, and waiting for the parent's standbys would hang every commit
/// (facts C 43).
pub(crate) fn waiting_for_nobody(postmaster: Program) -> Program {
    postmaster.args(["-c", "synchronous_standby_names="])
}

/// A postmaster that only this process can reach, for a fork that has yet to leave its parent. It
/// recovers from what the volume holds, or from the archive, `until` there, waits for nobody, and starts
/// nothing that would dial out.
pub(crate) fn private_postmaster(
    layout: &Layout,
    user: Account,
    conf: &Path,
    until: Until<'_>,
) -> Program {
    let socket = format!(
        "unix_socket_directories={}",
        layout.fork_socket_dir().display()
    );
    // Recovery with less room than the parent had is refused while standby queries are allowed.
    let options = [
        "listen_addresses=",
        "ssl=off",
        "hot_standby=off",
        "archive_command=",
        "archive_library=",
        "primary_conninfo=",
        "synchronous_standby_names=",
        "max_logical_replication_workers=0",
        "cron.launch_active_jobs=off",
        "event_triggers=off",
        "default_transaction_read_only=off",
    ];
    let recovery = conf::recovery_settings(layout, until)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    options
        .into_iter()
        .map(str::to_owned)
        .chain([socket])
        .chain(recovery)
        .fold(postmaster(layout, user, conf), |program, option| {
            program.arg("-c").arg(option)
        })
}

/// Reads the user's configuration as the postmaster would and starts nothing: it fails with Postgres'
/// own words, which name file and line.
pub(crate) fn configuration_check(layout: &Layout, user: Account) -> Program {
    postmaster(layout, user, &layout.postgres_conf()).args(["-C", "data_directory"])
}

/// PgBouncer, which logs server connections in as its OS user over the socket (I-002).
pub(crate) fn pooler(layout: &Layout, user: Account) -> Program {
    Program::new("/usr/sbin/pgbouncer")
        .env("PATH", search_path(layout))
        .env("LC_ALL", "C.UTF-8")
        .user(user)
        .arg(layout.pgbouncer_ini())
}
