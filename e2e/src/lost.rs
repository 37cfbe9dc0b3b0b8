//! A machine whose host is lost: nothing can be asked of it, and it comes back elsewhere or not at all.

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::machine::state::State;
use fake_substrate::names::HostName;
use fake_substrate::progress::Quiet;

use crate::running::Running;
use crate::stopped::Stopped;
use crate::vm::Vm;

/// A machine whose host is lost.
#[derive(Debug)]
pub struct Lost {
    was: Running,
}

impl Lost {
    /// Loses the host of a machine.
    pub(crate) async fn after(was: Running) -> Result<Self> {
        let substrate = &was.site.substrate;
        let host = substrate.host_of(was.machine.name()).await?;
        let lost = substrate.lose_host(&host, &Quiet).await;
        lost.with_context(|| format!("losing the host of {}", was.name()))?;
        Self { was }.must_be_lost().await
    }

    /// A machine whose host was another's that is lost.
    pub async fn together(vm: Vm) -> Result<Self> {
        Self { was: vm.running }.must_be_lost().await
    }

    async fn must_be_lost(self) -> Result<Self> {
        let state = self.was.machine.view().await?.state;
        ensure!(state == State::Lost, "{} is {state}", self.was.name());
        let Err(refused) = self.was.machine.start().await else {
            bail!("{} was started without its volume", self.was.name());
        };
        let said = refused.to_string();
        ensure!(said.contains("fake-substrate rehome"), "{said}");
        Ok(self)
    }

    /// It comes to another host, as of its flush point, and is off.
    pub async fn rehome(self) -> Result<Stopped> {
        self.comes_to(None).await
    }

    /// The same to that host, which is made when it is missing.
    pub async fn rehome_to(self, host: &str) -> Result<Stopped> {
        self.comes_to(Some(host.parse()?)).await
    }

    async fn comes_to(self, host: Option<HostName>) -> Result<Stopped> {
        let substrate = &self.was.site.substrate;
        let rehomed = substrate
            .rehome(self.was.machine.name(), host.as_ref(), &Quiet)
            .await;
        let rehomed = rehomed.with_context(|| format!("rehoming {}", self.was.name()))?;
        eprintln!("{}: rehomed within {:?}", self.was.name(), rehomed.took);
        let state = rehomed.machine.view().await?.state;
        Ok(Stopped::new(self.was, state))
    }

    /// Nothing of it is left, and the refusal has these words.
    pub async fn must_be_gone(&self, words: &str) -> Result<()> {
        let substrate = &self.was.site.substrate;
        let name = self.was.machine.name();
        let Err(refused) = substrate.rehome(name, None, &Quiet).await else {
            bail!("{name} came back from nothing");
        };
        let said = refused.to_string();
        ensure!(said.contains(words), "refused for another reason: {said}");
        Ok(())
    }
}
