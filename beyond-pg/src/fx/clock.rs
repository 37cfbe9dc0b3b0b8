//! The only clock of the process. The core takes time as an argument.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the home of the clock and of every wait"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970 by the wall clock; 0 when the clock stands before that.
///
/// For certificates and for what is told to people. It jumps when somebody sets it and after a resume
/// from a snapshot, so nothing else is decided by it.
pub(crate) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// When that moment was, by the wall clock as it stands now: whoever asks looks at this clock, too, and
/// not at the one that was wrong then.
pub(crate) fn unix_seconds_at(moment: Instant) -> i64 {
    before(unix_seconds(), now().saturating_duration_since(moment))
}

fn before(unix_seconds: i64, span: Duration) -> i64 {
    unix_seconds.saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

/// Lets `wait` pass.
pub(crate) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Comes back at `deadline`, or never when there is none: an idle machine is not woken.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What comes of `work`, or `None` when it takes longer than `limit`: then it is dropped.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_the_past_follows_a_clock_that_is_set() {
        let an_hour = Duration::from_secs(3600);
        let (in_1970, today) = (10_000, 1_800_000_000);
        assert_eq!(before(in_1970, an_hour), in_1970 - 3600);
        assert_eq!(before(today, an_hour), today - 3600, "set ahead meanwhile");
        assert_eq!(
            before(in_1970, 2 * an_hour),
            in_1970 - 7200,
            "set back again"
        );
    }
}
