//! When a client's commits were acknowledged: for benchmarks alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::sql::{Door, Session};
use crate::stopwatch::Stopwatch;
use crate::vm::Vm;

/// One client that commits one row after the other; it ends when this is dropped.
#[derive(Debug)]
pub struct Acknowledgements {
    watch: Arc<Stopwatch>,
    at: Arc<Mutex<Vec<Duration>>>,
    writing: JoinHandle<()>,
}

/// What a client had of a machine in a span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Commits a second.
    pub per_second: f64,
    /// The longest time between two acknowledgements that lies in it, at least in part.
    pub longest_gap: Duration,
}

impl Vm {
    /// Begins to commit, and to write down when.
    pub async fn acknowledgements(&self) -> Result<Acknowledgements> {
        let session = self.session(Door::Direct).await?;
        session
            .sql("CREATE TABLE IF NOT EXISTS acknowledged (n bigint)")
            .await?;
        let watch = Arc::new(Stopwatch::start());
        let at = Arc::new(Mutex::new(Vec::new()));
        let writing = tokio::spawn(write(session, Arc::clone(&watch), Arc::clone(&at)));
        Ok(Acknowledgements { watch, at, writing })
    }
}

/// Until there is no answer: what a benchmark then counts is nothing, and it fails.
async fn write(session: Session, watch: Arc<Stopwatch>, at: Arc<Mutex<Vec<Duration>>>) {
    while session
        .sql("INSERT INTO acknowledged VALUES (1)")
        .await
        .is_ok()
    {
        let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
        at.push(watch.elapsed());
    }
}

impl Acknowledgements {
    /// Now, by its clock.
    pub fn now(&self) -> Duration {
        self.watch.elapsed()
    }

    /// What there was between two moments.
    pub fn between(&self, from: Duration, to: Duration) -> Span {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        span(&at, from, to)
    }
}

impl Drop for Acknowledgements {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

/// Of moments in order.
fn span(at: &[Duration], from: Duration, to: Duration) -> Span {
    let first = at.partition_point(|moment| *moment < from);
    let behind = at.partition_point(|moment| *moment <= to);
    // Whoever waited at the start or at the end waited in it as well.
    let touched = &at[first.saturating_sub(1)..(behind + 1).min(at.len())];
    let gaps = touched.windows(2).map(|pair| pair[1] - pair[0]);
    let count = f64::from(u32::try_from(behind - first).unwrap_or(u32::MAX));
    Span {
        per_second: count / (to - from).as_secs_f64(),
        longest_gap: gaps.max().unwrap_or(to - from),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Span, span};

    fn of(at: &[u64], from: u64, to: u64) -> Span {
        let at: Vec<_> = at.iter().copied().map(Duration::from_millis).collect();
        span(&at, Duration::from_millis(from), Duration::from_millis(to))
    }

    #[test]
    fn a_gap_counts_where_it_lies_even_in_part() {
        let at = [10, 20, 30, 400, 410, 420, 1000];
        let quiet = of(&at, 400, 420);
        assert_eq!(quiet.longest_gap, Duration::from_millis(580));
        assert_eq!(of(&at, 20, 30).longest_gap, Duration::from_millis(370));
        assert_eq!(of(&at, 405, 415).longest_gap, Duration::from_millis(10));
        assert_eq!(of(&at, 50, 60).longest_gap, Duration::from_millis(370));
    }

    #[test]
    fn commits_are_counted_from_one_moment_to_the_other() {
        assert_eq!(of(&[10, 20, 30, 400], 10, 110).per_second, 30.0);
        let none = of(&[], 0, 500);
        assert_eq!(
            (none.per_second, none.longest_gap),
            (0.0, Duration::from_millis(500))
        );
    }
}
