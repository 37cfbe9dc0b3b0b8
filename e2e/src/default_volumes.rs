//! What a machine's volume is made of when its scenario does not say: `E2E_VOLUMES`.
#![expect(
    clippy::disallowed_methods,
    reason = "the one setting of a run of the scenarios, which no argument of a test can carry"
)]

use anyhow::{Context as _, Result};
use fake_substrate::backend::{Backend, Wanted};
use fake_substrate::docker::{self, Docker};

/// Where the choice stands.
const KEY: &str = "E2E_VOLUMES";

/// What machines get in this run.
pub(crate) async fn backend(docker: &Docker) -> Result<Backend> {
    let wanted = wanted(std::env::var(KEY).ok().as_deref())?;
    let there = docker::facilities(docker).await?;
    Ok(Backend::choose(wanted, None, &there).backend)
}

/// Disks where Docker has them, as in production, unless somebody asks.
fn wanted(given: Option<&str>) -> Result<Wanted> {
    match given.filter(|given| !given.is_empty()) {
        None => Ok(Wanted::Auto),
        Some(given) => given.parse().with_context(|| format!("reading {KEY}")),
    }
}

#[cfg(test)]
mod tests {
    use fake_substrate::backend::{Backend, Wanted};

    use super::wanted;

    #[test]
    fn machines_get_disks_where_there_are_any_unless_somebody_asks() {
        for unsaid in [None, Some("")] {
            assert_eq!(wanted(unsaid).unwrap(), Wanted::Auto);
        }
        let block = Wanted::Just(Backend::Block);
        assert_eq!(wanted(Some("block")).unwrap(), block);
        let copy = Wanted::Just(Backend::Copy);
        assert_eq!(wanted(Some("copy")).unwrap(), copy);
        let refused = format!("{:#}", wanted(Some("zfs")).unwrap_err());
        assert!(refused.contains("E2E_VOLUMES") && refused.contains("block, copy or auto"));
    }
}
