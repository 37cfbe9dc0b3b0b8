//! The same from this machine's own archive (B-008).
//!
//! A volume that fell back to its flush point may lack segments that were archived since. Postgres would recover
//! to the volume's end and write other WAL under their names, on the same timeline; the archive refuses that, and
//! archiving would stop until somebody acts.
//!
//! ```text
//!   this volume   ──────────────E                     E: the end of its last whole record
//!   the archive   ══════╪══════╪══════╪      ╪══╪     whole segments, as a rule one after the other
//!                        compare│fetch │      stranded
//! ```
//!
//! It has whole segments alone, so this is no sink: what lies behind the last one went with the host.
//! The client of object storage is in no process that lives long: PID 1 starts one for this and reads what it
//! prints.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::lsn::Lsn;
use wire::sink::{Holding, Segment as Served};

use super::local::Volume;
use super::plan::{Local, Mismatch};
use super::{Filled, GapError, Whose};
use crate::archive::fetch::{FetchError, fetch};
use crate::archive::file::{SEGMENT_BYTES, Segment, WalFile};
use crate::archive::place::Place;
use crate::archive::store::{Store, StoreError, Why};
use crate::archive::{self, ArchiveError};
use crate::fx::clock;
use crate::layout::Layout;
use crate::supervise::chain;
use crate::sys::user;

/// How long the archive may take to say what it has: a boot does not wait for one that is away.
const LOOK: Duration = Duration::from_secs(5);

/// What came of it, in one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Caught {
    /// It has nothing that the volume lacks.
    Nothing { end: Lsn },
    /// The volume's WAL ended at `end`, and ends at `until` now.
    Up {
        end: Lsn,
        until: Lsn,
        fetched: usize,
        /// What is there besides, and why it cannot be had.
        left: Option<String>,
    },
    /// It has what cannot follow on this volume's WAL.
    Not { why: String },
    /// It has more, and does not give it now.
    Later { end: Lsn, until: Lsn, why: String },
}

/// What PID 1 says and does about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// What recovery has to reach.
    pub(crate) filled: Option<Filled>,
    /// For the log and `degraded`.
    pub(crate) words: Option<String>,
    /// To be asked again, before Postgres is started.
    pub(crate) again: bool,
}

impl Told {
    pub(crate) fn of(answer: &Result<Caught, String>) -> Told {
        let (filled, words, again) = match answer {
            Ok(Caught::Nothing { .. }) => (None, None, false),
            Ok(Caught::Up {
                until,
                fetched,
                left,
                ..
            }) => {
                let filled = Filled {
                    whose: Whose::Archive,
                    until: *until,
                    fetched: *fetched,
                };
                let left = left.as_ref().map(|left| stops(left));
                (Some(filled), left, false)
            }
            Ok(Caught::Not { why }) => (None, Some(stops(why)), false),
            Ok(Caught::Later { end, until, why }) => {
                let words = format!(
                    "waiting for the archive, which has WAL up to {until} that this volume, whose own ends at {end}, lacks: {why}\n\
                     HINT: see whether the object storage answers; leaving BEYOND_PG_ARCHIVE_TARGET out starts without it and gives those commits up"
                );
                (None, Some(words), true)
            }
            Err(error) => {
                let words = format!(
                    "started without asking the archive, which may have WAL that this volume lacks: {error}\n\
                     HINT: nothing is to be done while archiving goes on; if it stops at another file of the same name, see docs/archive.md"
                );
                (None, Some(words), false)
            }
        };
        Told {
            filled,
            words,
            again,
        }
    }
}

fn stops(why: &str) -> String {
    format!(
        "what the archive has does not follow on this volume's WAL: {why}. Archiving stops when it comes to a name that is taken\n\
         HINT: a new prefix for BEYOND_PG_ARCHIVE_TARGET and a snapshot begin an archive of what is here; a restore from the old one goes to what that has"
    )
}

/// `beyond-pg archive-gap`: fetches what the archive has and this volume lacks. An error: it could not be asked.
pub(crate) async fn catch_up(layout: &Layout) -> Result<Caught, GapError> {
    let account = user::postgres().map_err(ArchiveError::from)?;
    let volume = Volume::observe(layout, account, None).await?;
    let asked = clock::within(LOOK, async {
        let (store, place) = archive::own(layout).await?;
        let archived = listed(&store, &place, &volume.local).await?;
        Ok::<_, ArchiveError>((store, place, archived))
    });
    let (store, place, archived) = asked.await.ok_or(GapError::ArchiveSilent(LOOK))??;
    fill(&volume, &store, &place, &archived).await
}

