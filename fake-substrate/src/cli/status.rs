//! `status`: what stands, and whether it answers.

use std::io::IsTerminal as _;

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use fake_substrate::admin::{LinkReport, VolumeReport};
use fake_substrate::backend::Backend;
use fake_substrate::docker::volume::Volume;
use fake_substrate::fault::Standing;
use fake_substrate::hosts::Hosts;
use fake_substrate::labels;
use fake_substrate::login;
use fake_substrate::machine::state::State;
use fake_substrate::machine::{Machine, View};
use fake_substrate::names::HostName;
use fake_substrate::serve::clock;
use fake_substrate::substrate::{self, S3, Substrate, SubstrateError};

use super::{CliError, Site, answer};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// For a program
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Everything {
    substrate: String,
    /// `null` when there is none, `false` when it does not answer.
    running: Option<bool>,
    /// `null` when it does not run.
    s3: Option<S3Line>,
    /// What is broken on purpose.
    faults: Vec<Standing>,
    hosts: Vec<HostLine>,
    machines: Vec<MachineLine>,
    volumes: Vec<VolumeLine>,
}

/// A host of block volumes.
#[derive(Debug, Serialize)]
struct HostLine {
    name: String,
    /// Whether its block store answers.
    running: bool,
    link_local: Option<String>,
    machines: Vec<String>,
    /// Of its own disk, by blocks of volumes; `null` when it does not answer.
    used_bytes: Option<u64>,
}

/// Where object storage is found. The secret key is not part of a status.
#[derive(Debug, Serialize)]
struct S3Line {
    machine_endpoint: String,
    machine_tls_endpoint: String,
    host_endpoint: String,
    host_tls_endpoint: String,
    bucket: &'static str,
    access_key: String,
}

#[derive(Debug, Serialize)]
struct MachineLine {
    name: String,
    #[serde(flatten)]
    state: State,
    ready: bool,
    /// Why not.
    not_ready: Option<String>,
    /// What the host knows of its link; `null` when there is no host to ask.
    link: Option<LinkReport>,
    pooler_port: u16,
    direct_port: u16,
    memory_bytes: u64,
    memory: String,
    cpus: String,
    image: String,
    image_id: String,
    link_local: String,
    volume: String,
    /// The host of its volume; `null` where that is a folder.
    host: Option<String>,
}

#[derive(Debug, Serialize)]
struct VolumeLine {
    name: String,
    machine: String,
    instance: String,
    in_use: bool,
    /// The machine whose volume it began as a copy of.
    parent: Option<String>,
    /// Machines whose volumes began as copies of it.
    forks: Vec<String>,
    /// What it is made of.
    backend: Backend,
    /// Who has a block volume; `null` when nobody that answers does.
    host: Option<String>,
    /// What its host knows of it.
    block: Option<VolumeReport>,
    /// Milliseconds since the flush point.
    flushed_ms_ago: Option<u64>,
    /// When it may be taken away, milliseconds of the Unix epoch.
    expires_ms: Option<u64>,
}

/// A block volume, and where.
struct Placed {
    host: HostName,
    report: VolumeReport,
}

impl Status {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let everything = gather(site).await?;
        if self.json {
            let json = serde_json::to_string_pretty(&everything);
            return answer(&json.map_err(|error| CliError::Output(error.into()))?);
        }
        answer(&everything.text(std::io::stdout().is_terminal()))
    }
}

