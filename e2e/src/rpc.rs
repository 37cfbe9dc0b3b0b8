//! The control RPC as a scenario asks it: through the substrate, which is the machine's host.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::machine::state::State;
use wire::rpc::{Health, Response};

use crate::budget;
use crate::running::Running;
use crate::stopped::Stopped;
use crate::until::{Look, until};
use crate::vm::Vm;

impl Running {
    /// Asks it one command; a refusal is an answer.
    pub async fn rpc(&self, command: &str) -> Result<Response> {
        let request = serde_json::json!({ "cmd": command });
        let admin = self.site.substrate.admin();
        let answer = admin.rpc(self.name(), &request, budget::SOON.limit).await;
        answer.with_context(|| format!("asking {} for {command}", self.name()))
    }

    /// Waits until its health has this state.
    pub async fn says_health(&self, state: &str) -> Result<()> {
        let awaited = format!("{} calls itself {state}", self.name());
        until(budget::COMES_BACK, awaited, async || {
            let health = self.rpc("health").await?.health;
            Ok(match health {
                Some(health) if health.state == state => Look::Found(()),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .await
    }
}

impl Running {
    /// Waits until its health has a complaint with all of these words; answers that health.
    pub async fn complains_of(&self, words: &[&str]) -> Result<Health> {
        let awaited = format!("{} complains of {words:?}", self.name());
        until(budget::COMES_BACK, awaited, async || {
            let health = self.rpc("health").await?.health.unwrap_or_default();
            let has_all = |complaint: &String| words.iter().all(|word| complaint.contains(word));
            Ok(if health.degraded.iter().any(has_all) {
                Look::Found(health)
            } else {
                Look::NotYet(format!("{health:?}"))
            })
        })
        .await
    }

    /// What it calls not as it should be.
    pub async fn degraded(&self) -> Result<Vec<String>> {
        let health = self.rpc("health").await?.health;
        Ok(health.context("an answer without health")?.degraded)
    }

    /// Waits until its health tells of something with these words.
    pub async fn complains(&self, words: &str) -> Result<String> {
        let awaited = format!("the health of {} tells: {words}", self.name());
        until(budget::SOON, awaited, async || {
            let mut told = self.degraded().await?;
            let found = told.iter().position(|told| told.contains(words));
            Ok(match found {
                Some(at) => Look::Found(told.swap_remove(at)),
                None => Look::NotYet(format!("{told:?}")),
            })
        })
        .await
    }

    /// Plays a part of a story; meanwhile the host asks for its health again and again and must be
    /// answered each time.
    pub async fn answers_throughout<T>(&self, story: impl Future<Output = Result<T>>) -> Result<T> {
        let over = Cell::new(false);
        let played = async {
            let outcome = story.await?;
            over.set(true);
            Ok(outcome)
        };
        let mut answers = 0;
        let asked = until(budget::STORY, "the story goes on", async || {
            let answer = self.rpc("health").await?;
            ensure!(answer.ok && answer.health.is_some(), "{answer:?}");
            answers += 1;
            Ok(if over.get() {
                Look::Found(())
            } else {
                Look::NotYet("not over".to_owned())
            })
        });
        let (outcome, ()) = tokio::try_join!(played, asked)?;
        ensure!(answers > 5, "{answers} questions are no test");
        Ok(outcome)
    }
}

impl Vm {
    /// Waits until its health tells of nothing any more.
    pub async fn is_well(&self) -> Result<()> {
        let awaited = format!("{} is no longer degraded", self.name());
        until(budget::SOON, awaited, async || {
            let degraded = self.degraded().await?;
            Ok(if degraded.is_empty() {
                Look::Found(())
            } else {
                Look::NotYet(format!("{degraded:?}"))
            })
        })
        .await
    }

    /// Waits until a new session sees this value.
    pub async fn comes_to_show(&self, setting: &str, value: &str) -> Result<()> {
        until(budget::SOON, format!("{setting} is {value}"), async || {
            Ok(match self.shows(setting).await {
                Ok(shown) if shown == value => Look::Found(()),
                Ok(shown) => Look::NotYet(shown),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// Waits until it ends by itself, which must be a clean stop.
    pub async fn ends_cleanly(self) -> Result<Stopped> {
        let name = self.name().to_owned();
        let stopped = self.running.ended().await?;
        let state = stopped.state();
        ensure!(
            state == State::Stopped,
            "{name} is {state} instead of stopped cleanly"
        );
        Ok(stopped)
    }
}
