//! Before a sink receives over a segment that grows: that the primary has the same WAL as far as the sink
//! acknowledged it. A primary that started without asking may have gone on from an earlier position, on
//! the same timeline and past the sink's end, and `pg_receivewal` would write that over the only copy of
//! commits that were acknowledged.
//!
//! The same program looks: into a folder of its own, in a session that acknowledges nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use wire::lsn::Lsn;

use crate::fx::clock;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self as files, FsError};
use crate::sink::primary::{Primary, PrimaryError};
use crate::sink::receiver::PROGRAM;
use crate::sink::store::Tail;
use crate::wal::SegmentName;
use crate::wal::name::PARTIAL;

/// For one segment at most.
const ANSWER: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub(crate) enum ProbeError {
    #[error("asking the primary for the WAL that this sink received last")]
    Ask(#[from] ExecError),
    #[error("the primary did not send the WAL that this sink received last within {} s", ANSWER.as_secs())]
    Silent,
    #[error(
        "the primary's WAL is not what this sink acknowledged: {segment} differs from its byte {at} on, and ends here at {end}. The primary went on without commits that this sink holds. Nothing was taken from it, and everything here stays.\n\
         HINT: stop the primary and start it with BEYOND_PG_WAL_SINK_POLICY=required, which compares the two; to go on with what the primary has, give it a sink with an empty volume, and keep this one"
    )]
    Diverged {
        segment: SegmentName,
        at: usize,
        end: Lsn,
    },
    #[error("{tried} {}", path.display())]
    Io {
        tried: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Primary(#[from] PrimaryError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Fetches what the primary has in place of the tail, and compares.
pub(crate) async fn check(primary: &Primary<'_>, tail: &Tail) -> Result<(), ProbeError> {
    // Without a finished segment before it the program would begin elsewhere, and segment 0 is none to it.
    let Some(before) = tail.before.filter(|_| tail.records > tail.start) else {
        return Ok(());
    };
    let folder = primary.layout.sink_probe();
    let compared = fetch(primary, tail, before, &folder).await;
    let compared = compared.and_then(|()| compare(tail, &folder));
    files::remove_tree_if_present(&folder)?;
    compared
}

async fn fetch(
    primary: &Primary<'_>,
    tail: &Tail,
    before: SegmentName,
    folder: &Path,
) -> Result<(), ProbeError> {
    files::remove_tree_if_present(folder)?;
    files::make_dir(folder, 0o700, primary.owner)?;
    // It goes on behind the newest finished segment (facts A 5), by name and size.
    let finished = vec![0; usize::try_from(tail.segment_bytes).unwrap_or_default()];
    let path = folder.join(before.to_string());
    files::write_atomic(&path, &finished, 0o600, primary.owner)?;
    // It ends behind the position that it is given, not at it.
    let end = Lsn::new(tail.records.get().saturating_sub(1));
    let _pass = primary.passfile(PROGRAM)?;
    let program = primary
        .program(PROGRAM)
        .args(["--no-loop", "--no-password", "--no-sync", "--endpos"])
        .arg(end.to_string())
        .arg("-D")
        .arg(folder)
        .arg("-d")
        .arg(primary.observing());
    match clock::within(ANSWER, program.run()).await {
        Some(fetched) => Ok(fetched.map(drop)?),
        None => Err(ProbeError::Silent),
    }
}

fn compare(tail: &Tail, folder: &Path) -> Result<(), ProbeError> {
    let name = tail.segment.to_string();
    let theirs = match read(&folder.join(&name)) {
        Err(ProbeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            read(&folder.join(format!("{name}{PARTIAL}")))?
        }
        theirs => theirs?,
    };
    let ours = read(&tail.path)?;
    match tail.differs(&ours, &theirs) {
        None => Ok(()),
        Some(at) => Err(ProbeError::Diverged {
            segment: tail.segment,
            at,
            end: tail.records,
        }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ProbeError> {
    fs::read(path).map_err(|source| ProbeError::Io {
        tried: "reading",
        path: path.to_owned(),
        source,
    })
}