async fn gather(site: &Site) -> Result<Everything, CliError> {
    let Site {
        docker, substrate, ..
    } = site;
    let service = match Substrate::connect(docker, substrate).await {
        Ok(service) => Some(service),
        Err(SubstrateError::Absent(_) | SubstrateError::NotRunning(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let exists = substrate::exists(docker, substrate).await?;
    let running = match &service {
        Some(service) => Some(service.admin().health().await.is_ok()),
        None => exists.then_some(false),
    };
    // Machines whose time has come go first, as with every command.
    if let Some(service) = service.as_ref().filter(|_service| running == Some(true)) {
        service.expire(&site.progress).await?;
    }
    let (s3, faults) = match &service {
        // Best effort: a service that does not answer is told as such above.
        Some(service) => (
            service.s3().await.ok().map(S3Line::of),
            service.admin().faults().await.unwrap_or_default(),
        ),
        None => (None, Vec::new()),
    };
    let views = substrate::views(docker, substrate).await?;
    let lines = views.into_iter().map(|view| {
        let machine = service
            .as_ref()
            .map(|service| service.handle(view.name.clone()));
        MachineLine::gather(site, machine, view)
    });
    let machines = futures_util::future::join_all(lines).await;
    let (hosts, placed) = hosts(site, &machines).await?;
    let volumes = substrate::volumes(docker, substrate).await?;
    let in_use = |volume: &Volume| machines.iter().any(|machine| machine.volume == volume.name);
    Ok(Everything {
        substrate: substrate.to_string(),
        running,
        s3,
        faults,
        volumes: volumes
            .iter()
            .map(|volume| VolumeLine::of(volume, &volumes, in_use(volume), &placed))
            .collect(),
        hosts,
        machines,
    })
}

/// Every host, and what those that answer know of their volumes. Best effort: status is for when things
/// are broken.
async fn hosts(
    site: &Site,
    machines: &[MachineLine],
) -> Result<(Vec<HostLine>, Vec<Placed>), CliError> {
    let hosts = Hosts::of(&site.docker, &site.substrate);
    let (mut lines, mut placed) = (Vec::new(), Vec::new());
    for view in hosts.views().await? {
        let host = hosts.running(&view.name).await.ok();
        let (volumes, stats) = match &host {
            Some(host) => (
                host.store.volumes().await.ok(),
                host.store.store_stats().await.ok(),
            ),
            None => (None, None),
        };
        let of_it = machines
            .iter()
            .filter(|machine| machine.host.as_deref() == Some(view.name.as_str()));
        lines.push(HostLine {
            name: view.name.to_string(),
            running: volumes.is_some(),
            link_local: view.link_local.map(|address| address.to_string()),
            machines: of_it.map(|machine| machine.name.clone()).collect(),
            used_bytes: stats.map(|stats| stats.used_bytes),
        });
        placed.extend(volumes.into_iter().flatten().map(|report| Placed {
            host: view.name.clone(),
            report,
        }));
    }
    Ok((lines, placed))
}

impl S3Line {
    fn of(s3: S3) -> Self {
        Self {
            machine_endpoint: s3.machine_endpoint,
            machine_tls_endpoint: s3.machine_tls_endpoint,
            host_endpoint: s3.host_endpoint,
            host_tls_endpoint: s3.host_tls_endpoint,
            bucket: s3.bucket,
            access_key: s3.keys.access_key,
        }
    }
}

impl MachineLine {
    async fn gather(site: &Site, machine: Option<Machine>, view: View) -> Self {
        let link = match &machine {
            Some(machine) => machine.link().await.ok(),
            None => None,
        };
        let not_ready = match view.state {
            State::Running => why_not_ready(machine, &view).await,
            state => Some(state.to_string()),
        };
        Self {
            volume: site.substrate.machine_volume(&view.name),
            name: view.name.to_string(),
            state: view.state,
            ready: not_ready.is_none(),
            not_ready,
            link,
            pooler_port: view.ports.pooler,
            direct_port: view.ports.direct,
            memory_bytes: view.memory.bytes(),
            memory: view.memory.to_string(),
            cpus: view.cpus.to_string(),
            image: view.image,
            image_id: view.image_id,
            link_local: view.link_local.to_string(),
            host: view.disk.host().map(ToString::to_string),
        }
    }
}

/// Ready is a login that was answered; nothing else is asked.
async fn why_not_ready(machine: Option<Machine>, view: &View) -> Option<String> {
    let Some(machine) = machine else {
        return Some("the substrate is not running".to_owned());
    };
    match machine.login().await {
        Err(error) => Some(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
        Ok(login) => login::answers(&login, view.ports.pooler)
            .await
            .err()
            .map(|why| why.to_string()),
    }
}

impl VolumeLine {
    fn of(volume: &Volume, all: &[Volume], in_use: bool, placed: &[Placed]) -> Self {
        let label = |key: &str| volume.labels.get(key).cloned();
        let machine = label(labels::MACHINE).unwrap_or_default();
        let is_fork = |other: &&Volume| other.labels.get(labels::PARENT) == Some(&machine);
        let of_machine = |other: &Volume| other.labels.get(labels::MACHINE).cloned();
        let backend = Backend::of(&volume.labels);
        let is_its = |placed: &&Placed| placed.report.name.as_str() == machine;
        let placed = placed
            .iter()
            .find(is_its)
            .filter(|_| backend == Backend::Block);
        let flushed = placed.and_then(|placed| placed.report.flush_point);
        Self {
            backend,
            host: placed.map(|placed| placed.host.to_string()),
            block: placed.map(|placed| placed.report.clone()),
            flushed_ms_ago: flushed.map(|at| clock::unix_ms().saturating_sub(at.at_ms)),
            expires_ms: label(labels::EXPIRES).and_then(|ms| ms.parse().ok()),
            name: volume.name.clone(),
            forks: all.iter().filter(is_fork).filter_map(of_machine).collect(),
            instance: label(labels::INSTANCE).unwrap_or_default(),
            parent: label(labels::PARENT),
            machine,
            in_use,
        }
    }
}

impl VolumeLine {
    /// What the loss of its host would fall back to, as a person asks for it.
    fn flushed(&self) -> String {
        match (&self.block, self.flushed_ms_ago) {
            (None, _) => String::new(),
            (Some(block), _) if block.ephemeral => "never (ephemeral)".to_owned(),
            (Some(_), None) => "not yet".to_owned(),
            (Some(_), Some(ms)) => format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

impl Everything {
    fn text(&self, terminal: bool) -> String {
        let substrate = match self.running {
            None => format!(
                "substrate {}: none; `fake-substrate up` makes one",
                self.substrate
            ),
            Some(false) => {
                format!(
                    "substrate {}: not running; `fake-substrate up` starts it",
                    self.substrate
                )
            }
            Some(true) => format!("substrate {}: running", self.substrate),
        };
        let mut parts = vec![substrate];
        if let Some(s3) = &self.s3 {
            parts[0].push_str(&format!(
                "\nobject storage: bucket {} at {} and {}, for machines {} and {}",
                s3.bucket,
                s3.host_endpoint,
                s3.host_tls_endpoint,
                s3.machine_endpoint,
                s3.machine_tls_endpoint
            ));
        }
        for Standing { id, fault, .. } in &self.faults {
            parts[0].push_str(&format!("\nfault {id}: {fault}"));
        }
        if !self.hosts.is_empty() {
            parts.push(self.host_table(terminal));
        }
        if !self.machines.is_empty() {
            parts.push(self.machine_table(terminal));
        }
        if !self.volumes.is_empty() {
            parts.push(self.volume_table(terminal));
        }
        parts.join("\n\n")
    }

    fn machine_table(&self, terminal: bool) -> String {
        let mut table = table(terminal);
        table.set_header([
            "MACHINE", "STATE", "READY", "LINK", "POOLER", "DIRECT", "MEMORY", "CPUS", "IMAGE",
            "ADDRESS",
        ]);
        for machine in &self.machines {
            table.add_row([
                machine.name.clone(),
                machine.state.to_string(),
                if machine.ready { "yes" } else { "no" }.to_owned(),
                machine
                    .link
                    .as_ref()
                    .map_or("unknown".to_owned(), |link| link.state.to_string()),
                machine.pooler_port.to_string(),
                machine.direct_port.to_string(),
                machine.memory.clone(),
                machine.cpus.clone(),
                machine
                    .image_id
                    .trim_start_matches("sha256:")
                    .chars()
                    .take(12)
                    .collect(),
                machine.link_local.clone(),
            ]);
        }
        let mut text = table.trim_fmt();
        let running = self
            .machines
            .iter()
            .filter(|machine| machine.state == State::Running);
        for machine in running {
            if let Some(why) = &machine.not_ready {
                text.push_str(&format!("\n{} is not ready: {why}", machine.name));
            }
        }
        text
    }

    fn host_table(&self, terminal: bool) -> String {
        let mut table = table(terminal);
        table.set_header(["HOST", "STATE", "ADDRESS", "USED", "MACHINES"]);
        for host in &self.hosts {
            table.add_row([
                host.name.clone(),
                if host.running {
                    "running"
                } else {
                    "not running"
                }
                .to_owned(),
                host.link_local.clone().unwrap_or_default(),
                host.used_bytes.map(megabytes).unwrap_or_default(),
                host.machines.join(" "),
            ]);
        }
        table.trim_fmt()
    }

    fn volume_table(&self, terminal: bool) -> String {
        let mut table = table(terminal);
        table.set_header([
            "VOLUME", "KIND", "HOST", "INSTANCE", "IN USE", "FORK OF", "FORKS", "FLUSHED", "DIRTY",
        ]);
        for volume in &self.volumes {
            table.add_row([
                volume.machine.clone(),
                volume.backend.to_string(),
                volume.host.clone().unwrap_or_default(),
                volume.instance.clone(),
                if volume.in_use { "yes" } else { "no" }.to_owned(),
                volume.parent.clone().unwrap_or_default(),
                volume.forks.join(" "),
                volume.flushed(),
                volume
                    .block
                    .as_ref()
                    .map(|block| megabytes(block.dirty_bytes))
                    .unwrap_or_default(),
            ]);
        }
        table.trim_fmt()
    }
}

/// Lines for a person, columns for a pipe.
pub(super) fn table(terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_style(if terminal {
        presets::UTF8_HORIZONTAL_ONLY
    } else {
        presets::NOTHING
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_shown_with_its_parent_and_its_forks() {
        let volume = |machine: &str, parent: Option<&str>| Volume {
            name: format!("beyond-local.{machine}"),
            labels: [(labels::MACHINE, Some(machine)), (labels::PARENT, parent)]
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect(),
        };
        let all = [
            volume("db", None),
            volume("one", Some("db")),
            volume("two", Some("db")),
            volume("deep", Some("one")),
        ];
        let seen = |at: usize| {
            let line = VolumeLine::of(&all[at], &all, true, &[]);
            (line.parent, line.forks.join(" "))
        };
        assert_eq!(seen(0), (None, "one two".to_owned()));
        assert_eq!(seen(1), (Some("db".to_owned()), "deep".to_owned()));
        assert_eq!(seen(3), (Some("one".to_owned()), String::new()));
    }
}
