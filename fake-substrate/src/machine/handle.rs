//! The handle of one machine: what the command line and the scenarios do to it.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};

use crate::admin::{AdminClient, KeptLine, LinkReport, Metadata};
use crate::certificates::{FOLDER, PlatformFile};
use crate::docker::exec::{Finished, Program, Session};
use crate::docker::logs::{Output, Part};
use crate::docker::{self, Docker, DockerError, exec, logs};
use crate::fault::hands::Hands;
use crate::lock::SubstrateLock;
use crate::machine::error::{MachineError, NotReady};
use crate::machine::last_lines::{LOOKED_THROUGH, LastLines};
use crate::machine::metadata::Login;
use crate::machine::state::{State, Verb, Verdict};
use crate::machine::view::{Change, View};
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;
use crate::progress::Progress;
use crate::substrate;
use crate::until::OutOfTime;
use crate::volume::store::decide::Children;

/// How much of what its servers said is behind what PID 1 said.
const SERVERS_LINES: usize = 10;

/// A machine of a substrate. Cheap to clone; knows its names and asks Docker for the rest.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) docker: Docker,
    pub(crate) admin: AdminClient,
    pub(crate) substrate: SubstrateName,
    pub(crate) owner: Option<Owner>,
    pub(crate) name: MachineName,
}

impl Machine {
    /// Its name.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// Its container, for what this handle does not offer.
    pub fn container(&self) -> String {
        self.substrate.machine_container(&self.name)
    }

    /// Its volume.
    pub fn volume(&self) -> String {
        self.substrate.machine_volume(&self.name)
    }

    /// Looks at it.
    pub async fn view(&self) -> Result<View, MachineError> {
        let observed = docker::container::inspect(&self.docker, &self.container()).await?;
        let observed = observed.ok_or_else(|| self.absent())?;
        let hosts = self.hosts().names().await?;
        Ok(View::of(observed, &hosts)?)
    }

    pub(crate) fn absent(&self) -> MachineError {
        MachineError::Absent {
            substrate: self.substrate.clone(),
            name: self.name.clone(),
        }
    }

    /// What the metadata service tells it, secrets included.
    pub async fn metadata(&self) -> Result<Metadata, MachineError> {
        Ok(self.admin.metadata(self.name.as_str()).await?)
    }

    /// How a client gets in, according to its metadata.
    pub async fn login(&self) -> Result<Login, MachineError> {
        let document = self.metadata().await?;
        Login::from_metadata(&document).ok_or_else(|| MachineError::NoPassword(self.name.clone()))
    }

    /// Boots it; a machine that runs is left alone. Does not wait until it is ready.
    pub async fn start(&self) -> Result<(), MachineError> {
        if self.may(Verb::Start).await? {
            self.settle_disk().await?;
            let hands = self.hands();
            hands.before_start_of(&self.name).await.map_err(Box::new)?;
            docker::container::start(&self.docker, &self.container()).await?;
            hands.after_start_of(&self.name).await.map_err(Box::new)?;
        }
        Ok(())
    }

    fn hands(&self) -> Hands {
        Hands {
            docker: self.docker.clone(),
            admin: self.admin.clone(),
            substrate: self.substrate.clone(),
            owner: self.owner.clone(),
        }
    }

    /// Shuts it down: SIGTERM, and SIGKILL only after `patience` (longer than PID 1's own budget
    /// by default). Answers how it ended: [`State::Stopped`] when that was clean.
    pub async fn stop(&self, patience: Option<Duration>) -> Result<State, MachineError> {
        if self.may(Verb::Stop).await? {
            docker::container::stop(&self.docker, &self.container(), patience).await?;
        }
        Ok(self.view().await?.state)
    }

    /// SIGKILL of PID 1; the kernel takes everything under it along. What was written to the
    /// volume stays, fsync or not: this is a crash of the machine's kernel, not a loss of power.
    pub async fn crash(&self) -> Result<(), MachineError> {
        if self.may(Verb::Crash).await? {
            docker::container::signal(&self.docker, &self.container(), "SIGKILL").await?;
            docker::container::ended(&self.docker, &self.container()).await?;
        }
        Ok(())
    }

    /// Stops it cleanly if it runs, and boots it.
    pub async fn restart(&self) -> Result<(), MachineError> {
        self.stop(None).await?;
        self.start().await
    }

    /// Runs a program in it to its end.
    pub async fn exec(&self, program: Program) -> Result<Finished, MachineError> {
        self.may(Verb::Exec).await?;
        Ok(exec::run(&self.docker, &self.container(), program).await?)
    }

    /// Runs a program in it with its input and output in the caller's hands.
    pub async fn session(&self, program: Program) -> Result<Session, MachineError> {
        self.may(Verb::Exec).await?;
        Ok(exec::start(&self.docker, &self.container(), program).await?)
    }

