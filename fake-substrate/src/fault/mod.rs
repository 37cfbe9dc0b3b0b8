//! What is broken on purpose, and for how long.
//!
//! A fault is a value; it stands from [`Faults::add`] until it is used up or cleared, and each of
//! the two is one line in the substrate's log, under the clock of every other line there. Faults
//! are kept in memory: they end with the process.
//!
//! Two ways to ask: a fault that is about single requests is struck ([`Faults::strike`]) and
//! counts; one that is a condition (a network that is cut, a metadata service that is silent) is
//! looked at ([`Faults::standing`]) by whoever behaves accordingly.

mod guard;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::s3::faults::S3Fault;

pub use guard::Guard;

/// Something that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Object storage, for the requests that match.
    S3(S3Fault),
}

impl Fault {
    /// Whether it can be.
    pub fn check(&self) -> Result<(), ImpossibleFault> {
        match self {
            Self::S3(fault) => fault.check(),
        }
    }
}

/// A fault that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImpossibleFault(pub &'static str);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(fault) => write!(f, "s3 {fault}"),
        }
    }
}

/// `POST /faults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFault {
    /// What breaks.
    pub fault: Fault,
    /// How often, before it ends by itself; until it is cleared when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<NonZeroU32>,
}

/// A fault that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it is cleared by.
    pub id: u32,
    /// What is broken.
    pub fault: Fault,
    /// Since when, in milliseconds of the Unix epoch.
    pub since_unix_ms: u64,
    /// How often it has struck.
    pub struck: u32,
    /// How often it will yet; `None` is until it is cleared.
    pub remaining: Option<u32>,
}

/// Nothing of that number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault {0} stands")]
pub struct NoSuchFault(pub u32);

/// Every fault of a substrate.
#[derive(Debug)]
pub struct Faults {
    now_unix_ms: fn() -> u64,
    /// Where a fault's beginning and end are told.
    tell: fn(&str),
    standing: Mutex<Numbered>,
}

#[derive(Debug, Default)]
struct Numbered {
    last: u32,
    faults: BTreeMap<u32, Standing>,
}

impl Faults {
    /// None yet; `now_unix_ms` is the clock.
    pub fn new(now_unix_ms: fn() -> u64) -> Self {
        Self {
            now_unix_ms,
            tell: |line| tracing::info!("{line}"),
            standing: Mutex::default(),
        }
    }

    /// Breaks something.
    pub fn add(&self, new: NewFault) -> Standing {
        let mut numbered = self.numbered();
        // Numbers are not used again: a guard must not clear somebody else's fault.
        numbered.last += 1;
        let standing = Standing {
            id: numbered.last,
            fault: new.fault,
            since_unix_ms: (self.now_unix_ms)(),
            struck: 0,
            remaining: new.times.map(NonZeroU32::get),
        };
        let until = match standing.remaining {
            Some(times) => count(times),
            None => "until it is cleared".to_owned(),
        };
        let Standing { id, fault, .. } = &standing;
        (self.tell)(&format!("fault {id} starts: {fault}, {until}"));
        numbered.faults.insert(standing.id, standing.clone());
        standing
    }

    /// Every fault that stands, oldest first.
    pub fn standing(&self) -> Vec<Standing> {
        self.numbered().faults.values().cloned().collect()
    }

    /// Strikes with the oldest fault that wants to, and tells what `wants` said.
    pub fn strike<T>(&self, wants: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut numbered = self.numbered();
        let (id, what) = numbered
            .faults
            .iter()
            .find_map(|(id, standing)| Some((*id, wants(&standing.fault)?)))?;
        if let Some(standing) = numbered.faults.get_mut(&id) {
            standing.struck += 1;
            if let Some(remaining) = &mut standing.remaining {
                *remaining -= 1;
            }
            tracing::debug!("fault {id} strikes: {}", standing.fault);
            if standing.remaining == Some(0) {
                self.tell_end(standing, "used up");
                numbered.faults.remove(&id);
            }
        }
        Some(what)
    }

    /// Ends one.
    pub fn clear(&self, id: u32) -> Result<(), NoSuchFault> {
        let cleared = self.numbered().faults.remove(&id);
        if let Some(standing) = &cleared {
            self.tell_end(standing, "cleared");
        }
        cleared.map(drop).ok_or(NoSuchFault(id))
    }

