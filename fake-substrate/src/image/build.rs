//! Builds one image through the Docker API, and turns a failed build into one error that says
//! which step failed and what it said last.
//!
//! The classic builder is asked for: it is in every daemon, and BuildKit's part of the API needs
//! a gRPC session that would buy nothing here.

use std::collections::{HashMap, VecDeque};

use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::error::ImageError;
use super::tags;
use crate::docker::{Docker, DockerError};
use crate::progress::Progress;

const TAIL_LINES: usize = 15;

/// What to build.
#[derive(Debug)]
pub(super) struct Recipe<'r> {
    /// The name it gets.
    pub(super) name: &'r str,
    /// The Dockerfile's path in the context.
    pub(super) dockerfile: &'r str,
    /// The context.
    pub(super) tar: Vec<u8>,
    /// Build arguments.
    pub(super) arguments: HashMap<&'r str, &'r str>,
}

/// Builds it and returns its id.
pub(super) async fn build(
    docker: &Docker,
    recipe: Recipe<'_>,
    progress: &dyn Progress,
) -> Result<String, ImageError> {
    let options = BuildImageOptionsBuilder::new()
        .dockerfile(recipe.dockerfile)
        .t(recipe.name)
        .rm(true)
        .forcerm(true)
        .buildargs(&recipe.arguments)
        .build();
    let body = bollard::body_full(recipe.tar.into());
    let mut messages = docker.build_image(options, None, Some(body));
    let mut transcript = Transcript::default();
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => {
                for line in transcript.take(&message.stream.unwrap_or_default()) {
                    progress.detail(&line);
                }
            }
            Err(bollard::errors::Error::DockerStreamError { error }) => {
                return Err(transcript.failed(recipe.name, error));
            }
            Err(error) => {
                let attempted = format!("build {}", recipe.name);
                return Err(DockerError::from_request(attempted)(error).into());
            }
        }
    }
    let built = tags::id_of(docker, recipe.name).await?;
    built.ok_or_else(|| transcript.failed(recipe.name, "no image came out of it".to_owned()))
}

/// What the builder has said so far.
#[derive(Debug, Default)]
struct Transcript {
    step: String,
    tail: VecDeque<String>,
    /// A line whose end has not come yet: messages are cut anywhere.
    rest: String,
}

impl Transcript {
    /// Takes a piece of output and returns the lines that it completes.
    fn take(&mut self, piece: &str) -> Vec<String> {
        self.rest.push_str(piece);
        let Some(end) = self.rest.rfind('\n') else {
            return Vec::new();
        };
        let complete: String = self.rest.drain(..=end).collect();
        let lines = complete
            .lines()
            .map(plain)
            .filter(|line| !line.trim().is_empty());
        let lines: Vec<String> = lines.collect();
        for line in &lines {
            self.remember(line);
        }
        lines
    }

    fn remember(&mut self, line: &str) {
        if line.starts_with("Step ") {
            self.step = line.to_owned();
            self.tail.clear();
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }

    fn failed(mut self, image: &str, reason: String) -> ImageError {
        if !self.rest.is_empty() {
            self.take("\n");
        }
        let step = if self.step.is_empty() {
            "the first step".to_owned()
        } else {
            self.step
        };
        let tail = Vec::from(self.tail).join("\n");
        ImageError::Build {
            image: image.to_owned(),
            step,
            reason,
            tail,
        }
    }
}

/// Without the colours in which the builder wraps standard error.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_colour, rest)| rest);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::{ImageError, TAIL_LINES, Transcript, plain};

    #[test]
    fn lines_are_whole_however_the_messages_are_cut() {
        let mut transcript = Transcript::default();
        assert!(transcript.take("Step 1/2 : FR").is_empty());
        assert_eq!(
            transcript.take("OM x\n\n ---> 0de5\npart"),
            ["Step 1/2 : FROM x", " ---> 0de5"]
        );
        assert_eq!(transcript.take("ly\n"), ["partly"]);
    }

    #[test]
    fn a_failure_carries_its_own_step_and_only_that_steps_last_lines() {
        let mut transcript = Transcript::default();
        transcript.take("Step 1/2 : RUN a\nold\nStep 2/2 : RUN b\n");
        for n in 0..TAIL_LINES + 5 {
            transcript.take(&format!("\u{1b}[91mline {n}\u{1b}[0m\n"));
        }
        transcript.take("unfinished");
        let ImageError::Build {
            image,
            step,
            reason,
            tail,
        } = transcript.failed(
            "beyond-postgres:x",
            "returned a non-zero code: 1".to_owned(),
        )
        else {
            panic!("another error");
        };
        assert_eq!(
            (image.as_str(), step.as_str()),
            ("beyond-postgres:x", "Step 2/2 : RUN b")
        );
        assert_eq!(reason, "returned a non-zero code: 1");
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(
            tail.starts_with("line 6\n") && tail.ends_with("line 19\nunfinished"),
            "{tail}"
        );
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(plain("\u{1b}[91mred\u{1b}[0m and plain"), "red and plain");
        assert_eq!(plain("cut \u{1b}["), "cut ");
    }
}
