//! Clients in containers of their own, on the substrate's network, as testcontainers runs them:
//! the programs of the machine's own image with another entrypoint.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use fake_substrate::machine::metadata::Login;
use testcontainers::core::WaitFor;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

use crate::artifacts::by_id;
use crate::budget;
use crate::loopback::Loopback as _;
use crate::sql::Door;
use crate::until::until_true;
use crate::vm::Vm;
use crate::world::{Client, Site, World};

/// What a program that has ended left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub exit_code: i64,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// A program of the image, in a container that belongs to this world.
pub(crate) fn request<'a>(
    site: &Site,
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result<ContainerRequest<GenericImage>> {
    let request = by_id(&site.images.release)?
        .with_entrypoint(program)
        .with_cmd(arguments)
        .with_labels(site.client_labels())
        .with_startup_timeout(budget::ENDS.limit);
    Ok(request.published_on_loopback(Vec::new()))
}

/// Runs it to its end.
pub(crate) async fn finished(request: ContainerRequest<GenericImage>) -> Result<Output> {
    let ends = vec![WaitFor::exit(ExitWaitStrategy::new())];
    let container = request.with_ready_conditions(ends).start().await?;
    let output = output_of(&container).await?;
    container.rm().await?;
    Ok(output)
}

async fn output_of(container: &Client) -> Result<Output> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output {
        exit_code: container
            .exit_code()
            .await?
            .context("a client still runs")?,
        stdout: text(container.stdout_to_vec().await?),
        stderr: text(container.stderr_to_vec().await?),
    })
}

impl World {
    /// `psql` on the machine's network: asks one query with `sslmode=require`.
    pub async fn psql(&self, vm: &Vm, door: Door, password: &str, query: &str) -> Result<Output> {
        self.psql_asking(vm, door, query)?
            .password(password)
            .runs()
            .await
    }

    /// `pgbench` on the machine's network, until something ends it.
    pub async fn pgbench(&self, vm: &Vm, door: Door) -> Result<Load> {
        vm.as_postgres(&[
            "pgbench",
            "--initialize",
            "--quiet",
            "--host=/var/run/postgresql",
            "--port=5433",
        ])
        .await?;
        let arguments = [
            "--client=4",
            "--time=600",
            "--progress=1",
            "--protocol=simple",
        ];
        let password = &vm.login.password;
        let request = self.client(vm, door, password, "pgbench", &arguments)?;
        let under_way = vec![WaitFor::message_on_stderr("progress: ")];
        let container = request.with_ready_conditions(under_way).start().await?;
        Ok(Load {
            container: self.site.host(container),
        })
    }

    pub(crate) fn client(
        &self,
        vm: &Vm,
        door: Door,
        password: &str,
        program: &str,
        arguments: &[&str],
    ) -> Result<ContainerRequest<GenericImage>> {
        let request = request(&self.site, program, arguments.iter().copied())?;
        Ok(request
            .with_network(self.site.substrate.name().network())
            .with_user("nobody")
            .with_env_var("PGHOST", vm.name())
            .with_env_var("PGPORT", door.port().to_string())
            .with_env_var("PGUSER", Login::USER)
            .with_env_var("PGDATABASE", &vm.login.database)
            .with_env_var("PGPASSWORD", password)
            .with_env_var("PGSSLMODE", "require")
            .with_env_var("PGCONNECT_TIMEOUT", "10"))
    }
}

/// A client that keeps a machine busy.
#[derive(Debug)]
pub struct Load {
    container: Arc<Client>,
}

impl Load {
    /// Waits until it has given up; answers how many transactions it saw committed.
    pub async fn given_up(self) -> Result<i64> {
        until_true(budget::ENDS, "the load has lost its machine", async || {
            Ok(!self.container.is_running().await?)
        })
        .await?;
        let Output { stdout, stderr, .. } = output_of(&self.container).await?;
        let processed = stdout.lines().find_map(|line| {
            line.strip_prefix("number of transactions actually processed: ")?
                .trim()
                .parse()
                .ok()
        });
        processed.with_context(|| format!("pgbench told no result: {stdout}{stderr}"))
    }
}
