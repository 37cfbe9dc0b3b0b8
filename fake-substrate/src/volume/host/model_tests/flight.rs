//! Flush points in three steps, so that a story can go on between them, and the write-behind.

use std::collections::BTreeMap;

use super::{State, Story, name};
use crate::volume::host::HostError;
use crate::volume::store::flush::{Job, Plan, Policy};
use crate::volume::store::trouble::LONGEST_MS;

/// A flush on its way, and what it took a snapshot of.
pub(super) struct Flight {
    pub(super) volume: usize,
    pub(super) job: Job,
    pub(super) snapshot: State,
    pub(super) at_stake: u64,
    pub(super) uploaded: Option<(Plan, String)>,
}

impl Story {
    pub(super) fn begin_flush(&mut self, volume: usize) {
        if self.flight.is_some() {
            return;
        }
        if let Ok(Some(job)) = self.host.begin_flush(&name(volume), self.now_ms) {
            let snapshot = self
                .local(volume)
                .expect("a flush of what is not here")
                .current;
            self.flight = Some(Flight {
                volume,
                job,
                snapshot,
                at_stake: self.promises[&volume].at_stake,
                uploaded: None,
            });
        }
    }

    pub(super) fn upload(&mut self) {
        let Some(mut flight) = self.flight.take() else {
            return;
        };
        if flight.uploaded.is_some() {
            self.flight = Some(flight);
            return;
        }
        match self.host.upload(&flight.job) {
            Ok(uploaded) => {
                self.moved(flight.volume, flight.snapshot);
                flight.uploaded = Some(uploaded);
                self.flight = Some(flight);
            }
            Err(error) => {
                assert!(!matches!(error, HostError::TakenOver { .. }), "{error}");
                self.host.books_mut().abandon_flush(&flight.job);
                self.may_have_moved(flight.volume, flight.snapshot, &error);
            }
        }
    }

    pub(super) fn commit(&mut self) {
        if let Some(flight) = self.flight.take_if(|flight| flight.uploaded.is_some()) {
            let (plan, tag) = flight.uploaded.unwrap();
            // Overtaken is fine: the root has moved all the same.
            if self.host.commit(&flight.job, plan, tag).is_ok() {
                self.promises.get_mut(&flight.volume).unwrap().at_stake -= flight.at_stake;
            }
        }
    }

    pub(super) fn moved(&mut self, volume: usize, point: State) {
        self.promises.get_mut(&volume).unwrap().points = vec![Some(point)];
    }

    pub(super) fn may_have_moved(&mut self, volume: usize, point: State, error: &HostError) {
        if let (Some(promise), HostError::Objects(_)) = (self.promises.get_mut(&volume), error) {
            promise.points.push(Some(point));
        }
    }

    pub(super) fn flush_point(&mut self, volume: usize) {
        let flushed = self.host.flush_point(&name(volume), self.now_ms);
        let current = self.local(volume).map(|local| local.current);
        match (flushed, current) {
            (Ok(Some(_)), Some(current)) => {
                self.moved(volume, current);
                self.promises.get_mut(&volume).unwrap().at_stake = 0;
            }
            (Ok(None), Some(current)) => {
                assert!(self.promises[&volume].points.contains(&Some(current)));
            }
            (Ok(_), None) => panic!("a flush of what is not here"),
            (Err(error), Some(current)) => self.may_have_moved(volume, current, &error),
            (Err(_), None) => {}
        }
    }

    /// The promise of the write-behind: 5 s later object storage has what was acknowledged now. Of a volume
    /// whose flushes have failed it has it when the longest wait is over.
    pub(super) fn write_behind(&mut self) {
        let in_trouble = |volume: &usize| self.host.books().is_in_trouble(&name(*volume));
        let mut waits = vec![0, Policy::PLATFORM.after_ms];
        waits.extend(self.promises.keys().any(in_trouble).then_some(LONGEST_MS));
        let mut failed = BTreeMap::new();
        for wait in waits {
            self.now_ms += wait;
            failed.extend(self.host.tick(Policy::PLATFORM, self.now_ms).failed);
        }
        let in_flight = self.flight.as_ref();
        // A flush of a volume that was lost or destroyed meanwhile is in nobody's way.
        let in_flight = in_flight.filter(|f| self.host.books().is_flushing(&f.job).is_ok());
        let in_flight = in_flight.map(|flight| flight.volume);
        for (volume, promise) in &mut self.promises {
            let Some(local) = &promise.here else { continue };
            if promise.ephemeral || in_flight == Some(*volume) {
                continue;
            }
            if failed.contains_key(&name(*volume)) {
                promise.points.push(Some(local.current));
            } else {
                promise.points = vec![Some(local.current)];
                promise.at_stake = 0;
            }
        }
    }
}
