//! The handle of one machine: what the command line and the scenarios do to it.

use std::convert::Infallible;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};

use crate::admin::{AdminClient, AdminError, KeptLine, LinkReport, Metadata};
use crate::docker::exec::{Finished, Program, Session};
use crate::docker::logs::{Output, Part};
use crate::docker::{self, Docker, DockerError, Observed, exec, logs, volume};
use crate::labels;
use crate::lock::{LockError, SubstrateLock};
use crate::login;
use crate::machine::metadata::Login;
use crate::machine::size::{Cpus, Memory};
use crate::machine::spec::{MachineSpec, Overrides};
use crate::machine::state::{State, Verb, Verdict};
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;
use crate::ports::Ports;
use crate::progress::Progress;
use crate::until::{Budget, Ended, Look, OutOfTime, until};

/// How much of a machine's output an error carries.
const LAST_LINES: usize = 30;
/// How much of what its servers said is behind that.
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

/// A machine as it stands.
#[derive(Debug, Clone)]
pub struct View {
    /// Which machine.
    pub name: MachineName,
    /// What it is doing.
    pub state: State,
    /// The reference or id of the image that it was made from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// Its memory.
    pub memory: Memory,
    /// Its processors.
    pub cpus: Cpus,
    /// Where the host finds it.
    pub ports: Ports,
    /// Who it is towards the metadata service.
    pub link_local: Ipv4Addr,
}

/// What shall be different when a machine is made anew on its volume.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Another image: an image swap.
    pub image: Option<String>,
    /// Another size of memory.
    pub memory: Option<Memory>,
    /// Another number of processors.
    pub cpus: Option<Cpus>,
    /// Other ports on the host.
    pub ports: Option<Ports>,
    /// How the next start differs from an ordinary one; an ordinary one unless given.
    pub overrides: Overrides,
}

/// Something could not be done to a machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is no such machine.
    #[error(
        "substrate {substrate} has no machine {name}\nHINT: `fake-substrate status` lists them; `fake-substrate add {name}` makes one"
    )]
    Absent {
        /// Where it was looked for.
        substrate: SubstrateName,
        /// What was looked for.
        name: MachineName,
    },
    /// It makes no sense in the state that the machine is in.
    #[error("cannot {verb} machine {name}: it is {state}\nHINT: {} {name}", state.way_out())]
    Refused {
        /// Which machine.
        name: MachineName,
        /// What was asked.
        verb: Verb,
        /// What it is doing.
        state: State,
    },
    /// It did not come up.
    #[error(transparent)]
    NotReady(#[from] Box<NotReady>),
    /// Its metadata holds no password, so nobody can log in and "ready" cannot be seen.
    #[error(
        "the metadata of machine {0} has no POSTGRES_PASSWORD, so nobody can log in\nHINT: give it one with --password-file"
    )]
    NoPassword(MachineName),
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The substrate's own process failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Another process holds the substrate.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The step that must not be cut in half was.
    #[error("making machine {0} anew was cut short\nHINT: `fake-substrate up` completes it")]
    CutShort(MachineName),
}

impl MachineError {
    /// Whether it failed because somebody else has the port that it is to be published on.
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Docker(DockerError::PortTaken { .. }))
    }
}

/// A machine that did not come up, with what it said last.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// PID 1 ended.
    #[error(
        "machine {name} ended while it booted: {state}{last_lines}\nHINT: all of its output: fake-substrate logs {name}"
    )]
    Ended {
        /// Which machine.
        name: MachineName,
        /// How it ended.
        state: State,
        /// What it said last.
        last_lines: LastLines,
    },
    /// Nobody got in.
    #[error(
        "machine {name} did not let a client in, {waited}{last_lines}\nHINT: it still runs: follow it with fake-substrate logs -f {name}"
    )]
    OutOfTime {
        /// Which machine.
        name: MachineName,
        /// How long was waited, and what the last try said.
        waited: OutOfTime,
        /// What it said last.
        last_lines: LastLines,
    },
}

/// The end of a machine's output, as it stands in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLines(Vec<String>);

impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; it has written nothing");
        }
        f.write_str("; its last lines:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
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
        let observed = observed.ok_or_else(|| MachineError::Absent {
            substrate: self.substrate.clone(),
            name: self.name.clone(),
        })?;
        Ok(View::of(observed)?)
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
            docker::container::start(&self.docker, &self.container()).await?;
        }
        Ok(())
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

    /// Waits until a client gets in through the pooler; answers how long that took. A machine
    /// that ends meanwhile is reported at once. What it writes goes to `progress` as details.
    pub async fn ready(
        &self,
        budget: Budget,
        progress: &dyn Progress,
    ) -> Result<Duration, MachineError> {
        let login = self.login().await?;
        let port = self.view().await?.ports.pooler;
        let container = self.container();
        let answered =
            until::<(), Infallible>(budget, async || match login::answers(&login, port).await {
                Ok(()) => Look::Found(()),
                Err(refused) => Look::NotYet(refused.to_string()),
            });
        tokio::select! {
            answered = answered => match answered {
                Ok(((), took)) => Ok(took),
                Err(Ended::OutOfTime(waited)) => Err(self.out_of_time(waited).await?),
                Err(Ended::Never(never)) => match never {},
            },
            ended = docker::container::ended(&self.docker, &container) => {
                ended?;
                Err(self.ended().await?)
            }
            never = self.narrate(progress) => match never {},
        }
    }

    /// Makes its container anew on the same volume, with the same address and metadata, stopping
    /// it cleanly first. Leaves it unstarted.
    ///
    /// Between the old container and the new one there is none; that part runs to its end even
    /// when the caller is dropped, and holds the substrate's lock meanwhile.
    pub async fn recreate(
        &self,
        change: Change,
        progress: &dyn Progress,
    ) -> Result<(), MachineError> {
        let lock = SubstrateLock::take(&self.substrate, progress).await?;
        let view = self.view().await?;
        if view.state.allows(Verb::Stop) == Verdict::Go {
            docker::container::stop(&self.docker, &self.container(), None).await?;
        }
        let spec = change
            .over(view)
            .container(&self.substrate, self.owner.as_ref());
        let docker = self.docker.clone();
        let swap = tokio::spawn(async move {
            docker::container::remove(&docker, &spec.name).await?;
            let made = docker::container::create(&docker, &spec).await;
            drop(lock);
            made
        });
        let made = swap
            .await
            .map_err(|_aborted| MachineError::CutShort(self.name.clone()))?;
        Ok(made.map(drop)?)
    }

    /// Takes it away, killing it if it runs; its volume and its metadata as well when
    /// `with_volume`. Kept metadata is what makes a machine of the same name the same database.
    pub async fn remove(&self, with_volume: bool) -> Result<(), MachineError> {
        docker::container::remove(&self.docker, &self.container()).await?;
        if with_volume {
            volume::remove(&self.docker, &self.volume()).await?;
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
    async fn may(&self, verb: Verb) -> Result<bool, MachineError> {
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

    async fn narrate(&self, progress: &dyn Progress) -> Infallible {
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

    async fn ended(&self) -> Result<MachineError, MachineError> {
        let state = self.view().await?.state;
        let last_lines = LastLines(self.last_words(LAST_LINES).await?);
        let ended = NotReady::Ended {
            name: self.name.clone(),
            state,
            last_lines,
        };
        Ok(MachineError::NotReady(Box::new(ended)))
    }

    async fn out_of_time(&self, waited: OutOfTime) -> Result<MachineError, MachineError> {
        let last_lines = LastLines(self.last_words(LAST_LINES).await?);
        let out = NotReady::OutOfTime {
            name: self.name.clone(),
            waited,
            last_lines,
        };
        Ok(MachineError::NotReady(Box::new(out)))
    }
}

impl View {
    /// Reads a machine off its container.
    pub(crate) fn of(observed: Observed) -> Result<Self, DockerError> {
        let container = observed.name.clone();
        let lacks = |missing| DockerError::NotOurs {
            container: container.clone(),
            missing,
        };
        let name = observed
            .labels
            .get(labels::MACHINE)
            .and_then(|name| name.parse().ok());
        let link_local = observed
            .labels
            .get(labels::LINK_LOCAL)
            .and_then(|address| address.parse().ok());
        let port = |container: u16| observed.wanted_ports.get(&container).copied();
        Ok(Self {
            name: name.ok_or_else(|| lacks("it has no usable machine name in its labels"))?,
            state: observed.state,
            image: observed.image,
            image_id: observed.image_id,
            memory: observed
                .memory
                .ok_or_else(|| lacks("it has no memory limit"))?,
            cpus: observed
                .cpus
                .ok_or_else(|| lacks("it has no processor limit"))?,
            ports: Ports {
                pooler: port(wire::ports::POOLER)
                    .ok_or_else(|| lacks("its pooler is not published"))?,
                direct: port(wire::ports::DIRECT)
                    .ok_or_else(|| lacks("its direct port is not published"))?,
            },
            link_local: link_local.ok_or_else(|| lacks("it has no link-local address"))?,
        })
    }
}

impl Change {
    /// Whether it would make any difference to a machine that stands like this.
    pub fn matters_to(&self, view: &View) -> bool {
        self.differences(view).next().is_some()
    }

    /// What would be different, in words.
    pub fn differences<'a>(&'a self, view: &'a View) -> impl Iterator<Item = String> + 'a {
        let memory = self.memory.filter(|memory| *memory != view.memory);
        let cpus = self.cpus.filter(|cpus| *cpus != view.cpus);
        let ports = self.ports.filter(|ports| *ports != view.ports);
        let image = self.image.as_ref().filter(|image| **image != view.image_id);
        let words = [
            image.map(|_image| "another image".to_owned()),
            memory.map(|memory| format!("memory {} instead of {}", memory, view.memory)),
            cpus.map(|cpus| format!("cpus {} instead of {}", cpus, view.cpus)),
            ports.map(|ports| format!("port {} instead of {}", ports.pooler, view.ports.pooler)),
        ];
        words.into_iter().flatten()
    }

    fn over(self, view: View) -> MachineSpec {
        MachineSpec {
            name: view.name,
            image: self.image.unwrap_or(view.image_id),
            memory: self.memory.unwrap_or(view.memory),
            cpus: self.cpus.unwrap_or(view.cpus),
            ports: self.ports.unwrap_or(view.ports),
            link_local: view.link_local,
            overrides: self.overrides,
        }
    }
}
