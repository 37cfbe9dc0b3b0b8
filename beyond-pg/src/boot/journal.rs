//! What a boot has done so far: the log lines `boot 3/17 …`, the boot record, and the place where a
//! scenario stops a boot.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The structured record that each boot leaves in the log (contract 7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BootRecord {
    /// Where the settings came from.
    pub(crate) settings: String,
    pub(crate) tier: String,
    pub(crate) ram_mb: u64,
    pub(crate) vcpus: u32,
    /// What was not as it should be and now is.
    pub(crate) changed: Vec<String>,
    /// What a best-effort step could not do, by name.
    pub(crate) failed: Vec<String>,
    pub(crate) wal: Option<WalRecord>,
    /// Milliseconds of each step that took any.
    pub(crate) phases: Vec<Phase>,
    pub(crate) total_ms: u64,
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WalRecord {
    /// The last stop left nothing to replay.
    pub(crate) clean: bool,
    pub(crate) timeline: u32,
    pub(crate) redo_lsn: String,
    pub(crate) end_lsn: String,
    pub(crate) replayed_bytes: u64,
    /// The end of the WAL that the sink had, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sink_lsn: Option<String>,
    /// The same of the archive, where it had more than the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archive_lsn: Option<String>,
    /// Segments that were fetched from either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fetched_segments: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Phase {
    pub(crate) step: String,
    pub(crate) ms: u64,
}

/// Counts and times the steps of one boot.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) record: BootRecord,
    total: usize,
    booted_at: Instant,
    began: Instant,
    closed: bool,
    stop_after: StopAfter,
}

/// End the process after this many steps, as a power cut would. Only in builds with failpoints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StopAfter {
    #[cfg(feature = "failpoints")]
    pub(crate) step: Option<usize>,
}

impl StopAfter {
    #[cfg(feature = "failpoints")]
    // PID 1 exiting kills every process of the machine, as a power cut does.
    fn reached(self, done: usize) {
        if self.step == Some(done) {
            tracing::warn!("failpoint: the boot ends after step {done}");
            std::process::exit(137);
        }
    }

    #[cfg(not(feature = "failpoints"))]
    fn reached(self, _done: usize) {}
}

impl Journal {
    pub(crate) fn new(record: BootRecord, total: usize, now: Instant, stop: StopAfter) -> Journal {
        Journal {
            record,
            total,
            booted_at: now,
            began: now,
            closed: false,
            stop_after: stop,
        }
    }

    /// The step with this number, counted from 1 over the whole plan, begins.
    pub(crate) fn begin(&mut self, now: Instant, number: usize, step: &impl ToString) {
        self.began = now;
        tracing::info!("boot {number}/{} {}", self.total, step.to_string());
    }

    /// The step that began last is over.
    pub(crate) fn end(&mut self, now: Instant, number: usize, step: &impl ToString) {
        let ms = millis(now - self.began);
        if ms > 0 {
            self.record.phases.push(Phase {
                step: step.to_string(),
                ms,
            });
        }
        self.stop_after.reached(number);
    }

    /// The boot is over; what happens from now on is not part of its record.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The boot is over: the record, complete.
    pub(crate) fn close(&mut self, now: Instant) -> &BootRecord {
        self.closed = true;
        self.record.total_ms = millis(now - self.booted_at);
        &self.record
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
