//! Where a boot can be ended as if the power went, by builds that have failpoints.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::machine::state::State;

use crate::spec::Spec;
use crate::stopped::Stopped;

/// What a boot with failpoints says when it passes a moment within a step.
const MOMENT: &str = "failpoint: moment ";

/// A place in a boot where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Right after that step of its plan.
    After(usize),
    /// At that moment within a step, of those that the boot passes.
    At(usize),
}

impl Cut {
    /// After each step of a boot and at each moment within one, as the log of an uncut boot has them: what the
    /// product gains is cut without being named here.
    pub fn everywhere_in(log: &[String]) -> Result<Vec<Self>> {
        let mut cuts: Vec<_> = (1..=steps_in(log)?).map(Self::After).collect();
        for line in log {
            if let Some((_, rest)) = line.split_once(MOMENT) {
                let number = rest.split(':').next().unwrap_or_default();
                let number = number.parse();
                cuts.push(Self::At(number.with_context(|| format!("reading {line}"))?));
            }
        }
        Ok(cuts)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(step) => write!(f, "after step {step}"),
            Self::At(moment) => write!(f, "at moment {moment}"),
        }
    }
}

/// How many steps a boot had: `boot 1/33 …` is the line that its first one begins with.
pub fn steps_in(log: &[String]) -> Result<usize> {
    let steps = log.iter().find_map(|line| {
        let (_, rest) = line.split_once("boot 1/")?;
        rest.split(' ').next()?.parse().ok()
    });
    steps.context("the log has no first step")
}

impl Spec {
    /// Its boot ends there, as if the power went.
    pub fn cut(self, cut: Cut) -> Self {
        let spec = self.with_failpoints();
        match cut {
            Cut::After(step) => spec.init_option("--stop-after", &step.to_string()),
            Cut::At(moment) => spec.init_option("--stop-at", &moment.to_string()),
        }
    }
}

impl Stopped {
    /// Its boot must have ended there.
    pub async fn must_have_been_cut(&self, cut: Cut) -> Result<()> {
        self.must_have_said(&format!("failpoint: the boot ends {cut}"))
            .await?;
        let killed = State::Crashed {
            exit_code: 137,
            out_of_memory: false,
        };
        ensure!(self.state() == killed, "cut {cut}, it is {}", self.state());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, steps_in};

    #[test]
    fn every_step_and_every_moment_of_a_log_is_a_place_to_cut() {
        let log = [
            "INFO boot 1/2 fetch from the sink",
            "INFO failpoint: moment 1: what the volume lacks is known",
            "INFO failpoint: moment 2: a segment was put in place",
            "INFO boot 2/2 start Postgres",
        ]
        .map(str::to_owned);
        let cuts = Cut::everywhere_in(&log).unwrap();
        assert_eq!(cuts, [Cut::After(1), Cut::After(2), Cut::At(1), Cut::At(2)]);
        assert_eq!(steps_in(&log).unwrap(), 2);
        assert!(Cut::everywhere_in(&log[1..]).is_err());
    }
}
