//! Hosts and volumes in `status`.

use serde::Serialize;

use crate::admin::VolumeReport;
use crate::backend::Backend;
use crate::docker::volume::Volume;
use crate::hosts::Hosts;
use crate::labels;
use crate::names::HostName;
use crate::serve::clock;

use super::{MachineLine, table};
use crate::cli::{CliError, Site};

/// A host of block volumes.
#[derive(Debug, Serialize)]
pub(super) struct HostLine {
    name: String,
    /// Whether its block store answers.
    running: bool,
    link_local: Option<String>,
    machines: Vec<String>,
    /// Of its own disk, by blocks of volumes; `null` when it does not answer.
    used_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct VolumeLine {
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
pub(super) struct Placed {
    host: HostName,
    report: VolumeReport,
}

/// Every host, and what those that answer know of their volumes. Best effort: status is for when things
/// are broken.
pub(super) async fn hosts(
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

impl VolumeLine {
    pub(super) fn of(volume: &Volume, all: &[Volume], in_use: bool, placed: &[Placed]) -> Self {
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

/// Hosts as a person reads them.
pub(super) fn host_table(hosts: &[HostLine], terminal: bool) -> String {
    let mut table = table(terminal);
    table.set_header(["HOST", "STATE", "ADDRESS", "USED", "MACHINES"]);
    for host in hosts {
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

/// Volumes as a person reads them.
pub(super) fn volume_table(volumes: &[VolumeLine], terminal: bool) -> String {
    let mut table = table(terminal);
    table.set_header([
        "VOLUME", "KIND", "HOST", "INSTANCE", "IN USE", "FORK OF", "FORKS", "FLUSHED", "DIRTY",
    ]);
    for volume in volumes {
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
