//! Bare `postgres` processes of the machine's own image, without PID 1: what benchmarks measure a
//! machine against.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fake_substrate::docker::{ContainerSpec, Docker, Mount, Published, container, volume};
use fake_substrate::machine::metadata::Login;

use crate::budget;
use crate::disk::{PGDATA, VOLUME};
use crate::stopped::Stopped;
use crate::stopwatch::{Encrypted, Stopwatch, first_answer};
use crate::world::World;

const COPY: &str = "/copy";
const PORT: u16 = 5432;
const POSTMASTER: &str = "/usr/lib/postgresql/18/bin/postgres";
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

impl World {
    /// `postgres` on a copy of a machine's volume, with the same configuration.
    pub async fn bare_copy(&self, of: &Stopped, reader: Reader) -> Result<Bare<'_>> {
        let copy = self.volume("bare-copy").await?;
        let hba = format!("{COPY}/bare_hba.conf");
        of.with_volumes(
            &[(&copy, COPY)],
            &format!(
                "cp -a {VOLUME}/. {COPY}/ &&
                 printf 'local all all trust\nhost all all all scram-sha-256\n' >{hba}"
            ),
        )
        .await?;
        let options = [
            "listen_addresses=*".to_owned(),
            format!("port={PORT}"),
            "unix_socket_directories=/tmp".to_owned(),
            format!("hba_file={VOLUME}/bare_hba.conf"),
            // Where PID 1 keeps its own; nobody is here to install it.
            format!("ssl_cert_file={PGDATA}/beyond/server.crt"),
            format!("ssl_key_file={PGDATA}/beyond/server.key"),
            "ident_file=".to_owned(),
            "config_file=/etc/postgresql/18/main/postgresql.conf".to_owned(),
        ];
        let shell = match reader {
            Reader::Docker => &[][..],
            Reader::Cat => &["/bin/sh", "-c", WITH_A_READER, "sh"],
        };
        let mut entrypoint: Vec<_> = shell.iter().map(|&word| word.to_owned()).collect();
        entrypoint.extend([POSTMASTER, "-D", PGDATA].map(str::to_owned));
        let options = options.into_iter();
        entrypoint.extend(options.flat_map(|option| ["-c".to_owned(), option]));
        self.bare("bare-copy", entrypoint, copy, of.login().await?)
            .await
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
        self.bare(&name, entrypoint, volume, login).await
    }

    async fn volume(&self, name: &str) -> Result<String> {
        let site = &self.site;
        let name = format!("{}.{name}", site.substrate.name().network());
        volume::ensure(&site.docker, &name, site.client_labels()).await?;
        Ok(name)
    }

    async fn bare(
        &self,
        name: &str,
        entrypoint: Vec<String>,
        volume: String,
        login: Login,
    ) -> Result<Bare<'_>> {
        let site = &self.site;
        let container = format!("{}.{name}", site.substrate.name().network());
        let postgres = entrypoint.iter().any(|word| word == POSTMASTER);
        let spec = ContainerSpec {
            name: container.clone(),
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
        };
        container::create(&site.docker, &spec).await?;
        Ok(Bare {
            world: self,
            container,
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
}
