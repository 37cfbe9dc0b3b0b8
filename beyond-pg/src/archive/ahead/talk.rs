//! What the commands that Postgres runs ask, and what is answered: one line of JSON each, over a socket in
//! a folder of the OS user `postgres` on tmpfs.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::layout::Layout;

/// No question and no answer is longer.
const LONGEST: u64 = 64 * 1024;

/// Paths are relative to PGDATA, as Postgres gives them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Question {
    Archive { path: PathBuf, name: String },
    Restore { name: String, path: PathBuf },
}

impl Question {
    pub(crate) fn archive(path: &Path, name: &str) -> Question {
        Question::Archive {
            path: path.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn restore(name: &str, path: &Path) -> Question {
        Question::Restore {
            name: name.to_owned(),
            path: path.to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// The file is in the archive, or in its place.
    Done,
    /// The archive does not have it.
    Absent,
    /// In words, as the command would have said it.
    Failed(String),
    /// This is nothing to be done ahead: the command does it.
    Yourself,
}

/// Asks; `None` when nobody is there or nobody answers, and the command does it itself. An answer takes as long
/// as object storage does, and the end of the process that owes it is the end of the connection.
pub(crate) async fn ask(layout: &Layout, question: &Question) -> Option<Answer> {
    match converse(layout, question).await {
        Ok(answer) => Some(answer),
        Err(error) if is_nobody(&error) => None,
        Err(error) => {
            tracing::warn!("whoever works ahead of the archiver did not answer: {error}");
            None
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

async fn converse(layout: &Layout, question: &Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(layout.ahead_socket()).await?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}

/// Reads the question of a connection.
pub(super) async fn question(stream: &mut UnixStream) -> io::Result<Question> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST))
        .read_line(&mut line)
        .await?;
    Ok(serde_json::from_str(&line)?)
}

/// Answers it.
pub(super) async fn answer(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    stream.write_all(&serde_json::to_vec(answer)?).await
}
