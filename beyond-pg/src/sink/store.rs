//! What a sink holds: segments as `pg_receivewal` lays them out, and whose they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::lsn::Lsn;
use wire::sink::{Description, Holding, Segment};

use crate::fx::fs::{self as files, FsError};
use crate::layout::Layout;
use crate::sink::base::{self, BaseError};
use crate::sink::primary::{Look, Slot};
use crate::sys::user::Account;
use crate::wal::name::{self, PARTIAL};
use crate::wal::{Begin, Folder, SegmentName, SegmentSize, Stream, walk};

/// How much WAL is kept before the primary's redo point. A volume that falls back to its flush point is
/// up to 512 MiB of writes older than its machine, and so may be its redo point.
pub(crate) const BEFORE_REDO: u64 = 1 << 30;

#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("{tried} {path}")]
    Io {
        tried: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{path} does not say whose WAL this is\nHINT: the file is damaged; give the sink an empty volume and keep this one"
    )]
    Identity {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(
        "the primary is another database than the one whose WAL is here: {theirs} instead of {ours}. Nothing was taken from it.\n\
         HINT: correct BEYOND_PG_PRIMARY_CONNINFO, or give this sink an empty volume"
    )]
    OtherDatabase { ours: String, theirs: String },
    #[error(
        "the primary's WAL ends at {theirs}, and what is here at {ours}: it runs without commits that this sink holds. Nothing was taken from it.\n\
         HINT: restart the primary with BEYOND_PG_WAL_SINK_POLICY=required, which fetches them or says why it cannot; or give this sink an empty volume and keep this one"
    )]
    Behind { theirs: Lsn, ours: Lsn },
    #[error("packing the description")]
    Description(#[from] serde_json::Error),
    #[error("the primary has segments of {0} bytes, which none can have")]
    SegmentSize(u64),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Whose WAL it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    system_id: String,
    instance_id: Option<String>,
    segment_bytes: u64,
}

impl Identity {
    fn stream(&self, timeline: u32, segment: SegmentSize) -> Stream {
        Stream {
            system_id: self.system_id.parse().unwrap_or(0),
            timeline,
            segment,
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instance = self.instance_id.as_deref().unwrap_or("without a name");
        write!(f, "system {}, instance {instance}", self.system_id)
    }
}

/// The segment that grows: what the receiver goes on with, and would write over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) segment: SegmentName,
    /// The one before it, where there can be one.
    pub(crate) before: Option<SegmentName>,
    pub(crate) segment_bytes: u64,
    pub(crate) path: PathBuf,
    pub(crate) start: Lsn,
    /// The end of the last whole record in it. What lies behind was never acknowledged as a commit, and
    /// a primary that crashed may write something else there.
    pub(crate) records: Lsn,
}

impl Tail {
    /// The first byte before the end that is not the same in both.
    pub(crate) fn differs(&self, ours: &[u8], theirs: &[u8]) -> Option<usize> {
        let counts = self.records.bytes_since(self.start).unwrap_or(0);
        let counts = usize::try_from(counts).unwrap_or(usize::MAX);
        (0..counts.min(ours.len())).find(|at| ours.get(*at) != theirs.get(*at))
    }
}

/// The folder of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    layout: Layout,
}

impl Store {
    pub(crate) fn of(layout: &Layout) -> Store {
        Store {
            layout: layout.clone(),
        }
    }

    /// All that is here; `None` before anything is.
    pub(crate) fn holding(&self) -> Result<Option<Holding>, StoreError> {
        let Some(identity) = self.identity()? else {
            return Ok(None);
        };
        let size = size(identity.segment_bytes)?;
        let wal = self.layout.sink_wal();
        let names = names(&wal)?;
        let received = names.iter().filter_map(|name| name::parse_received(name));
        let Some(timeline) = received.map(|(name, _partial)| name.timeline).max() else {
            return Ok(None);
        };
        let folder = Folder::list(&wal, timeline, size).map_err(failed("listing", &wal))?;
        let Some(flushed_lsn) = self.flushed(folder, &identity, timeline, size)? else {
            return Ok(None);
        };
        let histories = names
            .iter()
            .filter(|name| name::parse_history(name).is_some());
        Ok(Some(Holding {
            segments: segments(&names, flushed_lsn, size),
            histories: histories.cloned().collect(),
            system_id: identity.system_id,
            instance_id: identity.instance_id,
            timeline,
            segment_bytes: identity.segment_bytes,
            flushed_lsn,
        }))
    }

