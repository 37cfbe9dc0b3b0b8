//! The control RPC as a scenario asks it: through the substrate, which is the machine's host.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::machine::state::State;
use futures_util::future::try_join_all;
use wire::rpc::{Health, Response};

use crate::budget;
use crate::disk::PGDATA;
use crate::running::Running;
use crate::sql::{Door, Session};
use crate::stopped::Stopped;
use crate::until::{Look, until};
use crate::vm::Vm;

impl Running {
    /// Asks it one command; a refusal is an answer.
    pub async fn rpc(&self, command: &str) -> Result<Response> {
        self.rpc_within(command, budget::ANSWERS.limit).await
    }

    /// The same, by a host that hangs up after that long.
    pub async fn rpc_within(&self, command: &str, patience: Duration) -> Result<Response> {
        let request = serde_json::json!({ "cmd": command });
        let admin = self.site.substrate.admin();
        let answer = admin.rpc(self.name(), &request, patience).await;
        answer.with_context(|| format!("asking {} for {command}", self.name()))
    }

    /// Asks it a command that it must carry out.
    pub async fn does(&self, command: &str) -> Result<Response> {
        let answer = self.rpc(command).await?;
        ensure!(answer.ok, "{} refused {command}: {answer:?}", self.name());
        Ok(answer)
    }

    /// Asks it a command that it must refuse with these words; answers the whole refusal.
    pub async fn refuses(&self, command: &str, words: &str) -> Result<Response> {
        let answer = self.rpc(command).await?;
        let said = answer.error.clone().unwrap_or_default();
        ensure!(
            !answer.ok && said.contains(words),
            "{} was to refuse {command} with: {words}\nit said: {answer:?}",
            self.name()
        );
        Ok(answer)
    }

    /// How it is. That is an answer in every state, within what the machine promises for it.
    pub async fn health(&self) -> Result<Health> {
        let answer = self.rpc_within("health", HEALTH).await?;
        ensure!(answer.ok && answer.error.is_none(), "{answer:?}");
        answer.health.context("no health in the answer")
    }

    /// What it calls not as it should be.
    pub async fn degraded(&self) -> Result<Vec<String>> {
        Ok(self.health().await?.degraded)
    }

    /// Waits until its health tells of something with these words.
    pub async fn complains(&self, words: &str) -> Result<String> {
        let health = self.complains_of(&[words]).await?;
        let told = health
            .degraded
            .into_iter()
            .find(|told| told.contains(words));
        told.with_context(|| format!("no complaint has {words}"))
    }

