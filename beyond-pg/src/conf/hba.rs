//! `pg_hba.conf` and `pg_ident.conf`: who may log in, and as whom (I-002).

use std::path::Path;

/// The first line that matches decides. Ours for the socket come first, because administration,
/// readiness and the pooler hang on them; the user's come before the general rule for the
/// network, so that a `reject` of theirs means something.
///
/// The catch-all for `replication` is needed beside `all`, which does not match it (facts 74).
pub(super) fn hba(user: &Path) -> String {
    format!(
        "# Who may log in (I-002). Rewritten at every boot.\n\
         # Your own lines go to {user}.\n\
         #\n\
         # TYPE  DATABASE     USER  ADDRESS  METHOD\n\
         \n\
         # The socket is for processes of this machine; pg_ident.conf says who they may be.\n\
         local   all          all            peer map=machine\n\
         local   replication  all            peer map=machine\n\
         \n\
         include_if_exists \"{user}\"\n\
         \n\
         host    all          all   all      scram-sha-256\n\
         host    replication  all   all      scram-sha-256\n",
        user = user.display(),
    )
}

/// Who a process on the socket may be.
///
/// PgBouncer runs as OS user `postgres` and logs every pooled role in here. Peer alone would
/// refuse all of them but `postgres` (facts 32), and SCRAM would need each role's password, which
/// the pooler does not have (facts 35); it has checked that password before it gets here.
pub(super) fn ident() -> String {
    "# Whom a process of this machine may log in as over the socket (I-002).\n\
     # Rewritten at every boot.\n\
     #\n\
     # MAPNAME  SYSTEM-USERNAME  PG-USERNAME\n\
     \n\
     # The administrator of the machine is the administrator of the database.\n\
     machine    root             postgres\n\
     \n\
     # The pooler runs as `postgres` and has checked each client's password itself.\n\
     machine    postgres         all\n\
     \n\
     # Anybody else is who they are.\n\
     machine    /^(.*)$          \\1\n"
        .to_owned()
}
