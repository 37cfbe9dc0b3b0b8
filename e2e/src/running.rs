//! A machine that is switched on.

use std::ops::Deref;

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::admin::{CutPower, PowerCutReport};
use fake_substrate::docker::container;
use fake_substrate::docker::exec::{Finished, Program};
use fake_substrate::docker::logs::Part;
use fake_substrate::fault::Guard;
use fake_substrate::machine::state::State;
use fake_substrate::mmds::fault::MmdsTrouble;
use fake_substrate::progress::Quiet;
use fake_substrate::volume::store::cut::Tear;
use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::budget;
use crate::disk::{BOOTED, Tree, UNTOUCHED};
use crate::guest::Guest;
use crate::lost::Lost;
use crate::processes::{self, Given, Process};
use crate::record::BootRecord;
use crate::stopped::Stopped;
use crate::until::{Look, until, until_true, within};
use crate::vm::Vm;

/// The server's own account.
pub(crate) const POSTGRES: &str = "postgres";

/// A machine that is switched on, whether or not clients get in.
#[derive(Debug, Clone)]
pub struct Running {
    pub(crate) guest: Guest,
    /// What its container had written before this boot.
    pub(crate) lines_before: usize,
    /// The last line that the host had received from it.
    pub(crate) received_before: u64,
}

impl Deref for Running {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Running {
    /// What its container has written since it was switched on.
    pub async fn output(&self) -> Result<Vec<String>> {
        let mut lines = self.machine.last_lines(usize::MAX).await?;
        Ok(lines.split_off(self.lines_before.min(lines.len())))
    }

    /// What it has written since then: PID 1's own lines, and behind them those of its servers,
    /// which only the host received.
    pub async fn log(&self) -> Result<Vec<String>> {
        let mut log = self.output().await?;
        let received = self.machine.received(self.received_before).await?;
        let of_servers = received.into_iter().filter(|kept| !kept.is_of_pid_1());
        log.extend(of_servers.map(|kept| kept.line.line));
        Ok(log)
    }

    /// Waits until its log has these words.
    pub async fn expect_log(&self, words: &str) -> Result<String> {
        let awaited = format!("{} says: {words}", self.name());
        until(budget::SPEAKS, awaited, async || {
            let lines = self.log().await?;
            let said = lines.iter().find(|line| line.contains(words));
            Ok(match said {
                Some(line) => Look::Found(line.clone()),
                None => Look::NotYet(lines.last().cloned().unwrap_or("nothing".to_owned())),
            })
        })
        .await
    }

    /// Passes from one trouble of its metadata service to another, without an answer in between, and
    /// waits until it says these words because of that.
    pub async fn troubled_by(
        &self,
        before: Guard,
        trouble: MmdsTrouble,
        words: &str,
    ) -> Result<Guard> {
        let times = async || -> Result<usize> {
            let lines = self.output().await?;
            Ok(lines.iter().filter(|line| line.contains(words)).count())
        };
        let said = times().await?;
        let awaited = format!("{} says because of {trouble:?}: {words}", self.name());
        // Of two that stand, the older one strikes.
        let troubled = self.mmds(trouble).await?;
        before.heal().await?;
        until_true(budget::SPEAKS, awaited, async || Ok(times().await? > said)).await?;
        Ok(troubled)
    }

    /// Waits for these words as they are written: for a kill that must land right behind them.
    pub async fn hears(&self, words: &str) -> Result<()> {
        let part = Part {
            follow: true,
            tail: None,
            since: None,
        };
        let mut output = Box::pin(self.machine.logs(part));
        let mut heard = String::new();
        let listening = async {
            while let Some(piece) = output.try_next().await? {
                heard.push_str(&String::from_utf8_lossy(&piece.bytes));
                let this_boot = heard.split_inclusive('\n').skip(self.lines_before);
                if this_boot.into_iter().any(|line| line.contains(words)) {
                    return Ok(());
                }
            }
            bail!("{} ended without saying: {words}", self.name())
        };
        within(
            budget::SPEAKS,
            format!("{} says: {words}", self.name()),
            listening,
        )
        .await?
    }

    /// The record of this boot.
    pub async fn boot_record(&self) -> Result<BootRecord> {
        let awaited = format!("{} writes its boot record", self.name());
        until(budget::SPEAKS, awaited, async || {
            let lines = self.log().await?;
            match lines.iter().find_map(|line| BootRecord::in_line(line)) {
                Some(record) => Ok(Look::Found(record?)),
                None => Ok(Look::NotYet("no boot record in its log".to_owned())),
            }
        })
        .await
    }

    /// Runs a program in it as that user, whatever comes of it.
    pub async fn exec(&self, user: &str, argv: &[&str]) -> Result<Finished> {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let program = Program {
            argv,
            user: Some(user.to_owned()),
            ..Program::default()
        };
        Ok(self.machine.exec(program).await?)
    }

    /// Runs a program in it that must succeed; answers what it printed.
    pub async fn run(&self, user: &str, argv: &[&str]) -> Result<String> {
        let Finished {
            exit_code,
            stdout,
            stderr,
        } = self.exec(user, argv).await?;
        ensure!(
            exit_code == 0,
            "{argv:?} in {}: exit code {exit_code}: {stderr}",
            self.name()
        );
        Ok(stdout)
    }

    /// Runs a shell script in it as root.
    pub async fn shell(&self, script: &str) -> Result<String> {
        self.run("root", &["/bin/sh", "-c", script]).await
    }

