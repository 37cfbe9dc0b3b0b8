//! What a container has written.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{Docker, DockerError};

/// Which of the two streams a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output: usually a line, but that is the writer's choice.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where it was written.
    pub source: Source,
    /// What was written.
    pub bytes: bytes::Bytes,
}

impl Output {
    pub(super) fn from_log(output: LogOutput) -> Self {
        let source = match output {
            LogOutput::StdErr { .. } => Source::Stderr,
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                Source::Stdout
            }
        };
        Self {
            source,
            bytes: output.into_bytes(),
        }
    }
}

/// Which part of the output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    /// Go on for as long as the container runs.
    pub follow: bool,
    /// Only that many of the latest lines.
    pub tail: Option<usize>,
    /// Only from this second of the Unix epoch on.
    pub since: Option<i32>,
}

/// Output in order, the two streams interleaved as they were written.
pub fn stream(
    docker: &Docker,
    container: &str,
    part: Part,
) -> impl Stream<Item = Result<Output, DockerError>> + use<> {
    let tail = part
        .tail
        .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(part.follow)
        .since(part.since.unwrap_or_default())
        .tail(&tail)
        .build();
    let attempted = format!("read the output of container {container}");
    docker.logs(container, Some(options)).map(move |piece| {
        piece
            .map(Output::from_log)
            .map_err(DockerError::from_request(attempted.clone()))
    })
}

/// The latest lines, both streams together.
pub async fn last_lines(
    docker: &Docker,
    container: &str,
    lines: usize,
) -> Result<Vec<String>, DockerError> {
    let part = Part {
        tail: Some(lines),
        ..Default::default()
    };
    let pieces: Vec<Output> = stream(docker, container, part).try_collect().await?;
    let bytes: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| piece.bytes.iter().copied())
        .collect();
    Ok(String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .collect())
}
