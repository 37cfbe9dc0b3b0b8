//! The image by itself, as `docker run` starts it: no substrate, no metadata service.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use fake_substrate::machine::metadata::Login;
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

use crate::artifacts::by_id;
use crate::budget;
use crate::disk::VOLUME;
use crate::loopback::Loopback as _;
use crate::record::BootRecord;
use crate::running::Running;
use crate::sql::{Door, Session};
use crate::until::{Look, until};
use crate::world::{Client, Site, World};

/// A `docker run` to be made.
#[derive(Debug)]
pub struct DockerRun {
    site: Arc<Site>,
    request: ContainerRequest<GenericImage>,
}

/// A container that was started so.
#[derive(Debug)]
pub struct Plain(Arc<Client>);

impl World {
    /// `docker run -p 5432:… beyond-postgres`.
    pub fn docker_run(&self) -> Result<DockerRun> {
        let pooler = wire::ports::POOLER;
        let request = by_id(&self.site.images.release)?
            .with_exposed_port(pooler.tcp())
            .with_labels(self.site.client_labels())
            .published_on_loopback(vec![pooler]);
        Ok(DockerRun {
            site: Arc::clone(&self.site),
            request,
        })
    }
}

impl DockerRun {
    /// `-e KEY=VALUE`
    pub fn env(self, key: &str, value: &str) -> Self {
        self.with(|request| request.with_env_var(key, value))
    }

    /// A file that is there from the start.
    pub fn file(self, path: &str, content: &str) -> Self {
        self.with(|request| request.with_copy_to(path, content.as_bytes().to_vec()))
    }

    /// `-v VOLUME:…`, with the volume of a machine.
    pub fn volume_of(self, machine: &Running) -> Self {
        let mount = Mount::volume_mount(machine.machine.volume(), VOLUME);
        self.with(|request| request.with_mount(mount))
    }

    fn with(
        self,
        more: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> Self {
        Self {
            request: more(self.request),
            ..self
        }
    }

    /// Starts it.
    pub async fn start(self) -> Result<Plain> {
        Ok(Plain(self.site.host(self.request.start().await?)))
    }
}

impl Plain {
    /// Everything it has written.
    pub async fn log(&self) -> Result<Vec<String>> {
        let mut bytes = self.0.stdout_to_vec().await?;
        bytes.extend(self.0.stderr_to_vec().await?);
        Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Waits until its log has these words.
    pub async fn expect_log(&self, words: &str) -> Result<()> {
        until(
            budget::READY,
            format!("the container says: {words}"),
            async || {
                let log = self.log().await?;
                if log.iter().any(|line| line.contains(words)) {
                    return Ok(Look::Found(()));
                }
                Ok(Look::NotYet(
                    log.last().cloned().unwrap_or("nothing".to_owned()),
                ))
            },
        )
        .await
    }

    /// The record of its boot.
    pub async fn boot_record(&self) -> Result<BootRecord> {
        let log = self.log().await?;
        log.iter()
            .find_map(|line| BootRecord::in_line(line))
            .context("it left no boot record")?
    }

    /// Logs in through its published port.
    pub async fn session(&self, password: &str) -> Result<Session> {
        let port = self.0.get_host_port_ipv4(wire::ports::POOLER.tcp()).await?;
        let login = Login {
            password: password.to_owned(),
            database: "postgres".to_owned(),
        };
        Session::open(port, Door::Pooled, &login).await
    }

    /// `docker stop`; answers its exit code.
    pub async fn stop(self) -> Result<i64> {
        let patience = i32::try_from(budget::STOP.as_secs())?;
        self.0.stop_with_timeout(Some(patience)).await?;
        self.ended().await
    }

    /// Waits until it ends by itself; answers its exit code.
    pub async fn ended(self) -> Result<i64> {
        until(budget::ENDS, "the container ends", async || {
            Ok(match self.0.exit_code().await? {
                Some(code) => Look::Found(code),
                None => Look::NotYet("it runs".to_owned()),
            })
        })
        .await
    }
}