    /// A finished segment is safe whole; of one that grows, what is valid.
    fn flushed(
        &self,
        mut folder: Folder,
        identity: &Identity,
        timeline: u32,
        size: SegmentSize,
    ) -> Result<Option<Lsn>, StoreError> {
        let Some((number, last)) = folder.segments().last_key_value() else {
            return Ok(None);
        };
        let (number, partial, path) = (*number, last.partial, last.path.clone());
        if !partial {
            return Ok(size.start(number + 1));
        }
        let Some(start) = size.start(number) else {
            return Ok(None);
        };
        let stream = identity.stream(timeline, size);
        let end =
            walk(&mut folder, &stream, Begin::Segment(start)).map_err(failed("reading", &path))?;
        Ok(Some(end.bytes.max(end.records)))
    }

    /// The segment that grows, if there is one.
    pub(crate) fn tail(&self) -> Result<Option<Tail>, StoreError> {
        let (Some(holding), Some(identity)) = (self.holding()?, self.identity()?) else {
            return Ok(None);
        };
        let (size, timeline) = (size(holding.segment_bytes)?, holding.timeline);
        let wal = self.layout.sink_wal();
        let mut folder = Folder::list(&wal, timeline, size).map_err(failed("listing", &wal))?;
        let grows = folder
            .segments()
            .last_key_value()
            .filter(|(_, last)| last.partial);
        let Some((number, path)) = grows.map(|(number, last)| (*number, last.path.clone())) else {
            return Ok(None);
        };
        let name = |number| SegmentName::new(timeline, number, size);
        let (Some(segment), Some(start)) = (name(number), size.start(number)) else {
            return Ok(None);
        };
        let stream = identity.stream(timeline, size);
        let end =
            walk(&mut folder, &stream, Begin::Segment(start)).map_err(failed("reading", &path))?;
        Ok(Some(Tail {
            segment,
            before: number
                .checked_sub(1)
                .filter(|before| *before > 0)
                .and_then(name),
            segment_bytes: size.bytes(),
            path,
            start,
            records: end.records,
        }))
    }

    /// All that is here, as it is described to whoever asks.
    pub(crate) fn description(&self, receiving: bool) -> Result<Description, StoreError> {
        Ok(Description {
            receiving,
            holding: self.holding()?,
            base: base::held(&self.layout)?,
        })
    }

    /// The bytes of the base from there on.
    pub(crate) fn base_piece(&self, from: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(base::piece(&self.layout, from)?)
    }

    /// Whether the primary may be on no flushed volume, and no copy of it is here.
    pub(crate) fn wants_base(&self, look: &Look) -> Result<bool, StoreError> {
        Ok(base::is_young(look) && base::held(&self.layout)?.is_none())
    }

