//! The lines between their readers and the link: a queue bounded in bytes. Pure.
//!
//! Who puts a line in never waits. When it is full, messages below WARNING go first, the oldest
//! first and each as a whole; what is lost, here or before the limit on lines, is counted where it
//! is missing and named in front of the next line that is left (contract 9).

use std::collections::VecDeque;

use wire::log::{LogLine, Stream};

use crate::logs::severity::Severity;

/// What is kept for a host that does not read: 40 s of a machine that logs at its limit.
pub(crate) const CAPACITY: usize = 4 << 20;

/// A message, in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId(u64);

#[derive(Debug)]
struct Queued {
    /// Its place among all lines.
    place: u64,
    message: MessageId,
    /// How many lines are missing in front of it.
    lost: u64,
    line: LogLine,
}

/// Lines of one severity, and up to which message they were thrown away. A message up to there that
/// still goes on is thrown away to its end: half of it would be read as all of it.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Queued>,
    thrown: Option<MessageId>,
}

impl Queue {
    fn is_thrown(&self, message: MessageId) -> bool {
        self.thrown.is_some_and(|thrown| message <= thrown)
    }

    fn first_place(&self) -> Option<u64> {
        self.lines.front().map(|queued| queued.place)
    }

    /// The first line behind a place.
    fn behind(&mut self, place: u64) -> Option<&mut Queued> {
        let index = self.lines.partition_point(|queued| queued.place < place);
        self.lines.get_mut(index)
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    bytes: usize,
    places: u64,
    messages: u64,
    lesser: Queue,
    grave: Queue,
    /// Lines missing behind the last one that is queued.
    lost: u64,
    /// The line whose notice was just taken.
    announced: Option<LogLine>,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Outbox {
        Outbox {
            capacity,
            bytes: 0,
            places: 0,
            messages: 0,
            lesser: Queue::default(),
            grave: Queue::default(),
            lost: 0,
            announced: None,
        }
    }

    /// A message whose lines are about to be pushed.
    pub(crate) fn begin(&mut self) -> MessageId {
        self.messages += 1;
        MessageId(self.messages)
    }

    /// Whether the next line will have a notice in front of it.
    pub(crate) fn owes_notice(&self) -> bool {
        self.lost > 0
    }

    /// One line was lost before it got here.
    pub(crate) fn count_lost(&mut self) {
        self.lost += 1;
    }

    /// Takes a line, or throws away the least that makes room for it; itself, when that is it.
    pub(crate) fn push(&mut self, severity: Severity, message: MessageId, line: LogLine) {
        let size = size(&line);
        while self.bytes + size > self.capacity && self.throw_oldest(severity) {}
        let fits = self.bytes + size <= self.capacity;
        let queue = self.queue(severity);
        if !fits || queue.is_thrown(message) {
            queue.thrown = queue.thrown.max(Some(message));
            self.lost += 1;
            return;
        }
        self.places += 1;
        let queued = Queued {
            place: self.places,
            message,
            lost: std::mem::take(&mut self.lost),
            line,
        };
        self.bytes += size;
        self.queue(severity).lines.push_back(queued);
    }

    /// The next line to send: one that was written, or the notice of what is missing in front of it.
    pub(crate) fn pop(&mut self) -> Option<LogLine> {
        if let Some(line) = self.announced.take() {
            return Some(line);
        }
        loop {
            let severity = self.first()?;
            let queued = self.take(severity)?;
            if self.queue(severity).is_thrown(queued.message) {
                self.count_behind(queued.place, queued.lost + 1);
                continue;
            }
            if queued.lost == 0 {
                return Some(queued.line);
            }
            let notice = notice(queued.lost, queued.line.stream, &queued.line.execution_id);
            self.announced = Some(queued.line);
            return Some(notice);
        }
    }

    /// The notice of what is missing at the very end, for when nothing comes any more.
    pub(crate) fn last_notice(&mut self) -> Option<LogLine> {
        let lost = std::mem::take(&mut self.lost);
        (lost > 0).then(|| notice(lost, Stream::Stderr, super::OWN_EXECUTION))
    }

    /// Whether nothing is left to send, the last notice included.
    pub(crate) fn is_drained(&self) -> bool {
        self.first().is_none() && self.announced.is_none() && !self.owes_notice()
    }

    fn queue(&mut self, severity: Severity) -> &mut Queue {
        match severity {
            Severity::BelowWarning => &mut self.lesser,
            Severity::WarningOrAbove => &mut self.grave,
        }
    }

    /// Which queue has the oldest line.
    fn first(&self) -> Option<Severity> {
        match (self.lesser.first_place(), self.grave.first_place()) {
            (None, None) => None,
            (Some(_), None) => Some(Severity::BelowWarning),
            (None, Some(_)) => Some(Severity::WarningOrAbove),
            (Some(lesser), Some(grave)) if lesser < grave => Some(Severity::BelowWarning),
            (Some(_), Some(_)) => Some(Severity::WarningOrAbove),
        }
    }

    fn take(&mut self, severity: Severity) -> Option<Queued> {
        let queued = self.queue(severity).lines.pop_front()?;
        self.bytes -= size(&queued.line);
        Some(queued)
    }

    /// Makes room for a line of this severity. A lesser line never costs a graver one its place.
    fn throw_oldest(&mut self, for_one_of: Severity) -> bool {
        let severity = if self.lesser.lines.is_empty() {
            Severity::WarningOrAbove
        } else {
            Severity::BelowWarning
        };
        if severity == Severity::WarningOrAbove && for_one_of == Severity::BelowWarning {
            return false;
        }
        let Some(queued) = self.take(severity) else {
            return false;
        };
        let queue = self.queue(severity);
        queue.thrown = queue.thrown.max(Some(queued.message));
        self.count_behind(queued.place, queued.lost + 1);
        true
    }

    /// Lines at `place` are missing: the next line that is left will say so.
    fn count_behind(&mut self, place: u64, lost: u64) {
        let next = [self.lesser.behind(place), self.grave.behind(place)]
            .into_iter()
            .flatten()
            .min_by_key(|queued| queued.place);
        match next {
            Some(next) => next.lost += lost,
            None => self.lost += lost,
        }
    }
}

/// What a line takes, its share of the queue included: a flood of empty lines is bounded as well.
fn size(line: &LogLine) -> usize {
    size_of::<Queued>() + line.line.len() + line.execution_id.len()
}

fn notice(lost: u64, stream: Stream, execution_id: &str) -> LogLine {
    LogLine {
        stream,
        line: format!("[beyond-pg: dropped {lost} log lines]"),
        truncated: false,
        execution_id: execution_id.to_owned(),
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
