//! The commands of `fake-substrate`, as a person types them, on the substrate of a scenario.

use anyhow::{Context as _, Result, anyhow, ensure};
use fake_substrate::cli;
use fake_substrate::machine::spec::Overrides;
use fake_substrate::ports::{self, PortChoice};

use crate::guest::Guest;
use crate::running::{Running, Starting};
use crate::vm::Vm;
use crate::world::World;

impl World {
    /// A command that must succeed. `--substrate` is this world's.
    pub async fn command(&self, words: &[&str]) -> Result<()> {
        let told = self.carry_out(words).await.err();
        told.map_or(Ok(()), |told| {
            Err(anyhow!("fake-substrate {}: {told}", words.join(" ")))
        })
    }

    /// A command that must fail, and tell all of this.
    pub async fn refuses_command(&self, words: &[&str], told: &[&str]) -> Result<()> {
        let line = words.join(" ");
        let said = self.carry_out(words).await.err();
        let said = said.with_context(|| format!("fake-substrate {line}: it succeeded"))?;
        ensure!(
            told.iter().all(|words| said.contains(words)),
            "fake-substrate {line} was to tell: {told:?}\nit told: {said}"
        );
        Ok(())
    }

    async fn carry_out(&self, words: &[&str]) -> Result<(), String> {
        let name = self.site.substrate.name().to_string();
        let line = [&["--substrate", name.as_str()], words].concat();
        cli::carry_out(&line).await
    }

    /// A machine that a command made, whether or not clients get in.
    pub fn machine(&self, name: &str) -> Result<Running> {
        let guest = Guest {
            site: std::sync::Arc::clone(&self.site),
            machine: self.site.substrate.handle(name.parse()?),
            overrides: Overrides::default(),
        };
        Ok(Running {
            guest,
            lines_before: 0,
            received_before: 0,
        })
    }

    /// A machine that a command made, once clients get in.
    pub async fn database(&self, name: &str) -> Result<Vm> {
        Starting::new(self.machine(name)?).ready().await
    }
}

/// A port of this host that nobody has, for a command that wants one.
pub fn free_port() -> Result<String> {
    Ok(ports::choose(PortChoice::Any)?.pooler.to_string())
}
