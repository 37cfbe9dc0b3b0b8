//! All waiting of the scenarios. Nothing else polls, sleeps or sets a deadline.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use fake_substrate::until::{self, Budget, Ended};

/// What one look found. A look that fails ends the waiting.
#[derive(Debug)]
pub enum Look<T> {
    /// It is there.
    Found(T),
    /// Not yet, and what was seen instead.
    NotYet(String),
}

/// Looks until it is there.
pub async fn until<T>(
    budget: Budget,
    awaited: impl Display,
    mut look: impl AsyncFnMut() -> Result<Look<T>>,
) -> Result<T> {
    let looking = until::until(budget, async || match look().await {
        Ok(Look::Found(found)) => until::Look::Found(found),
        Ok(Look::NotYet(seen)) => until::Look::NotYet(seen),
        Err(error) => until::Look::Never(error),
    });
    match looking.await {
        Ok((found, _took)) => Ok(found),
        Err(Ended::Never(error)) => Err(error.context(format!("waiting for this: {awaited}"))),
        Err(Ended::OutOfTime(out)) => Err(anyhow!("waited for this: {awaited}: {out}")),
    }
}

/// Looks until it is true.
pub async fn until_true(
    budget: Budget,
    awaited: impl Display,
    mut look: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    until(budget, awaited, async || {
        Ok(if look().await? {
            Look::Found(())
        } else {
            Look::NotYet("not so yet".to_owned())
        })
    })
    .await
}

/// Waits for something that tells by itself when it is over.
pub async fn within<T>(
    budget: Budget,
    awaited: impl Display,
    coming: impl Future<Output = T>,
) -> Result<T> {
    tokio::time::timeout(budget.limit, coming)
        .await
        .map_err(|_elapsed| {
            let Budget { name, limit, .. } = budget;
            anyhow!(
                "waited for this: {awaited}: not within {} s (budget: {name})",
                limit.as_secs()
            )
        })
}
