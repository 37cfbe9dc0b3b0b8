//! What a scenario that failed leaves behind for whoever looks into it: the logs, the plan, the
//! configuration and Docker's own view of every container, under `target/e2e/<scenario>/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bollard::query_parameters::InspectContainerOptions;
use fake_substrate::docker::{container, logs};
use fake_substrate::labels;

use crate::disk::CONF_D;
use crate::world::{Site, World};

/// How much of each log is shown at once; all of it is in the file.
const SHOWN: usize = 50;

/// What a boot would do now, and what the last one wrote.
const QUESTIONS: [(&str, &str); 2] = [
    // A machine that waits for its settings waits with this as well.
    ("plan.txt", "timeout 10 beyond-pg boot --plan 2>&1"),
    ("conf.txt", "tail -n +1 /etc/postgresql/18/main/pg_*.conf /etc/pgbouncer/*.ini 2>&1"),
];

/// Where evidence of that scenario goes; empty at first.
fn folder(scenario: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e");
    let folder = root.join(scenario.replace("::", "."));
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
    let ours = [labels::is(labels::SUBSTRATE, site.substrate.name().as_str())];
    for found in container::labelled(&site.docker, &ours).await? {
        let machine = found.labels.get(labels::MACHINE);
        let name = machine.map_or(found.name.as_str(), String::as_str);
        let here = folder.join(name.replace('/', "_"));
        std::fs::create_dir_all(&here)?;

        let log = logs::last_lines(&site.docker, &found.id, usize::MAX).await?;
        let last = &log[log.len().saturating_sub(SHOWN)..];
        shown.push_str(&format!("--- {name} ({}), last lines:\n{}\n", found.state, last.join("\n")));
        save(&here.join("log.txt"), &log.join("\n"))?;
        if let Some(machine) = machine {
            // Best effort: the substrate may be what failed.
            let received = site.substrate.admin().log_lines(machine, 0).await.unwrap_or_default();
            let lines: Vec<_> = received.iter().map(|kept| kept.line.line.as_str()).collect();
            let last = &lines[lines.len().saturating_sub(SHOWN)..];
            shown.push_str(&format!("--- {name}, what the host received:\n{}\n", last.join("\n")));
            save(&here.join("received.txt"), &lines.join("\n"))?;
        }
        save(&here.join("inspect.json"), &inspected(site, &found.id).await?)?;
        if machine.is_some() && !found.state.has_ended() {
            for (file, answer) in answers(site, &found.id).await {
                shown.push_str(&format!("--- {name}, {file}:\n{answer}\n"));
                save(&here.join(file), &answer)?;
            }
        }
    }
    Ok(shown)
}

async fn inspected(site: &Site, container: &str) -> Result<String> {
    let answer = site.docker.inspect_container(container, None::<InspectContainerOptions>).await?;
    Ok(serde_json::to_string_pretty(&answer)?)
}

/// Best effort: a machine may be beyond answering, and that is worth keeping as well.
async fn answers(site: &Site, container: &str) -> Vec<(&'static str, String)> {
    let listing = format!("ls -l {CONF_D} 2>&1; tail -n +1 {CONF_D}/* 2>&1");
    let asked = QUESTIONS.into_iter().chain([("conf.d.txt", listing.as_str())]);
    let mut answers = Vec::new();
    for (file, script) in asked {
        let program = fake_substrate::docker::exec::Program {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let ran = fake_substrate::docker::exec::run(&site.docker, container, program).await;
        answers.push((file, ran.map_or_else(|error| error.to_string(), |ran| ran.stdout)));
    }
    answers
}

#[expect(clippy::disallowed_methods, reason = "evidence of a failed test need not survive a power cut")]
fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("keeping {}", path.display()))
}
