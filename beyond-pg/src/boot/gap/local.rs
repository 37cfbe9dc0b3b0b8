//! The volume's own WAL: what it has, and putting in place what it lacks.

use std::fs;
use std::path::PathBuf;

use wire::lsn::Lsn;

use super::GapError;
use super::plan::{Local, Mismatch, Part};
use crate::fx::fs as files;
use crate::layout::Layout;
use crate::postgres::controldata::ControlData;
use crate::postgres::{cluster, wal_end};
use crate::settings::InstanceId;
use crate::sys::user::Account;
use crate::wal::{self, SegmentName, Stream};

/// A cluster whose Postgres does not run.
pub(super) struct Volume<'a> {
    layout: &'a Layout,
    owner: Account,
    control: ControlData,
    stream: Stream,
    pub(super) local: Local,
}

impl<'a> Volume<'a> {
    pub(super) async fn observe(
        layout: &'a Layout,
        owner: Account,
        instance: Option<&InstanceId>,
    ) -> Result<Volume<'a>, GapError> {
        let control = ControlData::parse(&cluster::controldata(layout, owner).run().await?)?;
        Self::of(layout, owner, instance, control)
    }

    pub(super) fn of(
        layout: &'a Layout,
        owner: Account,
        instance: Option<&InstanceId>,
        control: ControlData,
    ) -> Result<Volume<'a>, GapError> {
        let stream = wal_end::stream(&control, control.timeline)?;
        let end = wal_end::find(layout, &stream, &control)?;
        Ok(Volume {
            layout,
            owner,
            stream,
            local: Local {
                system_id: control.system_id,
                instance: instance.map(|id| id.as_str().to_owned()),
                timeline: control.timeline,
                segment: stream.segment,
                end: end.records,
                left: left(layout, control.timeline)?,
            },
            control,
        })
    }

    /// That this volume has what the other side has, as far as both have it. What the server has removed or
    /// not yet reached is nothing to compare.
    pub(super) fn compare(&self, part: &Part, theirs: &[u8]) -> Result<(), GapError> {
        let path = self.path(part.segment);
        let ours = match fs::read(&path) {
            Ok(ours) => ours,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(GapError::Wal { path, source }),
        };
        let counts = usize::try_from(part.bytes).unwrap_or(usize::MAX);
        let mut both = theirs.iter().zip(&ours).take(counts);
        let Some(at) = both.position(|(a, b)| a != b) else {
            return Ok(());
        };
        Err(Mismatch::Diverged {
            how: format!(
                "{} is not the same in both from its byte {at} on, before {}, where the shorter of the two ends",
                part.segment, self.local.end
            ),
        }
        .into())
    }

    /// Puts a segment in place of a file that has nothing behind the end of this volume's WAL.
    pub(super) fn put(&self, part: &Part, bytes: &[u8]) -> Result<(), GapError> {
        let path = self.path(part.segment);
        files::write_atomic(&path, bytes, 0o600, self.owner)?;
        Ok(())
    }

    /// That the volume now has valid WAL up to there. Answers whether Postgres would replay none of it: after a
    /// clean stop it would write over what follows.
    pub(super) fn check(&self, until: Lsn) -> Result<bool, GapError> {
        let end = wal_end::find(self.layout, &self.stream, &self.control)?;
        if end.bytes.max(end.records) < until {
            return Err(GapError::NotWhole {
                promised: until,
                end: end.records,
                why: end.why.to_string(),
            });
        }
        let follows = end.first.is_some_and(|first| first < end.records);
        Ok(self.control.is_clean() && follows)
    }

    /// What makes Postgres recover from a checkpoint whatever `pg_control` says, on the same timeline; the
    /// files are as they were at that checkpoint.
    pub(super) fn label(&self) -> Result<(), GapError> {
        let ControlData {
            redo,
            checkpoint,
            timeline,
            ..
        } = self.control;
        let number = self.stream.segment.number(Lsn::new(redo.into()));
        let segment = SegmentName::new(timeline, number, self.stream.segment)
            .ok_or(GapError::Position { redo, timeline })?;
        let text = format!(
            "START WAL LOCATION: {redo} (file {segment})\n\
             CHECKPOINT LOCATION: {checkpoint}\n\
             BACKUP METHOD: beyond-pg\n\
             BACKUP FROM: primary\n\
             START TIMELINE: {timeline}\n"
        );
        let path = self.layout.backup_label();
        files::write_atomic(&path, text.as_bytes(), 0o600, self.owner)?;
        tracing::info!(
            "the volume was stopped cleanly before what was fetched: Postgres recovers from {redo}"
        );
        Ok(())
    }

    fn path(&self, segment: SegmentName) -> PathBuf {
        self.layout
            .pgdata()
            .join("pg_wal")
            .join(segment.to_string())
    }
}

/// Where the timelines before this one were left; the first has no history.
fn left(layout: &Layout, timeline: u32) -> Result<Vec<(u32, Lsn)>, GapError> {
    let path = layout
        .pgdata()
        .join("pg_wal")
        .join(wal::name::history(timeline));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(wal::name::left_at(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(GapError::Wal { path, source }),
    }
}
