//! Bare `postgres` processes of the machine's own image, without PID 1: what benchmarks measure a
//! machine against.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fake_substrate::docker::{
    Attachment, ContainerSpec, Docker, Mount, Published, container, volume,
};
use fake_substrate::machine::metadata::Login;

use crate::budget;
use crate::disk::{PGDATA, VOLUME};
use crate::sql::Door;
use crate::stopped::Stopped;
use crate::stopwatch::{Encrypted, Stopwatch, first_answer};
use crate::vm::Vm;
use crate::world::World;

pub(crate) const COPY: &str = "/copy";
const PORT: u16 = 5432;
const POSTMASTER: &str = "/usr/lib/postgresql/18/bin/postgres";
pub(crate) const HBA_FILE: &str = "bare_hba.conf";
/// For `printf`.
pub(crate) const HBA: &str = r"local all all trust\nhost all all all scram-sha-256\n";
const WITH_A_READER: &str =
    r#"mkfifo /tmp/log; cat /tmp/log >/dev/null & exec "$@" >/tmp/log 2>&1"#;

/// Who reads what a bare server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Docker, as it does for every container.
    Docker,
    /// `cat`, into nothing: the least that can be done with a line.
    Cat,
}

/// A bare server that is off.
pub struct Bare<'a> {
    world: &'a World,
    container: String,
    login: Login,
}

/// The server's command line, with what PID 1 would have seen to.
pub(crate) fn postmaster() -> Vec<String> {
    let options = [
        "listen_addresses=*".to_owned(),
        format!("port={PORT}"),
        "unix_socket_directories=/tmp".to_owned(),
        format!("hba_file={VOLUME}/{HBA_FILE}"),
        // Where PID 1 keeps its own; nobody is here to install it.
        format!("ssl_cert_file={PGDATA}/beyond/server.crt"),
        format!("ssl_key_file={PGDATA}/beyond/server.key"),
        "ident_file=".to_owned(),
        "config_file=/etc/postgresql/18/main/postgresql.conf".to_owned(),
    ];
    let program = [POSTMASTER, "-D", PGDATA].map(str::to_owned).into_iter();
    let options = options.into_iter();
    program
        .chain(options.flat_map(|option| ["-c".to_owned(), option]))
        .collect()
}