    /// Ends every one, and tells which.
    pub fn clear_all(&self) -> Vec<Standing> {
        let cleared: Vec<_> = std::mem::take(&mut self.numbered().faults)
            .into_values()
            .collect();
        for standing in &cleared {
            self.tell_end(standing, "cleared");
        }
        cleared
    }

    fn tell_end(&self, standing: &Standing, how: &str) {
        let Standing { id, fault, .. } = standing;
        let struck = count(standing.struck);
        (self.tell)(&format!(
            "fault {id} ends: {fault}, {how}; it struck {struck}"
        ));
    }

    /// A panic elsewhere leaves whole faults.
    fn numbered(&self) -> MutexGuard<'_, Numbered> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(times: u32) -> String {
    match times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::faults::{Operation, Verdict};

    fn refusing(status: u16, on: Operation) -> Fault {
        Fault::S3(S3Fault {
            verdict: Verdict::Refuse { status },
            on: Some(on),
            key: None,
        })
    }

    fn times(fault: Fault, times: u32) -> NewFault {
        NewFault {
            fault,
            times: NonZeroU32::new(times),
        }
    }

    fn any(fault: &Fault) -> Option<Fault> {
        Some(fault.clone())
    }

    #[test]
    fn a_counted_fault_ends_when_it_is_used_up() {
        let faults = Faults::new(|| 7);
        let added = faults.add(times(refusing(503, Operation::Put), 2));
        assert_eq!((added.since_unix_ms, added.remaining), (7, Some(2)));
        assert!(faults.strike(any).is_some());
        assert_eq!(faults.standing()[0].remaining, Some(1));
        assert!(faults.strike(any).is_some());
        assert_eq!(faults.standing(), []);
        assert_eq!(faults.strike(any), None);
    }

    #[test]
    fn an_uncounted_fault_ends_when_it_is_cleared() {
        let faults = Faults::new(|| 7);
        let id = faults.add(times(refusing(503, Operation::Put), 0)).id;
        for _strike in 0..100 {
            assert!(faults.strike(any).is_some());
        }
        assert_eq!(faults.standing()[0].struck, 100);
        faults.clear(id).expect("it stands");
        assert_eq!(faults.strike(any), None);
        assert_eq!(faults.clear(id), Err(NoSuchFault(id)));
    }

    #[test]
    fn the_oldest_fault_that_wants_to_strikes_and_only_that_one() {
        let faults = Faults::new(|| 7);
        let (put, get) = (refusing(503, Operation::Put), refusing(500, Operation::Get));
        faults.add(times(put.clone(), 1));
        faults.add(times(get.clone(), 1));
        let only = |wanted: Fault| move |fault: &Fault| (*fault == wanted).then(|| fault.clone());
        assert_eq!(faults.strike(only(get.clone())), Some(get));
        assert_eq!(faults.strike(any), Some(put));
    }

    thread_local! {
        static TOLD: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    /// What is told meanwhile, on this thread.
    fn told(story: impl FnOnce(&Faults)) -> Vec<String> {
        story(&Faults {
            tell: |line| TOLD.with_borrow_mut(|told| told.push(line.to_owned())),
            ..Faults::new(|| 7)
        });
        TOLD.take()
    }

    #[test]
    fn the_log_has_one_line_for_a_start_and_one_for_an_end() {
        let log = told(|faults| {
            faults.add(times(refusing(503, Operation::Put), 2));
            let cleared = faults.add(times(refusing(500, Operation::Get), 0)).id;
            faults.strike(any);
            faults.strike(any);
            faults.strike(any);
            faults.clear(cleared).unwrap();
        });
        let expected = [
            "fault 1 starts: s3 refuse with 503 on put, 2 times",
            "fault 2 starts: s3 refuse with 500 on get, until it is cleared",
            "fault 1 ends: s3 refuse with 503 on put, used up; it struck 2 times",
            "fault 2 ends: s3 refuse with 500 on get, cleared; it struck once",
        ];
        assert_eq!(log, expected);
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let faults = Faults::new(|| 7);
        let first = faults.add(times(refusing(503, Operation::Put), 0)).id;
        assert_eq!(faults.clear_all().len(), 1);
        assert_ne!(
            faults.add(times(refusing(503, Operation::Put), 0)).id,
            first
        );
    }
}
