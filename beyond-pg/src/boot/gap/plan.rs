//! Which WAL a volume lacks that its sink has: facts in, what to compare and to fetch, or a refusal
//! that touches nothing, out.
//!
//! ```text
//!   this volume   ──────────────E                     E: the end of its last whole record
//!   the sink      ────────────────────────F           F: the end of what is safe there
//!                 compare ◄─────┤├────────► fetch
//! ```
//!
//! Positions decide, and names never do: a file of the right name may be a recycled one (facts A 7).

use std::collections::BTreeMap;

use thiserror::Error;
use wire::lsn::Lsn;
use wire::sink::{Base, Description, Holding, Segment};

use crate::wal::name::parse_received;
use crate::wal::{SegmentName, SegmentSize};

/// What this volume is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) system_id: u64,
    pub(crate) instance: Option<String>,
    pub(crate) timeline: u32,
    pub(crate) segment: SegmentSize,
    /// The end of the last whole record.
    pub(crate) end: Lsn,
    /// Where the timelines before this one were left.
    pub(crate) left: Vec<(u32, Lsn)>,
}

/// What makes this volume hold all that its sink does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// First: that both have the same WAL as far as both have it.
    pub(crate) compare: Option<Part>,
    /// Then, in this order.
    pub(crate) fetch: Vec<Part>,
    /// What the volume has afterwards, at least.
    pub(crate) until: Lsn,
}

/// The beginning of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) segment: SegmentName,
    /// What the sink calls it.
    pub(crate) served: String,
    /// How much of it counts.
    pub(crate) bytes: u64,
}

/// Why this volume is not started with this sink. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    #[error(
        "the sink holds the WAL of another cluster: its system identifier is {sink}, this volume's is {local}. Nothing was changed.\n\
         HINT: name the sink that belongs to this database, or give this one a sink that is empty"
    )]
    OtherSystem { sink: String, local: u64 },
    #[error(
        "the sink holds the WAL of instance {sink}, and this is {local}: one is a fork of the other. Nothing was changed.\n\
         HINT: give this instance a sink of its own"
    )]
    OtherInstance { sink: String, local: String },
    #[error(
        "this volume holds no cluster, and the sink holds one of instance {sink}; this is {local}. Nothing was changed.\n\
         HINT: give this instance a sink of its own"
    )]
    OthersSink { sink: String, local: String },
    #[error(
        "this volume holds no cluster, and the sink holds the WAL of one, system {system} up to {end}, but not the cluster: WAL alone makes none. Nothing was changed.\n\
         HINT: restore a snapshot or a backup of that database onto this volume; to begin with an empty database, empty the sink's volume, which gives up what only it holds"
    )]
    NoCluster { system: String, end: Lsn },
    #[error(
        "the sink keeps a copy of cluster {base} and the WAL of cluster {wal}. Nothing was changed.\n\
         HINT: its files are mixed up; keep them, and restore the volume from a snapshot or a backup"
    )]
    BaseOfAnother { base: String, wal: String },
    #[error(
        "the sink has segments of {sink} bytes, this cluster of {local}. Nothing was changed.\n\
         HINT: name the sink that belongs to this database"
    )]
    SegmentSize { sink: u64, local: u64 },
    #[error(
        "the sink's WAL and this volume's have diverged: {how}. Nothing was changed, here or there.\n\
         HINT: one of the two holds commits that the other lacks. Keep both; compare them with pg_waldump, then either restore the volume to a state of that history, or point this machine at a sink that is empty, which gives up what only the old one has"
    )]
    Diverged { how: String },
    #[error(
        "the sink lacks {missing}, which lies between the end of this volume's WAL at {local} and the end of the sink's at {sink}. Nothing was changed.\n\
         HINT: acknowledged commits may be in the hole; restore a later state of the volume, or take the segment from an archive"
    )]
    Hole {
        missing: String,
        local: Lsn,
        sink: Lsn,
    },
}

/// The cluster that belongs on a volume which has none: the sink's copy of it. A sink that holds WAL alone
/// has a cluster that was somewhere once, and another one in its place would never be let near it.
pub(crate) fn cluster(sink: Description, instance: Option<&str>) -> Result<Option<Base>, Mismatch> {
    let holding = sink.holding.as_ref();
    let theirs = match (&sink.base, holding) {
        (Some(base), _) => base.instance_id.clone(),
        (None, Some(holding)) => holding.instance_id.clone(),
        (None, None) => return Ok(None),
    };
    if let (Some(theirs), Some(ours)) = (theirs, instance)
        && theirs != ours
    {
        return Err(Mismatch::OthersSink {
            sink: theirs,
            local: ours.to_owned(),
        });
    }
    match (sink.base, sink.holding) {
        (Some(base), Some(holding)) if holding.system_id != base.system_id => {
            Err(Mismatch::BaseOfAnother {
                base: base.system_id,
                wal: holding.system_id,
            })
        }
        (None, Some(holding)) => Err(Mismatch::NoCluster {
            system: holding.system_id,
            end: holding.flushed_lsn,
        }),
        (base, _) => Ok(base),
    }
}

