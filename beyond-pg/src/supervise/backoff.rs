//! How long a server that died stays down, and a link that broke.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A server that lived this long was healthy: the next crash starts from the beginning.
const HEALTHY: Duration = Duration::from_secs(60);

/// Doubles with every crash that follows another within a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    healthy: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::capped(LONGEST, HEALTHY)
    }
}

impl Backoff {
    /// Waits of at most `longest`, which begin anew after `healthy`.
    pub(crate) fn capped(longest: Duration, healthy: Duration) -> Backoff {
        Backoff {
            next: FIRST,
            longest,
            healthy,
        }
    }

    /// When to start again what ran from `since` and died at `now`.
    pub(crate) fn restart_at(&mut self, since: Instant, now: Instant) -> Instant {
        if now.duration_since(since) >= self.healthy {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        now + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fx::clock;

    #[test]
    fn crashes_in_a_row_wait_twice_as_long_each_up_to_thirty_seconds() {
        let start = clock::now();
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..11)
            .map(|_| {
                backoff
                    .restart_at(start, start)
                    .duration_since(start)
                    .as_millis()
            })
            .collect();
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000
            ]
        );
    }

    #[test]
    fn a_minute_of_health_forgives_the_past() {
        let start = clock::now();
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.restart_at(start, start);
        }
        let later = start + HEALTHY;
        assert_eq!(backoff.restart_at(start, later), later + FIRST);
    }
}
