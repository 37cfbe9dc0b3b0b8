//! The crate's clock: waiting for something outside this process, within a budget that has a name.
//!
//! Docker tells when a container ends, but nobody tells when Postgres begins to answer, so some
//! things have to be asked again and again. That happens here and nowhere else.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that polls and reads the clock"
)]

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long something may take, and how often to look.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// What the time is for; named in the message when it runs out.
    pub name: &'static str,
    /// When to give up.
    pub limit: Duration,
    /// The pause between two looks.
    pub every: Duration,
}

impl Budget {
    /// The substrate's own process serves a handful of documents from memory; most of this is
    /// Docker starting a container on a loaded machine.
    pub const SUBSTRATE_HEALTH: Self = Self {
        name: "substrate health",
        limit: Duration::from_secs(30),
        every: Duration::from_millis(50),
    };

    /// A first boot runs initdb (15 s under emulation) and creates every extension.
    pub const MACHINE_READY: Self = Self {
        name: "machine ready",
        limit: Duration::from_secs(180),
        every: Duration::from_millis(100),
    };

    /// A machine that shall be forked and has only just been switched on: as long as any boot takes.
    pub const PARENT_READY: Self = Self {
        name: "parent ready",
        ..Self::MACHINE_READY
    };
}

/// Lets time pass: for what is late on purpose.
pub(crate) async fn pause(time: Duration) {
    sleep(time).await;
}

/// Does the work and answers how long it took as well.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let done = work.await;
    (done, begin.elapsed())
}

/// What one look found.
#[derive(Debug)]
pub enum Look<T, E> {
    /// It is there.
    Found(T),
    /// Not yet, and why.
    NotYet(String),
    /// It will never be there.
    Never(E),
}

/// How waiting ended without success.
#[derive(Debug)]
pub enum Ended<E> {
    /// The budget ran out.
    OutOfTime(OutOfTime),
    /// A look said that waiting is in vain.
    Never(E),
}

/// A budget that ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfTime {
    budget: &'static str,
    limit: Duration,
    /// Why the last look found nothing.
    pub last: String,
}

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            budget,
            limit,
            last,
        } = self;
        write!(
            f,
            "not within {} s (budget: {budget}); the last try said: {last}",
            limit.as_secs()
        )
    }
}

impl std::error::Error for OutOfTime {}

/// Looks until something is there, waiting is in vain, or the budget runs out. A look that hangs
/// is cut off at the deadline as well. Also tells how long it took.
pub async fn until<T, E>(
    budget: Budget,
    mut look: impl AsyncFnMut() -> Look<T, E>,
) -> Result<(T, Duration), Ended<E>> {
    let begin = Instant::now();
    let mut last = "no answer yet".to_owned();
    let looking = async {
        loop {
            match look().await {
                Look::Found(found) => return Ok(found),
                Look::Never(why) => return Err(why),
                Look::NotYet(why) => last = why,
            }
            sleep(budget.every).await;
        }
    };
    match tokio::time::timeout(budget.limit, looking).await {
        Ok(Ok(found)) => Ok((found, begin.elapsed())),
        Ok(Err(why)) => Err(Ended::Never(why)),
        Err(_elapsed) => Err(Ended::OutOfTime(OutOfTime {
            budget: budget.name,
            limit: budget.limit,
            last,
        })),
    }
}

/// Looks until a look succeeds. Each look is a future of its own that borrows nothing, so that the
/// waiting may be part of a task: the compiler cannot see that of what borrows.
pub async fn until_ok<Looking>(
    budget: Budget,
    mut look: impl FnMut() -> Looking,
) -> Result<(), OutOfTime>
where
    Looking: Future<Output = Result<(), String>>,
{
    let mut last = "no answer yet".to_owned();
    let looking = async {
        while let Err(why) = look().await {
            last = why;
            sleep(budget.every).await;
        }
    };
    let found = tokio::time::timeout(budget.limit, looking).await;
    found.map_err(|_elapsed| OutOfTime {
        budget: budget.name,
        limit: budget.limit,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::{Budget, Ended, Look, until};
    use std::time::Duration;

    const SHORT: Budget = Budget {
        name: "test",
        limit: Duration::from_millis(8500),
        every: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn the_last_reason_is_told_when_the_budget_runs_out() {
        let mut looks = 0;
        let outcome = until::<(), ()>(SHORT, async || {
            looks += 1;
            Look::NotYet(format!("look {looks}"))
        })
        .await;
        let Err(Ended::OutOfTime(out)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            out.to_string(),
            "not within 8 s (budget: test); the last try said: look 9"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_cut_off() {
        let outcome = until::<(), ()>(SHORT, async || std::future::pending().await).await;
        assert!(matches!(outcome, Err(Ended::OutOfTime(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_in_vain_ends_at_once() {
        let outcome = until::<(), _>(SHORT, async || Look::Never("exited")).await;
        assert!(matches!(outcome, Err(Ended::Never("exited"))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_the_third_look_took_two_pauses() {
        let mut looks = 0;
        let outcome = until::<_, ()>(SHORT, async || {
            looks += 1;
            if looks == 3 {
                Look::Found(looks)
            } else {
                Look::NotYet(String::new())
            }
        })
        .await;
        assert!(matches!(outcome, Ok((3, took)) if took == Duration::from_secs(2)));
    }
}
