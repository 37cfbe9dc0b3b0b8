//! `pgbouncer.ini`: the pooler in front of Postgres (E-001, E-002).

use super::ConfInputs;

/// Server connections of one role to one database (E-002). `work_mem` is derived from it.
pub(super) const POOL_SIZE: u64 = 20;

/// What a session may bring along. Postgres 18 reports `search_path`, so the pooler can carry it
/// from one transaction to the next, and from `options=-c search_path=…` to the server. What it
/// cannot carry it refuses by name: a setting that is dropped in silence is one that its author
/// relies on (facts 41). `extra_float_digits` alone is ignored: drivers send it unasked, and since
/// Postgres 12 it changes nothing that they read.
const STARTUP_PARAMETERS: &str = "\
; What a session may bring along: carried over, or refused by name; never dropped in silence.
track_extra_parameters = IntervalStyle, search_path
ignore_startup_parameters = extra_float_digits";

pub(super) fn render(inputs: &ConfInputs<'_>) -> String {
    let ConfInputs { layout, .. } = inputs;
    // Without a CA, PgBouncer dies on "failed to load CA: (null)" as soon as it has a certificate
    // (facts B 30).
    format!(
        "\
; The pooler (E-001, E-002). Rewritten at every boot; PID 1 starts and stops it.

; Every database, over the socket: no password and no TLS between processes of one machine.
[databases]
* = host={socket_dir} port={direct}

[pgbouncer]
listen_addr = 0.0.0.0, ::
listen_port = {pooler}
; A process of this machine has Postgres' own socket. The pooler's would open its admin console
; to the OS user postgres without a password.
unix_socket_dir =

; Passwords are looked up in one database, by a pinned function that honours VALID UNTIL.
auth_type = scram-sha-256
auth_user = pgbouncer
auth_dbname = postgres
auth_query = SELECT username, password FROM pgbouncer.get_auth($1)
; SHOW is for the superuser; what changes the pooler's state belongs to PID 1.
stats_users = postgres
admin_users =

pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 100
max_prepared_statements = 200
server_idle_timeout = 600
server_lifetime = 3600
; Postgres is next door: when it is back from a restart, nobody should wait 15 s for it.
server_login_retry = 1
; Clients that are gone are noticed as soon as Postgres would notice (F-006).
tcp_keepalive = 1
tcp_keepidle = 60
tcp_keepintvl = 10
tcp_keepcnt = 6

; Encrypted for whoever asks; refusing plaintext is a decision of its own (I-004). The pooler wants a
; CA in any case; a certificate that came without one is its own.
client_tls_sslmode = allow
client_tls_protocols = secure
client_tls_cert_file = {cert}
client_tls_key_file = {key}
client_tls_ca_file = {ca}
server_tls_sslmode = disable

{STARTUP_PARAMETERS}

; To stderr only (H-002). Postgres logs who comes and goes; twice would be noise.
logfile =
pidfile =
syslog = 0
log_connections = 0
log_disconnections = 0
log_pooler_errors = 1
log_stats = 0
",
        socket_dir = layout.socket_dir().display(),
        direct = wire::ports::DIRECT,
        pooler = wire::ports::POOLER,
        cert = layout.installed_cert().display(),
        key = layout.installed_key().display(),
        ca = layout.installed_ca().display(),
    )
}
