//! How volumes come to be, come back and end.

use super::promise::{Local, Promise};
use super::{State, Story, name};
use crate::volume::host::{HostError, NewFork};
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::map::BLOCK_BYTES;
use crate::volume::store::refused::Refused;

impl Story {
    pub(super) fn create(&mut self, volume: usize, ephemeral: bool) {
        let created = self.host.create(
            NewVolume {
                name: name(volume),
                bytes: 600 * BLOCK_BYTES,
                ephemeral,
                expires_ms: None,
            },
            self.now_ms,
        );
        match created {
            Ok(()) => {
                let promise = Promise {
                    ephemeral,
                    parent: None,
                    here: Some(Local::holding(State::default())),
                    points: vec![None],
                    at_stake: 0,
                };
                assert!(self.promises.insert(volume, promise).is_none());
            }
            Err(HostError::Refused(Refused::Exists(_))) => {
                assert!(self.promises.contains_key(&volume));
            }
            Err(error) => assert!(matches!(error, HostError::Objects(_)), "{error}"),
        }
    }

    pub(super) fn fork(&mut self, parent: usize, child: usize, ephemeral: bool) {
        let forked = self.host.fork(
            &NewFork {
                parent: name(parent),
                child: name(child),
                ephemeral,
                expires_ms: None,
            },
            self.now_ms,
        );
        if let Err(error) = forked {
            let may = self.local(parent).is_some() && !self.promises.contains_key(&child);
            // A name whose root could not be removed yet is not free.
            let buried = self
                .host
                .books()
                .doomed()
                .all(|doomed| *doomed != name(child));
            assert!(!may || !buried, "{error}");
            return;
        }
        let state = self
            .local(parent)
            .expect("a fork of what is not here")
            .current;
        let promise = Promise {
            ephemeral,
            parent: Some(parent),
            here: Some(Local::holding(state)),
            points: vec![None],
            at_stake: 0,
        };
        assert!(self.promises.insert(child, promise).is_none());
    }

    pub(super) fn rehome(&mut self, volume: usize) {
        let rehomed = self.host.rehome(&name(volume));
        if let Err(error) = rehomed {
            let Some(promise) = self.promises.get(&volume) else {
                return;
            };
            let excused = matches!(error, HostError::Objects(_)) || promise.here.is_some();
            assert!(
                excused || promise.points.contains(&None) || promise.ephemeral,
                "{error}"
            );
            return;
        }
        let state = self.read(volume);
        let promise = self.promises.get_mut(&volume).unwrap();
        assert!(!promise.ephemeral, "object storage had an ephemeral volume");
        assert!(
            promise.points.contains(&Some(state)),
            "{state:?} is no flush point of {promise:?}"
        );
        promise.points = vec![Some(state)];
        promise.at_stake = 0;
        promise.here = Some(Local::holding(state));
    }

    pub(super) fn destroy(&mut self, volume: usize, keep: bool) {
        let children = match keep {
            true => Children::Keep,
            false => Children::Forbid,
        };
        self.let_go(volume);
        let has_forks = self
            .promises
            .values()
            .any(|other| other.parent == Some(volume));
        let destroyed = self.host.destroy(&name(volume), children);
        if has_forks && !keep {
            let refused = matches!(
                destroyed,
                Err(HostError::Refused(Refused::HasChildren { .. }))
            );
            // A lost volume that is gone from the books has no forks there.
            assert!(
                refused || !self.promises.contains_key(&volume),
                "{destroyed:?}"
            );
            return;
        }
        // Refused by object storage it is gone all the same; its root goes later.
        self.promises.remove(&volume);
        for other in self.promises.values_mut() {
            other.parent.take_if(|parent| *parent == volume);
        }
    }
}
