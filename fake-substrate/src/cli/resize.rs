//! `resize NAME`: other memory and processors, a larger disk.

use clap::Args;

use crate::docker;
use crate::machine::size::{Cpus, DiskSize, Memory};
use crate::machine::state::State;
use crate::machine::{Resize as To, Resized};
use crate::names::MachineName;
use crate::progress::Progress as _;

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
        let resized = machine.resize(to, &site.progress).await?;
        let running = machine.view().await?.state == State::Running;
        for told in self.told(running, resized) {
            site.progress.step(&told);
        }
        Ok(())
    }

    /// What has come of it, and what has yet to come.
    fn told(&self, running: bool, Resized { fits }: Resized) -> Vec<String> {
        let name = &self.name;
        let disk = self.disk.map(|disk| {
            let follows = match fits {
                true => "its file system with it".to_owned(),
                false => format!(
                    "its file system follows at the next start: fake-substrate restart {name}"
                ),
            };
            format!("The disk of machine {name} has {disk}, and {follows}")
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
    use super::{Resize, Resized};

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
            resize(Some("4g"), Some("20g")).told(true, Resized { fits: false }),
            [
                "The disk of machine db has 20g, and its file system follows at the next start: fake-substrate restart db",
                "Machine db has memory 4g, cpus 2; Postgres is tuned to that at its next start: fake-substrate restart db"
            ]
        );
        let fits = Resized { fits: true };
        let off = resize(Some("4g"), Some("20g")).told(false, fits);
        assert_eq!(
            off,
            [
                "The disk of machine db has 20g, and its file system with it",
                "Machine db has memory 4g, cpus 2"
            ]
        );
    }
}
