//! What the page was asked to do: in the background, with its progress and its outcome, the latest
//! few. Whoever watches is told of each change.

use std::collections::VecDeque;

use tokio::sync::watch;

use crate::progress::Progress;
use crate::telling::Told;

/// How many are kept once they have ended.
const KEPT: usize = 12;

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    id: u64,
    /// `fork db to copy`.
    pub(super) what: String,
    /// The machines that it is done to: nothing else is, meanwhile.
    machines: Vec<String>,
    pub(super) began_ms: u64,
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    UnderWay {
        /// A sentence.
        step: String,
        /// The latest line of whatever the step runs.
        detail: String,
    },
    Done {
        /// What came of it, when there is more to say than that.
        outcome: Option<String>,
        at_ms: u64,
    },
    Failed {
        told: Told,
        at_ms: u64,
    },
}

/// Something else is done to one of the machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("machine {machine} is busy ({with}): wait until that has ended")]
pub(super) struct Busy {
    machine: String,
    with: String,
}

/// All of them, the latest first.
#[derive(Debug, Clone)]
pub(super) struct Errands {
    now_unix_ms: fn() -> u64,
    list: watch::Sender<VecDeque<Errand>>,
}

impl Errands {
    pub(super) fn new(now_unix_ms: fn() -> u64) -> Self {
        Self {
            now_unix_ms,
            list: watch::Sender::new(VecDeque::new()),
        }
    }

    /// Begins one. It ends with [`Ticket::end`].
    pub(super) fn begin(&self, what: String, machines: Vec<String>) -> Result<Ticket, Busy> {
        let mut begun = Ok(0);
        self.list.send_if_modified(|list| {
            begun = match in_the_way(list, &machines) {
                Some(busy) => Err(busy),
                None => Ok(list.front().map_or(1, |latest| latest.id + 1)),
            };
            let Ok(id) = begun else { return false };
            list.push_front(Errand {
                id,
                what,
                machines,
                began_ms: (self.now_unix_ms)(),
                stage: Stage::UnderWay {
                    step: "Beginning".to_owned(),
                    detail: String::new(),
                },
            });
            forget_old(list);
            true
        });
        begun.map(|id| Ticket {
            errands: self.clone(),
            id,
        })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<VecDeque<Errand>> {
        self.list.subscribe()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Stage) -> bool) {
        self.list.send_if_modified(|list| {
            let errand = list.iter_mut().find(|errand| errand.id == id);
            errand.is_some_and(|errand| change(&mut errand.stage))
        });
    }
}

/// What is being done to a machine.
pub(super) fn busy<'a>(
    errands: impl IntoIterator<Item = &'a Errand>,
    machine: &str,
) -> Option<&'a str> {
    let under_way = |errand: &&Errand| matches!(errand.stage, Stage::UnderWay { .. });
    let mut errands = errands.into_iter().filter(under_way);
    errands
        .find(|errand| errand.machines.iter().any(|name| name == machine))
        .map(|errand| errand.what.as_str())
}

fn in_the_way(list: &VecDeque<Errand>, machines: &[String]) -> Option<Busy> {
    machines.iter().find_map(|machine| {
        Some(Busy {
            machine: machine.clone(),
            with: busy(list, machine)?.to_owned(),
        })
    })
}

/// What is under way is never forgotten.
fn forget_old(list: &mut VecDeque<Errand>) {
    let mut ended = 0;
    list.retain(|errand| {
        ended += usize::from(!matches!(errand.stage, Stage::UnderWay { .. }));
        matches!(errand.stage, Stage::UnderWay { .. }) || ended <= KEPT
    });
}

/// One that is under way.
#[derive(Debug)]
pub(super) struct Ticket {
    errands: Errands,
    id: u64,
}

impl Ticket {
    pub(super) fn end(self, outcome: Result<Option<String>, Told>) {
        let at_ms = (self.errands.now_unix_ms)();
        self.errands.change(self.id, |stage| {
            *stage = match outcome {
                Ok(outcome) => Stage::Done { outcome, at_ms },
                Err(told) => Stage::Failed { told, at_ms },
            };
            true
        });
    }
}

