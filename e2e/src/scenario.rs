//! The frame around every scenario: a world before it, evidence when it fails, nothing left after it.

use std::any::type_name;
use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::keep;
use crate::world::World;

/// How a scenario ends.
pub type Outcome = Result<(), Failed>;

/// A scenario that did not hold. The test runner shows it with `Debug`: as text, then, and without
/// the backtrace that RUST_BACKTRACE would put before the reason.
pub struct Failed(anyhow::Error);

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0
            .chain()
            .skip(1)
            .try_for_each(|cause| write!(f, "\n  because: {cause}"))
    }
}

/// Plays a story in a world of its own and takes the world away again, however the story ends.
pub async fn scenario<S>(story: S) -> Outcome
where
    S: AsyncFnOnce(&World) -> Result<()>,
{
    let name = name_of::<S>();
    let world = World::new().await.map_err(Failed)?;
    let played = AssertUnwindSafe(story(&world)).catch_unwind().await;
    if !matches!(played, Ok(Ok(()))) {
        match keep::evidence(&world, &name).await {
            Ok(shown) => eprintln!("{name} failed; {shown}"),
            Err(error) => eprintln!("{name} failed, and no evidence could be kept: {error:#}"),
        }
    }
    let closed = world
        .close()
        .await
        .context("taking the scenario's substrate away");
    match played {
        Ok(outcome) => outcome.and(closed).map_err(Failed),
        Err(panic) => resume_unwind(panic),
    }
}

/// The test around a story. `type_name` of a closure is the path of the function that it stands in,
/// which saves every scenario from telling its own name; should it look different one day, the
/// folder of the evidence has an odd name and nothing else changes.
fn name_of<S>() -> String {
    let path = type_name::<S>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.split_once("::")
        .map_or(path, |(_crate, path)| path)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::name_of;

    fn name<S: AsyncFnOnce()>(_story: S) -> String {
        name_of::<S>()
    }

    #[test]
    fn a_story_is_called_like_the_test_it_stands_in() {
        assert_eq!(
            name(async || {}),
            "scenario::tests::a_story_is_called_like_the_test_it_stands_in"
        );
    }
}
