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
pub(crate) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
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