    /// The bytes of a file by the name that the description gives it. A segment that was finished since is
    /// served under its old name, too.
    pub(crate) fn file(&self, asked: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let known = name::parse_history(asked).is_some() || name::parse_received(asked).is_some();
        if !known {
            return Ok(None);
        }
        let wal = self.layout.sink_wal();
        let finished = asked.strip_suffix(PARTIAL);
        for name in [Some(asked), finished].into_iter().flatten() {
            let path = wal.join(name);
            match fs::read(&path) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed("reading", &path)(source)),
            }
        }
        Ok(None)
    }

    /// Takes the first primary for the one whose WAL this is, and refuses any other once anything of it
    /// is here.
    pub(crate) fn admit(&self, look: &Look, owner: Account) -> Result<(), StoreError> {
        let theirs = Identity {
            system_id: look.system_id.clone(),
            instance_id: look.instance_id.clone(),
            segment_bytes: look.segment_bytes,
        };
        match self.identity()? {
            Some(ours) if ours == theirs => self.check_not_behind(look),
            Some(ours) if !self.is_empty()? => Err(StoreError::OtherDatabase {
                ours: ours.to_string(),
                theirs: theirs.to_string(),
            }),
            Some(_) | None => {
                size(theirs.segment_bytes)?;
                let path = self.layout.sink_identity();
                let text = serde_json::to_string(&theirs);
                let text = text.map_err(|source| StoreError::Identity {
                    path: path.clone(),
                    source,
                })?;
                tracing::info!("holding the WAL of {theirs} from now on");
                Ok(files::write_atomic(&path, text.as_bytes(), 0o600, owner)?)
            }
        }
    }

    /// Nothing was received yet, so nothing was acknowledged.
    fn is_empty(&self) -> Result<bool, StoreError> {
        let kept = [self.layout.sink_base(), self.layout.sink_wal_before()];
        Ok(names(&self.layout.sink_wal())?.is_empty() && !kept.iter().any(|path| path.exists()))
    }

    /// A primary without what is here gave it up or lost it: receiving would write over the only copy.
    fn check_not_behind(&self, look: &Look) -> Result<(), StoreError> {
        let end = match self.tail()? {
            // Half a record behind it is gone when the primary crashed, and was never acknowledged.
            Some(tail) => Some(tail.records),
            None => self.holding()?.map(|holding| holding.flushed_lsn),
        };
        match end {
            Some(ours) if ours > look.flush_lsn => Err(StoreError::Behind {
                theirs: look.flush_lsn,
                ours,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// A slot that keeps WAL only behind the end of what is here leaves a hole: what is here is set aside
    /// with the base that it belongs to, and receiving begins with the oldest that the primary has.
    /// Answers what to say about it.
    pub(crate) fn begin_again(
        &self,
        slot: &Slot,
        owner: Account,
    ) -> Result<Option<String>, StoreError> {
        let (Some(holding), Some(kept)) = (self.holding()?, slot.restart_lsn) else {
            return Ok(None);
        };
        let (size, ours) = (size(holding.segment_bytes)?, holding.flushed_lsn);
        if size.number(kept) <= size.number(ours) {
            return Ok(None);
        }
        let (wal, before) = (self.layout.sink_wal(), self.layout.sink_wal_before());
        let base = self.layout.sink_base();
        files::remove_tree_if_present(&before)?;
        files::rename(&wal, &before)?;
        files::make_dir(&wal, 0o700, owner)?;
        if base.exists() {
            files::rename(&base, &before.join("base"))?;
        }
        Ok(Some(format!(
            "the slot on the primary was lost: it keeps WAL from {kept} on, and what is here ends at {ours}. Receiving begins again with the oldest that the primary has; until its volume was flushed, a loss of its host loses commits. What was here is in {}",
            before.display()
        )))
    }

    /// The receiver wants a segment that it goes on with to have its full size; one that found no room
    /// for it may be shorter.
    pub(crate) fn pad_partial(&self, segment_bytes: u64) -> Result<(), StoreError> {
        let wal = self.layout.sink_wal();
        for name in names(&wal)?.iter().filter(|name| name.ends_with(PARTIAL)) {
            let path = wal.join(name);
            let file = fs::OpenOptions::new().write(true).open(&path);
            let pad = file.and_then(|file| {
                if file.metadata()?.len() < segment_bytes {
                    file.set_len(segment_bytes)?;
                    file.sync_all()?;
                }
                Ok(())
            });
            pad.map_err(failed("padding", &path))?;
        }
        Ok(())
    }

    /// Removes the segments that end so far before the primary's redo point that no state of its volume
    /// needs them.
    pub(crate) fn forget_before(&self, redo: Lsn) -> Result<(), StoreError> {
        let Some(identity) = self.identity()? else {
            return Ok(());
        };
        let size = size(identity.segment_bytes)?;
        let floor = Lsn::new(redo.get().saturating_sub(BEFORE_REDO));
        base::forget_before(&self.layout, floor)?;
        let wal = self.layout.sink_wal();
        for name in names(&wal)? {
            let Some(segment) = SegmentName::parse(&name) else {
                continue;
            };
            let end = segment
                .number(size)
                .and_then(|number| size.start(number + 1));
            if end.is_some_and(|end| end <= floor) {
                files::remove_if_present(&wal.join(name))?;
            }
        }
        Ok(())
    }

    fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let path = self.layout.sink_identity();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| StoreError::Identity { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("reading", &path)(source)),
        }
    }
}

/// The files with WAL in them, and how much of each counts.
fn segments(names: &[String], flushed: Lsn, size: SegmentSize) -> Vec<Segment> {
    let segment = |name: &String| {
        let (segment, partial) = name::parse_received(name)?;
        let start = size.start(segment.number(size)?)?;
        let bytes = match partial {
            true => flushed.bytes_since(start).unwrap_or(0).min(size.bytes()),
            false => size.bytes(),
        };
        Some(Segment {
            name: name.clone(),
            bytes,
            partial,
        })
    };
    names.iter().filter_map(segment).collect()
}

fn size(bytes: u64) -> Result<SegmentSize, StoreError> {
    SegmentSize::new(bytes).ok_or(StoreError::SegmentSize(bytes))
}

/// In order; names that are no text are nobody's.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(folder).map_err(failed("listing", folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("listing", folder))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        tried,
        path,
        source,
    }
}
