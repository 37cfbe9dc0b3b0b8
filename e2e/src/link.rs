//! A machine's link to its host, as its host sees it.

use anyhow::Result;
use fake_substrate::admin::{KeptLine, LinkReport};

use crate::budget;
use crate::guest::Guest;
use crate::running::Running;
use crate::stopped::Stopped;
use crate::until::{Look, until};
use crate::vm::Vm;

impl Guest {
    /// Waits until the host knows this of its link.
    pub async fn link_is(
        &self,
        what: &str,
        so: impl Fn(&LinkReport) -> bool,
    ) -> Result<LinkReport> {
        let awaited = format!("the link of {} is {what}", self.name());
        until(budget::SPEAKS, awaited, async || {
            let report = self.machine.link().await?;
            Ok(if so(&report) {
                Look::Found(report)
            } else {
                Look::NotYet(format!("{report:?}"))
            })
        })
        .await
    }
}

/// Lines that the host received, in order.
#[derive(Debug, Clone)]
pub struct Received(Vec<KeptLine>);

impl Received {
    /// Those that have these words.
    pub fn lines_with(&self, words: &str) -> Vec<&KeptLine> {
        let has_words = |kept: &&KeptLine| kept.line.line.contains(words);
        self.0.iter().filter(has_words).collect()
    }

    /// How many lines the machine says that it dropped among them.
    pub fn dropped(&self) -> usize {
        let count = |kept: &KeptLine| {
            let rest = kept.line.line.strip_prefix("[beyond-pg: dropped ")?;
            rest.strip_suffix(" log lines]")?.parse::<usize>().ok()
        };
        self.0.iter().filter_map(count).sum()
    }
}

impl Running {
    /// What the host received from it since it was switched on.
    pub async fn received(&self) -> Result<Vec<KeptLine>> {
        Ok(self.machine.received(self.received_before).await?)
    }

    /// What the host received from it after the line of that number.
    pub async fn received_after(&self, number: u64) -> Result<Received> {
        Ok(Received(self.machine.received(number).await?))
    }

    /// Waits until the host has received a line with these words.
    pub async fn host_hears(&self, words: &str) -> Result<KeptLine> {
        let awaited = format!("the host of {} receives: {words}", self.name());
        until(budget::SPEAKS, awaited, async || {
            let mut received = self.received().await?;
            let heard = received
                .iter()
                .position(|kept| kept.line.line.contains(words));
            Ok(match heard {
                Some(at) => Look::Found(received.swap_remove(at)),
                None => Look::NotYet(format!("{} other lines", received.len())),
            })
        })
        .await
    }
}

impl Vm {
    /// Shuts it down by the link's own frame. It must end by itself, cleanly.
    pub async fn shut_down_over_link(self) -> Result<Stopped> {
        self.site
            .substrate
            .admin()
            .shut_down_over_link(self.name())
            .await?;
        self.running.ended().await
    }
}
