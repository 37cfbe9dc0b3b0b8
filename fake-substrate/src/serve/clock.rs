//! The serving process's looks at the time: how long it has been running, for people, when, and
//! letting some of it pass where a fault asks for that.
#![expect(
    clippy::disallowed_methods,
    reason = "the clock's home in `serve`; everything below it is told the time"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic, as Firecracker's token expiry is: setting a laptop's clock voids no token.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds of the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What a fault that delays or slows down does.
pub(crate) async fn passes(time: Duration) {
    tokio::time::sleep(time).await;
}
