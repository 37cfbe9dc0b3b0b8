//! What has been played: in a file, so that a run can be gone on with, and in a sum at its end.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::history::History;
use super::round::Round;
use super::{Soak, folder};
use crate::ledger::verdict::Kept;

/// What has been played.
#[derive(Debug, Default)]
pub(super) struct Played {
    file: Option<(PathBuf, File)>,
    before: BTreeSet<String>,
    kept: Vec<Kept>,
    failed: Vec<u64>,
    restarts: Vec<Duration>,
    took: Vec<Duration>,
}

impl Played {
    /// Goes on with a file, or begins one.
    pub(super) fn begin(soak: &Soak) -> Result<Self> {
        let name = || format!("{}-{}.rounds", soak.seed, std::process::id());
        let path = soak.resume.clone().unwrap_or_else(|| folder().join(name()));
        let opening = || format!("opening the list of rounds {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(opening)?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path);
        let file = file.with_context(opening)?;
        let text = fs::read_to_string(&path).with_context(opening)?;
        println!("finished rounds are written down in {}", path.display());
        Ok(Self {
            file: Some((path, file)),
            before: text.lines().map(str::to_owned).collect(),
            ..Self::default()
        })
    }

    /// One that nobody goes on with.
    pub(super) fn of_a_try() -> Self {
        Self::default()
    }

    /// Whether that round was played before, and nothing was lost.
    pub(super) fn was_kept(&self, seed: u64, history: &History) -> bool {
        self.before.contains(&line("kept", seed, history))
    }

    pub(super) fn kept(&mut self, round: &Round, history: &History, took: Duration) -> Result<()> {
        self.writes(&line("kept", round.seed, history))?;
        self.kept.extend(round.verdict.as_ref().ok());
        self.restarts.push(round.restart);
        self.took.push(took);
        Ok(())
    }

    pub(super) fn failed(&mut self, seed: u64, history: &History) -> Result<()> {
        self.writes(&line("failed", seed, history))?;
        self.failed.push(seed);
        Ok(())
    }

    fn writes(&mut self, line: &str) -> Result<()> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        let written = writeln!(file, "{line}").and_then(|()| file.sync_data());
        written.with_context(|| format!("writing down a round in {}", path.display()))
    }

    pub(super) fn summary(&self) -> String {
        let sum = |of: fn(&Kept) -> usize| self.kept.iter().map(of).sum::<usize>();
        let verdict = match &self.failed[..] {
            [] => "every promise was kept".to_owned(),
            seeds => format!("FAILED in the rounds of seeds {seeds:?}"),
        };
        format!(
            "{} rounds, {} played before: {verdict}; {} acknowledged, {} found, {} of them unacknowledged, {} given up; \
             median restart to the first answered query {:.2} s, median round {:.1} s",
            self.kept.len() + self.failed.len(),
            self.before.len(),
            sum(|kept| kept.acknowledged),
            sum(|kept| kept.found),
            sum(|kept| kept.beyond),
            sum(|kept| kept.given_up),
            median(&self.restarts),
            median(&self.took),
        )
    }
}

fn line(how: &str, seed: u64, history: &History) -> String {
    format!("{how} {seed} {history}")
}

/// In seconds; 0 of nothing.
fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}
