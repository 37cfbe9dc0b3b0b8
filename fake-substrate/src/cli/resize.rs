//! `resize NAME`: other memory and processors, a larger disk.

use clap::Args;

use fake_substrate::docker;
use fake_substrate::machine::Resize as To;
use fake_substrate::machine::size::{Cpus, DiskSize, Memory};
use fake_substrate::machine::state::State;
use fake_substrate::names::MachineName;
use fake_substrate::progress::Progress as _;

use super::{CliError, Site, up};

#[derive(Debug, Args)]
pub(crate) struct Resize {
    /// Which machine, running or not
    name: MachineName,
    /// Memory from now on, such as 512m or 4g
    #[arg(long, required_unless_present_any = ["cpus", "disk"])]
    memory: Option<Memory>,
    /// Processors from now on, such as 2 or 0.5
    #[arg(long)]
    cpus: Option<Cpus>,
    /// Size of its block volume from now on, such as 20g; never less than before
    #[arg(long, value_name = "SIZE")]
    disk: Option<DiskSize>,
}

impl Resize {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name.clone()).await?;
        if let Some(asked) = self.cpus {
            up::can_have(asked, docker::processors(&site.docker).await?)?;
        }
        let to = To {
            memory: self.memory,
            cpus: self.cpus,
            disk: self.disk,
        };
        machine.resize(to, &site.progress).await?;
        let running = machine.view().await?.state == State::Running;
        for told in self.told(running) {
            site.progress.step(&told);
        }
        Ok(())
    }

    /// What has come of it, and what has yet to come.
    fn told(&self, running: bool) -> Vec<String> {
        let name = &self.name;
        let disk = self.disk.map(|disk| {
            format!("The disk of machine {name} has {disk}, and its file system with it")
        });
        let memory = self.memory.map(|memory| format!("memory {memory}"));
        let cpus = self.cpus.map(|cpus| format!("cpus {cpus}"));
        let limits: Vec<_> = memory.into_iter().chain(cpus).collect();
        let limits = (!limits.is_empty()).then(|| {
            let tuned = match running {
                true => format!(
                    "; Postgres is tuned to that at its next start: fake-substrate restart {name}"
                ),
                false => String::new(),
            };
            format!("Machine {name} has {}{tuned}", limits.join(", "))
        });
        disk.into_iter().chain(limits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Resize;

    fn resize(memory: Option<&str>, disk: Option<&str>) -> Resize {
        Resize {
            name: "db".parse().unwrap(),
            memory: memory.map(|memory| memory.parse().unwrap()),
            cpus: memory.map(|_memory| "2".parse().unwrap()),
            disk: disk.map(|disk| disk.parse().unwrap()),
        }
    }

    #[test]
    fn what_is_yet_to_come_is_told_of_a_machine_that_runs() {
        assert_eq!(
            resize(Some("4g"), Some("20g")).told(true),
            [
                "The disk of machine db has 20g, and its file system with it",
                "Machine db has memory 4g, cpus 2; Postgres is tuned to that at its next start: fake-substrate restart db"
            ]
        );
        let off = resize(Some("4g"), None).told(false);
        assert_eq!(off, ["Machine db has memory 4g, cpus 2"]);
    }
}
