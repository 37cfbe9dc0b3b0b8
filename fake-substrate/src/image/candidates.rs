//! Which versions a suite carries now, asked of apt in a container of the base.

use std::collections::BTreeMap;

use super::base::Base;
use super::error::ImageError;
use super::pins::{Pins, madison};
use super::throwaway::{self, Task};
use crate::docker::Docker;
use crate::progress::Progress;

/// The newest version of each pinned package that the suite knows.
pub(super) async fn carried(
    docker: &Docker,
    base: &Base,
    pins: &Pins,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, String>, ImageError> {
    progress.step(&format!(
        "Asking Debian {} which versions it carries",
        pins.suite
    ));
    // The names are arguments, never part of the script.
    let script = r#"apt-get update -qq -o Acquire::Check-Valid-Until=false -o APT::Update::Error-Mode=any \
        && exec apt-cache madison "$@""#;
    let command = ["sh", "-c", script, "sh"].map(str::to_owned);
    let command = command
        .into_iter()
        .chain(pins.versions.keys().cloned())
        .collect();
    let task = Task {
        image: base.name.clone(),
        command,
        ..Task::default()
    };
    let outcome = throwaway::run(docker, task, progress).await?;
    if outcome.code != 0 {
        let (suite, tail) = (pins.suite.clone(), outcome.tail);
        return Err(ImageError::Candidates {
            suite,
            code: outcome.code,
            tail,
        });
    }
    Ok(madison(&outcome.answer))
}