impl Drop for Ticket {
    /// Whoever drops it without an end has panicked or was cut; the machine must not stay busy.
    fn drop(&mut self) {
        let at_ms = (self.errands.now_unix_ms)();
        self.errands.change(self.id, |stage| {
            let cut = matches!(stage, Stage::UnderWay { .. });
            if cut {
                let told = Told {
                    what: "it was cut short".to_owned(),
                    because: Vec::new(),
                    hint: Some("look at the machine, then try again".to_owned()),
                };
                *stage = Stage::Failed { told, at_ms };
            }
            cut
        });
    }
}

impl Progress for Ticket {
    fn step(&self, text: &str) {
        self.errands.change(self.id, |stage| {
            if let Stage::UnderWay { step, detail } = stage {
                text.clone_into(step);
                detail.clear();
            }
            true
        });
    }

    fn detail(&self, line: &str) {
        self.errands.change(self.id, |stage| {
            if let Stage::UnderWay { detail, .. } = stage {
                let visible = line.chars().filter(|char| !char.is_control());
                *detail = visible.take(DETAIL).collect();
            }
            true
        });
    }
}

/// How many characters of a detail are kept.
const DETAIL: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    fn errands() -> Errands {
        Errands::new(|| 7)
    }

    fn stages(errands: &Errands) -> Vec<Stage> {
        let list = errands.subscribe();
        let list = list.borrow();
        list.iter().map(|errand| errand.stage.clone()).collect()
    }

    #[test]
    fn a_machine_has_one_thing_done_to_it_at_a_time() {
        let errands = errands();
        let fork = errands
            .begin(
                "fork db to copy".to_owned(),
                vec!["db".to_owned(), "copy".to_owned()],
            )
            .unwrap();
        for machine in ["db", "copy"] {
            let refused = errands.begin("stop".to_owned(), vec![machine.to_owned()]);
            assert_eq!(
                refused.map(drop).unwrap_err().to_string(),
                format!("machine {machine} is busy (fork db to copy): wait until that has ended")
            );
        }
        let other = errands.begin("stop other".to_owned(), vec!["other".to_owned()]);
        assert!(other.is_ok());
        fork.end(Ok(None));
        assert!(
            errands
                .begin("stop db".to_owned(), vec!["db".to_owned()])
                .is_ok()
        );
    }

    #[test]
    fn progress_and_outcome_are_seen_by_whoever_watches() {
        let errands = errands();
        let mut seen = errands.subscribe();
        let ticket = errands
            .begin("stop db".to_owned(), vec!["db".to_owned()])
            .unwrap();
        ticket.step("Shutting down");
        ticket.detail("a line\r");
        assert!(seen.has_changed().unwrap());
        let under_way = Stage::UnderWay {
            step: "Shutting down".to_owned(),
            detail: "a line".to_owned(),
        };
        assert_eq!(stages(&errands), [under_way]);
        seen.mark_unchanged();
        ticket.end(Ok(Some("clean".to_owned())));
        assert!(seen.has_changed().unwrap());
        let outcome = Some("clean".to_owned());
        assert_eq!(stages(&errands), [Stage::Done { outcome, at_ms: 7 }]);
    }

    #[test]
    fn one_that_is_dropped_has_failed_and_holds_nobody_up() {
        let errands = errands();
        drop(
            errands
                .begin("stop db".to_owned(), vec!["db".to_owned()])
                .unwrap(),
        );
        assert!(matches!(stages(&errands)[..], [Stage::Failed { .. }]));
        assert!(
            errands
                .begin("start db".to_owned(), vec!["db".to_owned()])
                .is_ok()
        );
    }

    #[test]
    fn the_oldest_that_ended_are_forgotten_and_none_that_goes_on() {
        let errands = errands();
        let goes_on = errands
            .begin("the first".to_owned(), vec!["db".to_owned()])
            .unwrap();
        for _ in 0..3 * KEPT {
            errands
                .begin("stop".to_owned(), Vec::new())
                .unwrap()
                .end(Ok(None));
        }
        errands
            .begin("the last".to_owned(), Vec::new())
            .unwrap()
            .end(Ok(None));
        let stages = stages(&errands);
        assert!(stages.len() <= KEPT + 2, "{}", stages.len());
        assert!(matches!(stages.last(), Some(Stage::UnderWay { .. })));
        goes_on.end(Ok(None));
    }
}
