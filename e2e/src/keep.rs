//! What a scenario that failed leaves behind for whoever looks into it: the logs, the plan, the
//! configuration and Docker's own view of every container, under `target/e2e/<scenario>/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bollard::query_parameters::InspectContainerOptions;
use fake_substrate::docker::exec::{self, Program};
use fake_substrate::docker::{Observed, container, logs};
use fake_substrate::labels;
use fake_substrate::machine::state::State;
use testcontainers::ImageExt as _;
use testcontainers::core::Mount;

use crate::client;
use crate::disk::VOLUME;
use crate::world::{Site, World};

/// How much of each log is shown at once; all of it is in the file.
const SHOWN: usize = 50;

/// The configuration on the volume.
const CONF_ON_VOLUME: &str = "cd /var/lib/postgresql/18/main/conf.d && ls -l && tail -n +1 *";
/// The configuration on the root file system.
const CONF_ON_ROOT: &str = "tail -n +1 /etc/postgresql/18/main/pg_*.conf /etc/pgbouncer/*.ini";
/// What a boot would do now. A machine that waits for its settings waits with this as well.
const PLAN: &str = "timeout 10 beyond-pg boot --plan";

/// Where everything lies that a run may leave behind.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e")
}

/// Where evidence of that scenario goes; empty at first.
fn folder(scenario: &str) -> Result<PathBuf> {
    let folder = root().join(scenario.replace("::", "."));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Keeps what there is and answers what to show at once.
pub(crate) async fn evidence(world: &World, scenario: &str) -> Result<String> {
    let site = world.site.as_ref();
    let folder = folder(scenario).context("keeping evidence")?;
    let mut shown = format!("kept in {}\n", folder.display());
    let ours = [labels::is(
        labels::SUBSTRATE,
        site.substrate.name().as_str(),
    )];
    for found in container::labelled(&site.docker, &ours).await? {
        shown.push_str(&of_container(site, &folder, &found).await?);
    }
    Ok(shown)
}

async fn of_container(site: &Site, folder: &Path, found: &Observed) -> Result<String> {
    let machine = found.labels.get(labels::MACHINE);
    let name = machine.unwrap_or(&found.name);
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;

    let log = logs::last_lines(&site.docker, &found.id, usize::MAX).await?;
    let last = log[log.len().saturating_sub(SHOWN)..].join("\n");
    let mut shown = format!("--- {name} ({}), last lines:\n{last}\n", found.state);
    save(&folder.join("log.txt"), &log.join("\n"))?;
    if let Some(machine) = machine {
        // Best effort: the substrate may be what failed.
        let received = site
            .substrate
            .admin()
            .log_lines(machine, 0)
            .await
            .unwrap_or_default();
        let lines: Vec<_> = received
            .iter()
            .map(|kept| kept.line.line.as_str())
            .collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        shown.push_str(&format!("--- {name}, what the host received:\n{last}\n"));
        save(&folder.join("received.txt"), &lines.join("\n"))?;
    }

    let inspect = InspectContainerOptions::default();
    let inspected = site
        .docker
        .inspect_container(&found.id, Some(inspect))
        .await?;
    save(
        &folder.join("inspect.json"),
        &serde_json::to_string_pretty(&inspected)?,
    )?;

    for (file, answer) in answers(site, found).await {
        shown.push_str(&format!("--- {name}, {file}:\n{answer}\n"));
        save(&folder.join(file), &answer)?;
    }
    Ok(shown)
}

/// What a machine says about itself. Best effort: one that is beyond answering is worth keeping too.
async fn answers(site: &Site, found: &Observed) -> Vec<(&'static str, String)> {
    let mut answers = Vec::new();
    if !found.labels.contains_key(labels::MACHINE) {
        return answers;
    }
    if found.state != State::Running {
        let text = from_outside(site, &found.name, CONF_ON_VOLUME).await;
        answers.push((
            "conf.d.txt",
            text.unwrap_or_else(|error| format!("{error:#}")),
        ));
        return answers;
    }
    let asked = [
        ("plan.txt", PLAN),
        ("conf.d.txt", CONF_ON_VOLUME),
        ("etc.txt", CONF_ON_ROOT),
    ];
    for (file, script) in asked {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let program = Program {
            argv,
            ..Program::default()
        };
        let text = match exec::run(&site.docker, &found.id, program).await {
            Ok(ran) => ran.stdout + ran.stderr.as_str(),
            Err(error) => error.to_string(),
        };
        answers.push((file, text));
    }
    answers
}

/// A machine's container and its volume have one name (fake-substrate's names.rs).
async fn from_outside(site: &Site, volume: &str, script: &str) -> Result<String> {
    let request = client::request(site, "/bin/sh", ["-c", script])?
        .with_user("root")
        .with_mount(Mount::volume_mount(volume, VOLUME));
    let ran = client::finished(request).await?;
    Ok(ran.stdout + ran.stderr.as_str())
}

#[expect(
    clippy::disallowed_methods,
    reason = "evidence of a failed test need not survive a power cut"
)]
fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("keeping {}", path.display()))
}
