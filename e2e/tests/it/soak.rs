//! Histories at random, a few of them: `docs/testing.md` has how to play hundreds.

use e2e::Outcome;
use e2e::soak::{Ends, Soak};
use tokio::sync::watch;

/// With a sink nothing that was acknowledged is lost with a host, without one nothing before the flush point and no
/// hole; and no power cut loses anything.
#[tokio::test]
async fn hosts_are_lost_at_random_and_no_promise_is_broken() -> Outcome {
    let (_asked, interrupted) = watch::channel(false);
    let soak = Soak {
        rounds: 6,
        seed: 1,
        ends: Ends::Any,
        history: None,
        keep_going: false,
        shrink: false,
        breaks: None,
        resume: None,
    };
    soak.play(&interrupted).await.map(drop)
}