    /// Waits until its health has a complaint with all of these words; answers that health.
    pub async fn complains_of(&self, words: &[&str]) -> Result<Health> {
        let has_all = |complaint: &String| words.iter().all(|word| complaint.contains(word));
        let so = |health: &Health| health.degraded.iter().any(has_all);
        self.comes_to_be(&format!("complaining of {words:?}"), so)
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
            self.health().await?;
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

    /// How it is, as so many hosts hear at the same time.
    pub async fn health_for(&self, callers: usize) -> Result<Vec<Health>> {
        try_join_all((0..callers).map(|_| self.health())).await
    }

    /// Waits until its health has this state.
    pub async fn says_health(&self, state: &str) -> Result<Health> {
        self.comes_to_be(state, |health| health.state == state)
            .await
    }

    /// Waits until its health is so.
    pub async fn comes_to_be(&self, what: &str, so: impl Fn(&Health) -> bool) -> Result<Health> {
        let awaited = format!("{} is {what} by its own account", self.name());
        until(budget::COMES_BACK, awaited, async || {
            // Before it listens there is no answer.
            Ok(match self.health().await {
                Ok(health) if so(&health) => Look::Found(health),
                Ok(health) => Look::NotYet(format!("{health:?}")),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }
}

/// Stops the process that replays, as soon as the cluster says that one does. Of a session of its
/// own, because a hook's processes end with it.
const HOLD: &str = r#"setsid sh -c '
until pg_controldata -D "$PGDATA" | grep -q "in crash recovery"; do :; done
for process in /proc/[0-9]*; do
    if grep -q "^postgres: startup" "$process/cmdline"; then kill -STOP "${process#/proc/}"; fi
done' </dev/null >/dev/null 2>&1 &"#;
const GO_ON: &str = r#"for process in /proc/[0-9]*; do
    if grep -q "^postgres: startup" "$process/cmdline"; then kill -CONT "${process#/proc/}"; fi
done"#;

impl Running {
    /// The next crash recovery stands still until [`Running::let_recovery_go_on`].
    pub async fn hold_crash_recovery(&self) -> Result<()> {
        self.hook("pre-start.d/99-hold", HOLD).await
    }

    /// Ends [`Running::hold_crash_recovery`].
    pub async fn let_recovery_go_on(&self) -> Result<()> {
        self.shell(GO_ON).await.map(drop)
    }
}

/// The deadline of `health` in the schema, which is the machine's own, and what the way costs.
const HEALTH: Duration = Duration::from_secs(10);

/// Processes that were stopped by SIGSTOP: there, and deaf.
#[must_use = "they stay frozen until they are thawed"]
pub struct Frozen<'a> {
    vm: &'a Vm,
    pid: u32,
}

impl Frozen<'_> {
    /// Lets it go on.
    pub async fn thaw(self) -> Result<()> {
        self.vm.shell(&format!("kill -CONT {}", self.pid)).await?;
        Ok(())
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

    /// SIGSTOP of the process whose command line has these words.
    pub async fn freeze(&self, words: &str) -> Result<Frozen<'_>> {
        let processes = self.processes().await?;
        let found = processes
            .iter()
            .find(|process| process.argv.contains(words));
        let pid = found
            .with_context(|| format!("no process {words:?} among {processes:?}"))?
            .pid;
        self.freeze_pid(pid).await
    }

    /// SIGSTOP of the postmaster: its socket takes connections, and nobody answers.
    pub async fn freeze_postmaster(&self) -> Result<Frozen<'_>> {
        self.freeze_pid(self.postmaster().await?).await
    }

    async fn freeze_pid(&self, pid: u32) -> Result<Frozen<'_>> {
        self.shell(&format!("kill -STOP {pid}")).await?;
        Ok(Frozen { vm: self, pid })
    }

    /// Writes the user's own settings, which take effect at a reload.
    pub async fn user_conf(&self, lines: &str) -> Result<()> {
        self.write_user_file("conf.d/99-user.conf", lines).await
    }

    /// Writes the user's own lines about who may log in.
    pub async fn user_hba(&self, lines: &str) -> Result<()> {
        self.write_user_file("99-user-hba.conf", lines).await
    }

    async fn write_user_file(&self, file: &str, lines: &str) -> Result<()> {
        let write = format!("cat >{PGDATA}/{file}");
        self.shell_reading("root", &write, lines).await.map(drop)
    }

    /// Opens sessions as that role until Postgres has none left for it.
    pub async fn use_up_connections_as(&self, role: &str) -> Result<Vec<Session>> {
        let door = Door::Direct;
        let mut sessions = Vec::new();
        for _ in 0..1000 {
            match Session::open_as(role, self.port(door), door, &self.login).await {
                Ok(session) => sessions.push(session),
                Err(full) if format!("{full:#}").contains("remaining connection slots") => {
                    return Ok(sessions);
                }
                Err(other) => return Err(other),
            }
        }
        bail!("{} has room for a thousand sessions", self.name())
    }

    /// Waits until a new session sees this value.
    pub async fn comes_to_show(&self, setting: &str, value: &str) -> Result<()> {
        until(budget::SOON, format!("{setting} is {value}"), async || {
            let shown = self.shows(setting).await?;
            Ok(if shown == value {
                Look::Found(())
            } else {
                Look::NotYet(shown)
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