    /// Puts one of the platform agent's files into it: a new file renamed into place, root's alone.
    /// Only while it runs, as the real agent does.
    pub async fn deliver(&self, file: PlatformFile, pem: &str) -> Result<(), MachineError> {
        self.may(Verb::Exec).await?;
        let script = format!(
            "set -e; umask 077; mkdir -p {FOLDER}; cd {FOLDER}; cat > {name}.new; mv {name}.new {name}",
            name = file.name()
        );
        let program = Program {
            argv: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
            user: Some("root".to_owned()),
            ..Program::default()
        };
        let written =
            exec::run_reading(&self.docker, &self.container(), program, pem.as_bytes()).await?;
        if written.exit_code == 0 {
            return Ok(());
        }
        Err(MachineError::NotDelivered {
            name: self.name.clone(),
            file: file.name(),
            why: written.stderr,
        })
    }

    /// What PID 1 and its children have written.
    pub fn logs(&self, part: Part) -> impl Stream<Item = Result<Output, DockerError>> + use<> {
        logs::stream(&self.docker, &self.container(), part)
    }

    /// The latest lines of that.
    pub async fn last_lines(&self, lines: usize) -> Result<Vec<String>, MachineError> {
        Ok(logs::last_lines(&self.docker, &self.container(), lines).await?)
    }

    /// What the host knows of its link.
    pub async fn link(&self) -> Result<LinkReport, MachineError> {
        Ok(self.admin.link(self.name.as_str()).await?)
    }

    /// What the host received over its link after that line, PID 1's own lines included.
    pub async fn received(&self, after: u64) -> Result<Vec<KeptLine>, MachineError> {
        Ok(self.admin.log_lines(self.name.as_str(), after).await?)
    }

    /// The latest lines of PID 1, and behind them what its servers said last: those write to the
    /// container only where there is no link.
    async fn last_words(&self, lines: usize) -> Result<Vec<String>, MachineError> {
        let mut words = self.last_lines(lines).await?;
        // The error that these are for matters more than that the host could not be asked.
        let received = self.received(0).await.unwrap_or_default();
        let by_servers = received.into_iter().filter(|kept| !kept.is_of_pid_1());
        let by_servers: Vec<_> = by_servers.map(|kept| kept.line.line).collect();
        words.extend_from_slice(&by_servers[by_servers.len().saturating_sub(SERVERS_LINES)..]);
        Ok(words)
    }

    /// Makes its container anew on the same volume, with the same address and metadata, stopping
    /// it cleanly first. Leaves it unstarted.
    pub async fn recreate(
        &self,
        change: Change,
        progress: &dyn Progress,
    ) -> Result<(), MachineError> {
        let lock = SubstrateLock::take(&self.substrate, progress).await?;
        self.make_anew(change, lock).await
    }

    /// Takes it away, killing it if it runs; its volume and its metadata as well when it is said what becomes
    /// of the volume's children. Kept metadata is what makes a machine of the same name the same database.
    pub async fn remove(&self, with_volume: Option<Children>) -> Result<(), MachineError> {
        if with_volume == Some(Children::Forbid) {
            substrate::refuse_children(&self.docker, &self.substrate, &self.name).await?;
        }
        docker::container::remove(&self.docker, &self.container()).await?;
        if let Some(children) = with_volume {
            substrate::discard(&self.docker, &self.substrate, &self.name, children).await?;
            let registered = self.admin.machines().await?;
            if registered
                .iter()
                .any(|machine| machine.name == self.name.as_str())
            {
                self.admin.delete_machine(self.name.as_str()).await?;
            }
        }
        Ok(())
    }

    /// Whether there is anything to do for `verb`; an error when it makes no sense now.
    pub(super) async fn may(&self, verb: Verb) -> Result<bool, MachineError> {
        let state = self.view().await?.state;
        match state.allows(verb) {
            Verdict::Go => Ok(true),
            Verdict::AlreadySo => Ok(false),
            Verdict::Refused => Err(MachineError::Refused {
                name: self.name.clone(),
                verb,
                state,
            }),
        }
    }

    pub(super) async fn narrate(&self, progress: &dyn Progress) -> Infallible {
        let part = Part {
            follow: true,
            tail: Some(0),
            since: None,
        };
        let mut output = Box::pin(self.logs(part));
        // Lost output costs a detail on a terminal; the outcome is seen elsewhere.
        while let Ok(Some(piece)) = output.try_next().await {
            for line in String::from_utf8_lossy(&piece.bytes).lines() {
                progress.detail(line);
            }
        }
        std::future::pending().await
    }

    /// What to say of one that has ended while it was waited for.
    pub(crate) async fn ended(&self) -> Result<MachineError, MachineError> {
        let state = self.view().await?.state;
        let last_lines = LastLines::of(&self.last_words(LOOKED_THROUGH).await?);
        let ended = NotReady::Ended {
            name: self.name.clone(),
            state,
            last_lines,
        };
        Ok(MachineError::NotReady(Box::new(ended)))
    }

    pub(super) async fn out_of_time(
        &self,
        waited: OutOfTime,
    ) -> Result<MachineError, MachineError> {
        let last_lines = LastLines::of(&self.last_words(LOOKED_THROUGH).await?);
        let out = NotReady::OutOfTime {
            name: self.name.clone(),
            waited,
            last_lines,
        };
        Ok(MachineError::NotReady(Box::new(out)))
    }
}