impl World {
    /// `postgres` on a copy of a machine's volume, with the same configuration.
    pub async fn bare_copy(&self, of: &Stopped, reader: Reader) -> Result<Bare<'_>> {
        let copy = self.volume("bare-copy").await?;
        let hba = format!("{COPY}/{HBA_FILE}");
        of.with_volumes(
            &[(&copy, COPY)],
            &format!(
                "cp -a {VOLUME}/. {COPY}/ &&
                 printf '{HBA}' >{hba}"
            ),
        )
        .await?;
        let shell = match reader {
            Reader::Docker => &[][..],
            Reader::Cat => &["/bin/sh", "-c", WITH_A_READER, "sh"],
        };
        let mut entrypoint: Vec<_> = shell.iter().map(|&word| word.to_owned()).collect();
        entrypoint.extend(postmaster());
        let spec = self.bare("bare-copy", entrypoint, copy);
        self.created(spec, of.login().await?).await
    }

    /// `initdb`, as a machine runs it, and `postgres` on an empty volume.
    pub async fn bare_empty(&self, number: usize) -> Result<Bare<'_>> {
        let name = format!("bare-empty-{number}");
        let volume = self.volume(&name).await?;
        let login = Login {
            password: "bare".to_owned(),
            database: "postgres".to_owned(),
        };
        let script = format!(
            "set -e; install -d -o postgres -g postgres {VOLUME}/data; echo {password} >/tmp/password
             run() {{ setpriv --reuid postgres --regid postgres --clear-groups \"$@\"; }}
             run initdb -D {VOLUME}/data -U postgres --pwfile /tmp/password --encoding UTF8 \
                 --locale-provider builtin --builtin-locale C.UTF-8 --locale C.UTF-8 \
                 --data-checksums --auth-host scram-sha-256
             echo 'host all all all scram-sha-256' >>{VOLUME}/data/pg_hba.conf
             exec setpriv --reuid postgres --regid postgres --clear-groups \
                 postgres -D {VOLUME}/data -c listen_addresses='*' -c unix_socket_directories=/tmp",
            password = login.password,
        );
        let entrypoint = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
        self.created(self.bare(&name, entrypoint, volume), login)
            .await
    }

    /// `pg_basebackup` of a machine over the network, checkpoint included, and `postgres` on what came.
    pub async fn bare_backup(&self, of: &Vm) -> Result<Bare<'_>> {
        let name = "bare-backup";
        let volume = self.volume(name).await?;
        let script = format!(
            "pg_basebackup --pgdata={PGDATA} --checkpoint=fast --wal-method=stream --no-password &&
             printf '{HBA}' >{VOLUME}/{HBA_FILE} && exec \"$@\""
        );
        let mut entrypoint = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
        entrypoint.extend(postmaster());
        let login = of.login.clone();
        let mut spec = ContainerSpec {
            env: [
                ("PGHOST", of.name()),
                ("PGPORT", &Door::Direct.port().to_string()),
                ("PGUSER", Login::USER),
                ("PGPASSWORD", &login.password),
                ("PGSSLMODE", "require"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
            network: Some(Attachment {
                network: self.site.substrate.name().network(),
                // Outside what the substrate gives to machines.
                link_local: Ipv4Addr::new(169, 254, 21, 1),
                aliases: Vec::new(),
            }),
            ..self.bare(name, entrypoint, volume)
        };
        for mount in &mut spec.mounts {
            // With the image's owner: it is the server's own account that writes there.
            mount.blank = false;
        }
        self.created(spec, login).await
    }

    pub(crate) async fn volume(&self, name: &str) -> Result<String> {
        let site = &self.site;
        let name = format!("{}.{name}", site.substrate.name().network());
        volume::ensure(&site.docker, &name, site.client_labels()).await?;
        Ok(name)
    }

    pub(crate) fn bare(
        &self,
        name: &str,
        entrypoint: Vec<String>,
        volume: String,
    ) -> ContainerSpec {
        let site = &self.site;
        let container = format!("{}.{name}", site.substrate.name().network());
        let postgres = entrypoint.iter().any(|word| word == POSTMASTER);
        ContainerSpec {
            name: container,
            image: site.images.release.clone(),
            hostname: name.to_owned(),
            entrypoint: Some(entrypoint),
            labels: site.client_labels(),
            user: Some(if postgres { "postgres" } else { "root" }.to_owned()),
            capabilities: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
                .map(str::to_owned)
                .to_vec(),
            mounts: vec![Mount {
                volume,
                target: VOLUME.to_owned(),
                blank: true,
            }],
            published: vec![Published {
                container: PORT,
                host: None,
            }],
            stop_timeout: budget::STOP,
            ..ContainerSpec::default()
        }
    }

    pub(crate) async fn created(&self, spec: ContainerSpec, login: Login) -> Result<Bare<'_>> {
        container::create(&self.site.docker, &spec).await?;
        Ok(Bare {
            world: self,
            container: spec.name,
            login,
        })
    }
}

impl Bare<'_> {
    pub(crate) fn docker(&self) -> &Docker {
        &self.world.site.docker
    }

    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    pub(crate) const fn port(&self) -> u16 {
        PORT
    }

    /// Starts it; answers how long it took until a query was answered.
    pub async fn first_answer(&self, tls: Encrypted) -> Result<Duration> {
        let docker = &self.world.site.docker;
        let watch = Stopwatch::start();
        container::start(docker, &self.container).await?;
        let observed = container::inspect(docker, &self.container).await?;
        let port = observed
            .and_then(|observed| observed.open_ports.get(&PORT).copied())
            .with_context(|| format!("{} publishes no port", self.container))?;
        first_answer(&watch, port, &self.login, tls).await
    }

    /// Shuts it down (fast: a client that has gone away is not waited for).
    pub async fn stop(&self) -> Result<()> {
        let docker = &self.world.site.docker;
        container::signal(docker, &self.container, "SIGINT").await?;
        container::ended(docker, &self.container).await?;
        Ok(())
    }

    /// Takes it away with its volume.
    pub async fn remove(self) -> Result<()> {
        let docker = &self.world.site.docker;
        container::remove(docker, &self.container).await?;
        // Made under the same name.
        volume::remove(docker, &self.container).await?;
        Ok(())
    }
}
