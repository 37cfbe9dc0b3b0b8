//! The book of what stands.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use tokio::sync::watch;

use super::{Fault, NewFault, Standing};

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
    /// Watched by whoever lives with a condition; one that only counts down wakes nobody.
    standing: watch::Sender<Numbered>,
}

/// Faults by their numbers.
#[derive(Debug, Default)]
pub struct Numbered {
    last: u32,
    faults: BTreeMap<u32, Standing>,
}

impl Numbered {
    /// What the oldest fault that wants to says.
    pub(crate) fn find<T>(&self, wants: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut faults = self.faults.values();
        faults.find_map(|standing| wants(&standing.fault))
    }
}

impl Faults {
    /// None yet; `now_unix_ms` is the clock.
    pub fn new(now_unix_ms: fn() -> u64) -> Self {
        Self {
            now_unix_ms,
            tell: |line| tracing::info!(target: "fake_substrate::fault", "{line}"),
            standing: watch::Sender::default(),
        }
    }

    /// Breaks something.
    pub fn add(&self, new: NewFault) -> Standing {
        let mut standing = Standing {
            id: 0,
            fault: new.fault,
            since_unix_ms: (self.now_unix_ms)(),
            struck: 0,
            remaining: new.times.map(NonZeroU32::get),
        };
        self.standing.send_modify(|numbered| {
            // Numbers are not used again: a guard must not clear somebody else's fault.
            numbered.last += 1;
            standing.id = numbered.last;
            let until = match standing.remaining {
                Some(times) => count(times),
                None => "until it is cleared".to_owned(),
            };
            let Standing { id, fault, .. } = &standing;
            (self.tell)(&format!("fault {id} starts: {fault}, {until}"));
            numbered.faults.insert(standing.id, standing.clone());
        });
        standing
    }

    /// Every fault that stands, oldest first.
    pub fn standing(&self) -> Vec<Standing> {
        self.standing.borrow().faults.values().cloned().collect()
    }

    /// What the oldest fault that wants to says; it does not count.
    pub fn find<T>(&self, wants: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.standing.borrow().find(wants)
    }

    /// Tells when a fault starts or ends.
    pub fn changes(&self) -> watch::Receiver<Numbered> {
        self.standing.subscribe()
    }

    /// By how much the clock of the services is off, in milliseconds.
    pub(crate) fn clock_offset_ms(&self) -> i64 {
        let offset = self.find(|fault| match fault {
            Fault::Clock(clock) => Some(clock.offset_ms.ms()),
            _ => None,
        });
        offset.unwrap_or(0)
    }

    /// Strikes with the oldest fault that wants to, and tells what `wants` said.
    pub fn strike<T>(&self, wants: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut said = None;
        self.standing.send_if_modified(|numbered| {
            let mut faults = numbered.faults.iter();
            let struck = faults.find_map(|(id, standing)| Some((*id, wants(&standing.fault)?)));
            let Some((id, what)) = struck else {
                return false;
            };
            said = Some(what);
            let Some(standing) = numbered.faults.get_mut(&id) else {
                return false;
            };
            standing.struck += 1;
            if let Some(remaining) = &mut standing.remaining {
                *remaining -= 1;
            }
            tracing::debug!("fault {id} strikes: {}", standing.fault);
            let used_up = standing.remaining == Some(0);
            if used_up {
                self.tell_end(standing, "used up");
                numbered.faults.remove(&id);
            }
            used_up
        });
        said
    }

    /// Ends one.
    pub fn clear(&self, id: u32) -> Result<(), NoSuchFault> {
        let cleared = self.clear_where(|standing| standing.id == id);
        match cleared.is_empty() {
            true => Err(NoSuchFault(id)),
            false => Ok(()),
        }
    }

    /// Ends those, and tells which.
    pub fn clear_where(&self, which: impl Fn(&Standing) -> bool) -> Vec<Standing> {
        let mut cleared = Vec::new();
        self.standing.send_if_modified(|numbered| {
            cleared.extend(
                numbered
                    .faults
                    .extract_if(.., |_id, standing| which(standing))
                    .map(|(_id, standing)| standing),
            );
            for standing in &cleared {
                self.tell_end(standing, "cleared");
            }
            !cleared.is_empty()
        });
        cleared
    }

    fn tell_end(&self, standing: &Standing, how: &str) {
        let Standing {
            id, fault, struck, ..
        } = standing;
        let struck = match fault.is_counted() {
            true => format!("; it struck {}", count(*struck)),
            false => String::new(),
        };
        (self.tell)(&format!("fault {id} ends: {fault}, {how}{struck}"));
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
    use crate::s3::faults::{Operation, S3Fault, Verdict};

    fn refusing(status: u16, on: Operation) -> Fault {
        Fault::S3(S3Fault {
            verdict: Verdict::Refuse { status },
            on: Some(on),
            key: None,
        })
    }

    fn times(fault: Fault, times: u32) -> NewFault {
        NewFault::new(fault).times(times)
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

    #[tokio::test]
    async fn whoever_watches_is_woken_when_a_fault_starts_or_ends_and_not_when_it_strikes() {
        let faults = Faults::new(|| 7);
        let mut changes = faults.changes();
        let id = faults.add(times(refusing(503, Operation::Put), 0)).id;
        assert!(changes.has_changed().expect("kept"));
        changes.mark_unchanged();
        faults.strike(any);
        assert!(!changes.has_changed().expect("kept"));
        faults.clear(id).expect("it stands");
        assert!(changes.has_changed().expect("kept"));
        changes.mark_unchanged();
        faults.add(times(refusing(503, Operation::Put), 1));
        changes.mark_unchanged();
        faults.strike(any);
        assert!(changes.has_changed().expect("kept"), "used up is an end");
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let faults = Faults::new(|| 7);
        let first = faults.add(times(refusing(503, Operation::Put), 0)).id;
        assert_eq!(faults.clear_where(|_| true).len(), 1);
        assert_ne!(
            faults.add(times(refusing(503, Operation::Put), 0)).id,
            first
        );
    }
}
