//! Whether Postgres takes a configuration that is written down somewhere.

use anyhow::{Result, ensure};
use testcontainers::ImageExt as _;
use testcontainers::core::Mount;

use crate::client::{self, Output};
use crate::disk::VOLUME;
use crate::stopped::Stopped;

/// Installs the volume's own certificate as PID 1 would, reads every setting, then starts a server with all of them and asks it what it made of each.
///
/// `pg_file_settings` calls a setting that differs from the running value an error when it can only
/// change at a start. So the server has to run with these very files, and of a machine with 256 GB
/// one line cannot be had here: shared_buffers is overruled by a later file, which the view accepts,
/// after `-C` has read the real line.
const LOAD: &str = r#"
set -e
conf=/etc/postgresql/18/main/postgresql.conf
data=/var/lib/postgresql/18/main
fits="$data/conf.d/98-fits-this-host.conf"
tls=/run/beyond-pg/tls/current
install -d -o postgres -g postgres /var/run/postgresql "$tls"
for file in cert.pem ca.pem; do install -o postgres -m 644 "$data/beyond/server.crt" "$tls/$file"; done
install -o postgres -m 600 "$data/beyond/server.key" "$tls/key.pem"
chown -R postgres: "$data/conf.d" /etc/postgresql
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }

as_postgres postgres --config-file="$conf" -C shared_buffers
echo "shared_buffers = '128MB'" > "$fits"
as_postgres pg_ctl start --wait --silent --pgdata="$data" --log=/tmp/log -o "--config-file=$conf" \
    || { cat /tmp/log >&2; exit 1; }
as_postgres psql --no-psqlrc --tuples-only --no-align --port=5433 \
    --command="SELECT count(*) FROM pg_file_settings" \
    --command="SELECT sourcefile, sourceline, name, setting, error FROM pg_file_settings WHERE error IS NOT NULL" \
    --command="SELECT 'hba line ' || line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL"
as_postgres pg_ctl stop --wait --silent --pgdata="$data" --mode=fast
rm "$fits"
"#;

/// The unit in which `-C` answers for shared_buffers.
const PAGE: u64 = 8192;

/// What Postgres said about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What shared_buffers would be on a machine of that size, in bytes.
    pub shared_buffers: u64,
    /// How many settings it found in all files.
    pub settings: usize,
    /// What it did not like.
    pub errors: Vec<String>,
}

impl Stopped {
    /// Starts a server on this volume with these files in place of the machine's own, and asks it.
    pub async fn loads_conf(&self, files: &[(String, Vec<u8>)]) -> Result<Loaded> {
        let mut request = client::request(&self.site, "/bin/sh", ["-c", LOAD])?
            .with_user("root")
            .with_network("none")
            .with_mount(Mount::volume_mount(self.machine.volume(), VOLUME));
        for (path, content) in files {
            request = request.with_copy_to(path.as_str(), content.clone());
        }
        let Output {
            exit_code,
            stdout,
            stderr,
        } = client::finished(request).await?;
        ensure!(exit_code == 0, "Postgres did not start with it: {stderr}");
        let mut lines = stdout.lines();
        Ok(Loaded {
            shared_buffers: lines.next().unwrap_or_default().parse::<u64>()? * PAGE,
            settings: lines.next().unwrap_or_default().parse()?,
            errors: lines.map(str::to_owned).collect(),
        })
    }
}