/// The segments that it has from the end of the volume's WAL on, those of later timelines among them.
async fn listed(
    store: &impl Store,
    place: &Place,
    local: &Local,
) -> Result<Vec<Segment>, StoreError> {
    let first = Segment {
        timeline: local.timeline,
        number: local.segment.number(local.end),
    };
    // An archive grows for years, and what lies before was looked at when it was put there.
    let before = place.before(first);
    let entries = store.list(&place.files(), Some(&before)).await?;
    let mut segments: Vec<Segment> = entries
        .iter()
        .filter_map(|entry| place.segment_of(&entry.key))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

/// How far an archive leads on from the volume's WAL.
#[derive(Debug, PartialEq, Eq)]
struct Reach {
    /// As a sink would say it; `None`: nowhere.
    holding: Option<Holding>,
    /// The first segment that does not follow on it.
    stranded: Option<Segment>,
}

impl Reach {
    fn of(local: &Local, archived: &[Segment]) -> Reach {
        let segment = |number| Segment {
            timeline: local.timeline,
            number,
        };
        let first = local.segment.number(local.end);
        let mut next = first;
        while archived.contains(&segment(next)) {
            next += 1;
        }
        let stranded = archived.iter().find(|one| **one >= segment(next)).copied();
        let served = |number| Served {
            name: segment(number).to_string(),
            bytes: SEGMENT_BYTES,
            partial: false,
        };
        let holding = (next > first).then(|| Holding {
            system_id: local.system_id.to_string(),
            instance_id: None,
            timeline: local.timeline,
            segment_bytes: SEGMENT_BYTES,
            flushed_lsn: Lsn::new(next * SEGMENT_BYTES),
            segments: (first..next).map(served).collect(),
            histories: Vec::new(),
        });
        Reach { holding, stranded }
    }
}

async fn fill(
    volume: &Volume<'_>,
    store: &impl Store,
    place: &Place,
    archived: &[Segment],
) -> Result<Caught, GapError> {
    let end = volume.local.end;
    let Reach { holding, stranded } = Reach::of(&volume.local, archived);
    let left = stranded.map(|segment| {
        format!("it has {segment} besides, and nothing that leads there from this volume's WAL")
    });
    let Some(holding) = holding else {
        return Ok(match left {
            None => Caught::Nothing { end },
            Some(why) => Caught::Not { why },
        });
    };
    let gap = volume.local.gap(&holding)?;
    let until = gap.until;
    for (index, part) in gap.fetch.iter().enumerate() {
        let name = &part.served;
        let file = WalFile::parse(name).ok_or_else(|| ArchiveError::Name(name.clone()))?;
        let bytes = match fetch(store, place, &file).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let why = format!("{name} is gone since it was listed");
                return Ok(Caught::Later { end, until, why });
            }
            Err(error) => return Ok(not_fetched(end, until, &error)),
        };
        // The first is the one in which the volume's WAL ends.
        if index == 0
            && let Some(compare) = &gap.compare
            && let Err(error) = volume.compare(compare, &bytes)
        {
            return match error {
                GapError::Mismatch(Mismatch::Diverged { how }) => Ok(Caught::Not { why: how }),
                error => Err(error),
            };
        }
        volume.put(part, &bytes)?;
    }
    let ends_short = match volume.check(until) {
        Ok(ends_short) => ends_short,
        Err(GapError::NotWhole { end, why, .. }) => {
            let why = format!("its WAL is valid up to {end} only: {why}");
            return Ok(Caught::Not { why });
        }
        Err(error) => return Err(error),
    };
    if ends_short {
        volume.label()?;
    }
    Ok(Caught::Up {
        end,
        until,
        fetched: gap.fetch.len(),
        left,
    })
}

/// Keys that may not read and an object that is damaged are no reason to keep a database down.
fn not_fetched(end: Lsn, until: Lsn, error: &FetchError) -> Caught {
    let why = chain(error);
    match error {
        FetchError::Store(StoreError {
            why: Why::Trouble | Why::NoBucket,
            ..
        })
        | FetchError::Task(_) => Caught::Later { end, until, why },
        FetchError::Store(StoreError {
            why: Why::Forbidden | Why::Unlabelled,
            ..
        })
        | FetchError::Damaged { .. } => Caught::Not { why },
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
