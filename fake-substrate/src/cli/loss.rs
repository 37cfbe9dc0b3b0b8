//! `power-cut`, `flush`, `lose-host`, `rehome`: what a disk and its host can lose, and the way back.

use clap::Args;

use crate::admin::{CutPower, FlushPointReport, VolumeReport};
use crate::names::{HostName, MachineName};
use crate::progress::Progress as _;
use crate::serve::clock;
use crate::volume::store::cut::Tear;

use super::{CliError, Site, up};

#[derive(Debug, Args)]
pub(crate) struct PowerCut {
    /// Which machine
    name: MachineName,
    /// Which of the unflushed writes survive: the same number, the same choice; a random one unless given
    #[arg(long)]
    seed: Option<u64>,
    /// The smallest piece that is written whole: block (4096 bytes) or sector (512)
    #[arg(long, default_value = "block", value_parser = tear)]
    tear: Tear,
}

#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Which machine
    name: MachineName,
}

#[derive(Debug, Args)]
pub(crate) struct LoseHost {
    /// A machine on that host
    #[arg(required_unless_present = "host")]
    name: Option<MachineName>,
    /// The host itself, in place of one of its machines
    #[arg(long, conflicts_with = "name")]
    host: Option<HostName>,
}

#[derive(Debug, Args)]
pub(crate) struct Rehome {
    /// Which machine
    name: MachineName,
    /// To which host, made when there is none; unless given any other one that does not have its sink, primary or
    /// replica
    #[arg(long)]
    host: Option<HostName>,
}

fn tear(given: &str) -> Result<Tear, &'static str> {
    match given {
        "block" => Ok(Tear::Block),
        "sector" => Ok(Tear::Sector),
        _ => Err("block or sector"),
    }
}

impl PowerCut {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        let cut = CutPower {
            seed: self.seed,
            tear: self.tear,
        };
        let cut = machine.power_cut(cut).await?;
        site.progress.step(&format!(
            "The power of machine {} is cut: of {} blocks that were not flushed, {} survived, {} of them torn (seed {})",
            machine.name(),
            cut.unsynced,
            cut.survived,
            cut.torn,
            cut.seed
        ));
        Ok(())
    }
}

impl Flush {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        let flushed = machine.flush().await?;
        site.progress.step(&format!(
            "The volume of machine {} is in object storage: flush point {}",
            machine.name(),
            named(&flushed)
        ));
        Ok(())
    }
}

impl LoseHost {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let substrate = site.connect().await?;
        let host = match (self.host, &self.name) {
            (Some(host), _) => host,
            (None, Some(name)) => substrate.host_of(name).await?,
            // clap asks for one of them.
            (None, None) => HostName::numbered(1),
        };
        let lost = substrate.lose_host(&host, &site.progress).await?;
        let names: Vec<_> = lost.machines.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        site.progress.step(&format!(
            "Host {host} is lost; machines that went with it: {names}"
        ));
        for volume in &lost.volumes {
            site.progress
                .step(&format!("Volume {}: {}", volume.name, what_is_left(volume)));
        }
        Ok(())
    }
}

impl Rehome {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let substrate = site.connect().await?;
        let name = &self.name;
        site.progress
            .step(&format!("Bringing machine {name} back from object storage"));
        let rehomed = substrate
            .rehome(name, self.host.as_ref(), &site.progress)
            .await?;
        site.progress.step(&format!(
            "Machine {name} is on host {} (its volume was there after {:.2} s)",
            rehomed.host,
            rehomed.took.as_secs_f64()
        ));
        rehomed.machine.start().await?;
        up::ready(site, &rehomed.machine).await
    }
}

/// What object storage has of a volume whose host is gone.
fn what_is_left(volume: &VolumeReport) -> String {
    match (&volume.flush_point, volume.ephemeral) {
        (_, true) => "ephemeral, so it is gone".to_owned(),
        (None, false) => "never flushed, so it is gone".to_owned(),
        (Some(flushed), false) => format!(
            "comes back as of flush point {}; written since and lost: {} kB",
            named(flushed),
            volume.dirty_bytes / 1024
        ),
    }
}

/// A flush point as a person compares it: how many, and how long ago.
pub(super) fn named(flushed: &FlushPointReport) -> String {
    let FlushPointReport {
        generation,
        sequence,
        at_ms,
    } = flushed;
    let ago = clock::unix_ms().saturating_sub(*at_ms);
    format!(
        "{generation}.{sequence}, {}.{} s ago",
        ago / 1000,
        ago % 1000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::what_is_left;
    use crate::admin::{FlushPointReport, VolumeReport, VolumeStanding};

    #[test]
    fn what_a_lost_host_leaves_of_a_volume_is_told_in_words() {
        let volume = |ephemeral, sequence: Option<u64>| VolumeReport {
            name: "db".parse().unwrap(),
            bytes: 1 << 30,
            ephemeral,
            parent: None,
            children: Vec::new(),
            standing: VolumeStanding::Attached,
            device: None,
            unsynced_blocks: 0,
            dirty_bytes: 8192,
            writes_wait: false,
            troubles: Vec::new(),
            flush_point: sequence.map(|sequence| FlushPointReport {
                generation: 1,
                sequence,
                at_ms: u64::MAX,
            }),
            expires_ms: None,
        };
        let durable = what_is_left(&volume(false, Some(7)));
        assert_eq!(
            durable,
            "comes back as of flush point 1.7, 0.0 s ago; written since and lost: 8 kB"
        );
        assert!(what_is_left(&volume(false, None)).contains("never flushed"));
        assert!(what_is_left(&volume(true, None)).contains("ephemeral"));
    }
}
