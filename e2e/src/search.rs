//! Looking through everything that a machine shows, for what must not be there.

use anyhow::{Result, ensure};
use bollard::query_parameters::InspectContainerOptions;

use crate::running::POSTGRES;
use crate::vm::Vm;

/// Each process' environment, for those that the asking user may read.
const ENVIRONMENTS: &str = r#"
for folder in /proc/[0-9]*; do
    printf '\npid=%s ' "${folder#/proc/}"
    tr '\0' ' ' < "$folder/environ" 2>/dev/null || printf unreadable
done
"#;

/// Files on every file system of the machine that hold one of the patterns. The patterns come
/// through a pipe: an argument would find itself.
const FILES: &str = "grep --recursive --files-with-matches --text --fixed-strings --no-messages --file=- / \
     --exclude-dir=proc --exclude-dir=sys || [ $? -le 2 ]";

impl Vm {
    /// What its processes, its log and Docker tell to anybody who asks: place and text.
    pub async fn everything_told(&self) -> Result<Vec<(String, String)>> {
        let processes = self.processes().await?;
        let mut told: Vec<_> = processes
            .iter()
            .map(|process| {
                (
                    format!("the command line of {}", process.pid),
                    process.argv.clone(),
                )
            })
            .collect();
        ensure!(told.len() > 5, "a machine has more processes than {told:?}");
        told.push((
            "its output".to_owned(),
            self.machine.last_lines(usize::MAX).await?.join("\n"),
        ));
        let received = serde_json::to_string(&self.machine.received(0).await?)?;
        told.push(("what the host received".to_owned(), received));

        // Root of this container has no CAP_SYS_PTRACE: the servers' it cannot read, they can.
        for (user, pid) in [("root", 1), (POSTGRES, self.postmaster().await?)] {
            let environments = self.run(user, &["/bin/sh", "-c", ENVIRONMENTS]).await?;
            let of_pid = format!("pid={pid} ");
            let read = environments
                .lines()
                .any(|line| line.starts_with(&of_pid) && line.contains("PATH="));
            ensure!(
                read,
                "{user} cannot read the environment of {pid}: {environments}"
            );
            told.push((
                format!("the environments that {user} may read"),
                environments,
            ));
        }

        let container = self.machine.container();
        let docker = &self.site.docker;
        let inspected = docker
            .inspect_container(&container, None::<InspectContainerOptions>)
            .await?;
        told.push((
            "docker inspect".to_owned(),
            serde_json::to_string(&inspected)?,
        ));
        Ok(told)
    }

    /// Every file that holds one of these texts.
    pub async fn files_with(&self, texts: &[&str]) -> Result<Vec<String>> {
        let found = self.shell_reading("root", FILES, &texts.join("\n")).await?;
        Ok(found.lines().map(str::to_owned).collect())
    }
}
