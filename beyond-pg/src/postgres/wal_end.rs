//! Where the WAL of a volume ends whose Postgres does not run.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use wire::lsn::Lsn;

use crate::layout::Layout;
use crate::postgres::controldata::ControlData;
use crate::wal::{self, Begin, End, Folder, SegmentSize, Stream};

#[derive(Debug, Error)]
pub(crate) enum WalEndError {
    #[error("reading the WAL in {path}")]
    Wal { path: PathBuf, source: io::Error },
    #[error("the cluster says that its WAL segments have {0} bytes, which none can have")]
    SegmentSize(u64),
}

/// What tells this cluster's WAL from others'. `timeline`: the one that it is on.
pub(crate) fn stream(control: &ControlData, timeline: u32) -> Result<Stream, WalEndError> {
    let segment = SegmentSize::new(control.segment_bytes)
        .ok_or(WalEndError::SegmentSize(control.segment_bytes))?;
    Ok(Stream {
        system_id: control.system_id,
        timeline,
        segment,
    })
}

/// Follows it from the redo point on.
pub(crate) fn find(
    layout: &Layout,
    stream: &Stream,
    control: &ControlData,
) -> Result<End, WalEndError> {
    let path = layout.pgdata().join("pg_wal");
    let failed = |source| WalEndError::Wal {
        path: path.clone(),
        source,
    };
    let mut folder = Folder::list(&path, stream.timeline, stream.segment).map_err(failed)?;
    let begin = Begin::Record(Lsn::new(control.redo.into()));
    wal::walk(&mut folder, stream, begin).map_err(failed)
}
