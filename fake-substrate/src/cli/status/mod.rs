//! `status`: what stands, and whether it answers.

mod sink;
mod volumes;

use std::io::IsTerminal as _;

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::admin::LinkReport;
use crate::docker::volume::Volume;
use crate::fault::Standing;
use crate::machine::state::State;
use crate::machine::{Machine, View};
use crate::substrate::{self, S3, Substrate, SubstrateError};

use super::{CliError, Site, answer, page};
use sink::SinkLine;
use volumes::{HostLine, VolumeLine};

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
    /// Where its page is; `null` when nobody serves it.
    page: Option<String>,
    /// `null` when it does not run.
    s3: Option<S3Line>,
    /// What is broken on purpose.
    faults: Vec<Standing>,
    hosts: Vec<HostLine>,
    machines: Vec<MachineLine>,
    volumes: Vec<VolumeLine>,
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
    /// What it has to do with a sink; `null` where it has nothing to do with one.
    sink: Option<SinkLine>,
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
    let (hosts, placed) = volumes::hosts(site, &machines).await?;
    let volumes = substrate::volumes(docker, substrate).await?;
    let in_use = |volume: &Volume| machines.iter().any(|machine| machine.volume == volume.name);
    Ok(Everything {
        substrate: substrate.to_string(),
        running,
        page: page::url(site),
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
            State::Running => why_not_ready(machine.as_ref()).await,
            state => Some(state.to_string()),
        };
        let sink = match &machine {
            Some(machine) => SinkLine::gather(machine).await,
            None => None,
        };
        Self {
            sink,
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

/// Ready is a login that was answered, or a sink that said it serves; nothing else is asked.
async fn why_not_ready(machine: Option<&Machine>) -> Option<String> {
    let Some(machine) = machine else {
        return Some("the substrate is not running".to_owned());
    };
    match machine.answers().await {
        Err(error) => Some(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
        Ok(answered) => answered.err(),
    }
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
        if let Some(page) = &self.page {
            parts[0].push_str(&format!("\npage: {page}"));
        }
        for Standing { id, fault, .. } in &self.faults {
            parts[0].push_str(&format!("\nfault {id}: {fault}"));
        }
        if !self.hosts.is_empty() {
            parts.push(volumes::host_table(&self.hosts, terminal));
        }
        if !self.machines.is_empty() {
            parts.push(self.machine_table(terminal));
        }
        if !self.volumes.is_empty() {
            parts.push(volumes::volume_table(&self.volumes, terminal));
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
            if let Some(sink) = &machine.sink {
                text.push_str(&format!("\n{} {sink}", machine.name));
            }
        }
        text
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