impl Local {
    /// What to do about a sink that holds this.
    pub(crate) fn gap(&self, sink: &Holding) -> Result<Gap, Mismatch> {
        self.check_identity(sink)?;
        let until = sink.flushed_lsn;
        if sink.timeline != self.timeline {
            return self.gap_across_timelines(sink);
        }
        let served = self.served(sink);
        let both = self.end.min(until);
        let compare = self.part(&served, self.segment.number_of_last(both), both);
        let mut fetch = Vec::new();
        if until > self.end {
            for number in self.segment.number(self.end)..=self.segment.number_of_last(until) {
                let part = self.part(&served, number, until);
                fetch.push(part.ok_or_else(|| self.hole(number, until))?);
            }
        }
        Ok(Gap {
            compare,
            fetch,
            until,
        })
    }

    fn check_identity(&self, sink: &Holding) -> Result<(), Mismatch> {
        if sink.system_id != self.system_id.to_string() {
            return Err(Mismatch::OtherSystem {
                sink: sink.system_id.clone(),
                local: self.system_id,
            });
        }
        if let (Some(theirs), Some(ours)) = (&sink.instance_id, &self.instance)
            && theirs != ours
        {
            return Err(Mismatch::OtherInstance {
                sink: theirs.clone(),
                local: ours.clone(),
            });
        }
        if sink.segment_bytes != self.segment.bytes() {
            return Err(Mismatch::SegmentSize {
                sink: sink.segment_bytes,
                local: self.segment.bytes(),
            });
        }
        Ok(())
    }

    /// A sink that has yet to hear of our timeline is behind, if it stopped before we left its own.
    fn gap_across_timelines(&self, sink: &Holding) -> Result<Gap, Mismatch> {
        let (ours, theirs, until) = (self.timeline, sink.timeline, sink.flushed_lsn);
        let left = self.left.iter().find(|(timeline, _)| *timeline == theirs);
        match left {
            Some((_, at)) if until <= *at => Ok(Gap {
                compare: None,
                fetch: Vec::new(),
                until,
            }),
            Some((_, at)) => Err(Mismatch::Diverged {
                how: format!(
                    "this volume left timeline {theirs} at {at}, the sink followed it to {until}"
                ),
            }),
            None => Err(Mismatch::Diverged {
                how: format!(
                    "the sink is on timeline {theirs}, which this volume, on {ours}, has never been on"
                ),
            }),
        }
    }

    /// What the sink has of our timeline and before, by number; a finished segment before one that grows.
    fn served<'s>(&self, sink: &'s Holding) -> BTreeMap<u64, (SegmentName, &'s Segment)> {
        let mut served: BTreeMap<u64, (SegmentName, &Segment)> = BTreeMap::new();
        for segment in &sink.segments {
            let Some((name, partial)) = parse_received(&segment.name) else {
                continue;
            };
            let Some(number) = name.number(self.segment) else {
                continue;
            };
            let rank = |name: SegmentName, partial: bool| (name.timeline, !partial);
            let known = served.get(&number);
            let better =
                known.is_none_or(|(known, of)| rank(*known, of.partial) < rank(name, partial));
            if name.timeline <= self.timeline && better {
                served.insert(number, (name, segment));
            }
        }
        served
    }

    /// The part of a segment that lies before `end`; `None` when the sink has not that much of it.
    fn part(
        &self,
        served: &BTreeMap<u64, (SegmentName, &Segment)>,
        number: u64,
        end: Lsn,
    ) -> Option<Part> {
        let (segment, of) = served.get(&number)?;
        let start = self.segment.start(number)?;
        let bytes = end.bytes_since(start)?.min(self.segment.bytes());
        (of.bytes >= bytes).then(|| Part {
            segment: *segment,
            served: of.name.clone(),
            bytes,
        })
    }

    fn hole(&self, number: u64, sink: Lsn) -> Mismatch {
        let name = SegmentName::new(self.timeline, number, self.segment);
        Mismatch::Hole {
            missing: name.map_or_else(|| format!("segment {number}"), |name| name.to_string()),
            local: self.end,
            sink,
        }
    }
}