    /// Runs a shell script with something to read that must be in no command line.
    pub async fn shell_reading(&self, user: &str, script: &str, input: &str) -> Result<String> {
        let program = Program {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            user: Some(user.to_owned()),
            ..Program::default()
        };
        let mut session = self.machine.session(program).await?;
        session.input.write_all(input.as_bytes()).await?;
        session.input.shutdown().await?;
        let mut printed = Vec::new();
        while let Some(piece) = session.output.try_next().await? {
            printed.extend_from_slice(&piece.bytes);
        }
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// Puts a hook into its root file system, where it stays until the machine is made anew.
    pub async fn hook(&self, name: &str, script: &str) -> Result<()> {
        let path = format!("/etc/postgresql/18/hooks/{name}");
        let write = format!("cat >{path} && chmod 755 {path}");
        let input = format!("#!/bin/sh\n{script}\n");
        self.shell_reading("root", &write, &input).await.map(drop)
    }

    /// Its processes.
    pub async fn processes(&self) -> Result<Vec<Process>> {
        Ok(processes::read(&self.shell(processes::LISTING).await?))
    }

    /// What one of its processes was given, looked at as that user.
    pub async fn given(&self, user: &str, pid: u32) -> Result<Given> {
        let argv = ["/bin/sh", "-c", processes::GIVEN, "given", &pid.to_string()];
        Given::read(&self.run(user, &argv).await?)
    }

    /// The most memory that PID 1 has had since it was switched on, in kB, pages of files included.
    pub async fn peak_memory_kb(&self) -> Result<u64> {
        let peak = "awk '/^VmHWM/ { print $2 }' /proc/1/status";
        let peak = self.shell(peak).await?;
        peak.trim()
            .parse()
            .with_context(|| format!("reading {peak}"))
    }

    /// SIGKILL of one process in it.
    pub async fn kill(&self, pid: u32) -> Result<()> {
        self.shell(&format!("kill -KILL {pid}")).await.map(drop)
    }

    /// What a boot would do now, in the machine's own words.
    pub async fn plan(&self) -> Result<String> {
        self.run("root", &["beyond-pg", "boot", "--plan"]).await
    }

    /// Whether a boot would find everything on disk as it should be.
    pub async fn must_have_an_empty_plan(&self) -> Result<()> {
        let plan = self.plan().await?;
        ensure!(
            plan.starts_with("nothing to change on disk\n"),
            "{}: the plan: {plan}",
            self.name()
        );
        Ok(())
    }

    /// What the boots made of its disk.
    pub async fn booted_tree(&self) -> Result<Tree> {
        Ok(Tree::read(&self.shell(BOOTED).await?))
    }

    /// Every byte of its volume.
    pub async fn volume_bytes(&self) -> Result<Tree> {
        Ok(Tree::read(&self.shell(UNTOUCHED).await?))
    }

    /// Shuts it down as the platform does. It must end by itself, cleanly, and in time.
    pub async fn stop(self) -> Result<Stopped> {
        let ended = self.machine.stop(Some(budget::STOP)).await?;
        ensure!(
            ended == State::Stopped,
            "{} was asked to stop and is {ended} instead of stopped cleanly within {} s",
            self.name(),
            budget::STOP.as_secs()
        );
        Ok(Stopped::new(self, ended))
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<Stopped> {
        let container = self.machine.container();
        let ended = container::ended(&self.site.docker, &container);
        within(
            budget::ENDS,
            format!("{} ends by itself", self.name()),
            ended,
        )
        .await??;
        let state = self.machine.view().await?.state;
        Ok(Stopped::new(self, state))
    }

    /// SIGKILL of the whole machine.
    pub async fn crash(self) -> Result<Stopped> {
        self.machine.crash().await?;
        let state = self.machine.view().await?.state;
        Ok(Stopped::new(self, state))
    }

    /// Its power goes: of what its disk had not flushed, the seed chooses what survives, by whole blocks or,
    /// with an odd seed, torn within them by sectors.
    pub async fn power_cut(self, seed: u64) -> Result<Stopped> {
        let tear = if seed.is_multiple_of(2) {
            Tear::Block
        } else {
            Tear::Sector
        };
        let cut = CutPower {
            seed: Some(seed),
            tear,
        };
        let (off, cut) = self.cut_power(cut).await?;
        eprintln!("{}: {cut:?}", off.name());
        Ok(off)
    }

    /// The same as it was drawn elsewhere; answers also what became of what was not flushed.
    pub(crate) async fn cut_power(self, cut: CutPower) -> Result<(Stopped, PowerCutReport)> {
        let cut = self.machine.power_cut(cut).await?;
        let state = self.machine.view().await?.state;
        Ok((Stopped::new(self, state), cut))
    }

    /// Its host is lost, and everybody else who was on it.
    pub async fn lose_host(self) -> Result<Lost> {
        Lost::after(self).await
    }
}

/// A machine that was switched on and is not expected to be ready yet, or ever.
#[derive(Debug)]
pub struct Starting(Running);

impl Deref for Starting {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Starting {
    pub(crate) fn new(running: Running) -> Self {
        Self(running)
    }

    /// Waits until clients get in and it says so itself.
    pub async fn ready(self) -> Result<Vm> {
        let name = self.name().to_owned();
        let ready = self.machine.ready(budget::READY, &Quiet).await;
        ready.with_context(|| format!("waiting until clients get in to {name}"))?;
        self.expect_log("ready: ").await?;
        let ports = self.machine.view().await?.ports;
        let login = self.login().await?;
        Ok(Vm {
            running: self.0,
            ports,
            login,
        })
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<Stopped> {
        self.0.ended().await
    }

    /// Shuts it down as the platform does.
    pub async fn stop(self) -> Result<Stopped> {
        self.0.stop().await
    }

    /// SIGKILL of the whole machine.
    pub async fn crash(self) -> Result<Stopped> {
        self.0.crash().await
    }

    /// Its power goes.
    pub async fn power_cut(self, seed: u64) -> Result<Stopped> {
        self.0.power_cut(seed).await
    }
}
