//! The server's own programs: argv, environment and user of each, in one place.

use std::path::Path;

use crate::fx::exec::Program;
use crate::inheritance::Process;
use crate::layout::Layout;
use crate::sys::user::Account;

/// Where Debian keeps programs; `archive_command` and `COPY … PROGRAM` need it as well.
pub(crate) fn search_path(layout: &Layout) -> String {
    format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        layout.bin("").display()
    )
}

fn program(layout: &Layout, name: &str, user: Account) -> Program {
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

/// `pg_controldata` of the live PGDATA.
pub(crate) fn controldata(layout: &Layout, user: Account) -> Program {
    program(layout, "pg_controldata", user)
        .env("LC_ALL", "C")
        .arg("-D")
        .arg(layout.pgdata())
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
