//! How the process that serves a substrate's page lives and ends, seen from the processes around it.
//!
//! ```text
//!   up ── none runs ──────────────► starts one, in a session of its own
//!    └─── one of another build ───► ends it, starts one on the same port
//!   the page ── its substrate is gone, SIGTERM, Ctrl-C ──► ends
//!   down ───► ends it, removes its files
//! ```
//!
//! A file beside the substrate's lock says who serves, and is locked for as long as that process lives:
//! the lock is the kernel's, so a killed process serves nobody and is in nobody's way. What it wrote
//! stays until `down`, for the port that it had.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Program};
use crate::docker::Docker;
use crate::names::SubstrateName;
use crate::substrate;
use crate::until::{Budget, Ended, Look, pause, until};

/// The process begins to listen, or ends.
const STARTS: Budget = Budget {
    name: "page starts",
    limit: Duration::from_secs(15),
    every: Duration::from_millis(50),
};
/// The process ends once it was asked to.
const ENDS: Budget = Budget {
    name: "page ends",
    limit: Duration::from_secs(5),
    every: Duration::from_millis(50),
};
/// Whoever only looks whether somebody serves holds the lock for a moment.
const TURN: Budget = Budget {
    name: "page's lock",
    limit: Duration::from_secs(1),
    every: Duration::from_millis(50),
};
/// How often the process looks whether its substrate still exists.
const STILL_THERE: Duration = Duration::from_secs(20);

/// Who serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pid: i32,
    port: u16,
    build: String,
}

impl Record {
    /// Where the page is found.
    pub fn url(&self) -> String {
        url(self.port)
    }
}

pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

/// The page's process could not be started, found or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// One serves already.
    #[error("the page of substrate {substrate} is served already, at {url}\nHINT: open that")]
    Served {
        /// Of which substrate.
        substrate: SubstrateName,
        /// Where.
        url: String,
    },
    /// Its files could not be used.
    #[error("cannot use {}\nHINT: may this user write there?", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It could not be started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It was started and does not serve.
    #[error("it does not serve: {why}\nHINT: what it said is in {}", log.display())]
    NotServing {
        /// What was seen.
        why: String,
        /// Where to look.
        log: PathBuf,
    },
    /// It cannot be ended.
    #[error("cannot end process {pid}, which serves the page\nHINT: end it by hand: kill -9 {pid}")]
    Unstoppable {
        /// Which one.
        pid: i32,
        /// Why not.
        source: io::Error,
    },
}

/// The right to serve a substrate's page, until dropped.
#[derive(Debug)]
pub struct Turn {
    file: Flock<File>,
    path: PathBuf,
}

impl Turn {
    /// Takes it, unless a living process has it.
    pub async fn take(substrate: &SubstrateName) -> Result<Self, ProcessError> {
        let path = record_path(substrate);
        let taking = until(TURN, async || match open(&path).and_then(try_lock) {
            Ok(Some(file)) => Look::Found(file),
            Ok(None) => Look::NotYet("it is locked".to_owned()),
            Err(source) => Look::Never(source),
        });
        match taking.await {
            Ok((file, _took)) => Ok(Self { file, path }),
            Err(Ended::Never(source)) => Err(ProcessError::File { path, source }),
            Err(Ended::OutOfTime(_)) => Err(ProcessError::Served {
                substrate: substrate.clone(),
                url: serving(substrate)
                    .map_or_else(|| "an unknown address".to_owned(), |record| record.url()),
            }),
        }
    }

    /// The port that was served last, if any.
    pub fn last_port(&mut self) -> Option<u16> {
        read(&mut self.file).map(|record| record.port)
    }

    /// Tells everybody that this process serves there.
    pub fn tell(&mut self, port: u16) -> Result<(), ProcessError> {
        let record = Record {
            pid: std::process::id().cast_signed(),
            port,
            build: this_build(),
        };
        let written = (|| {
            let json = serde_json::to_vec(&record)?;
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(&json)
        })();
        written.map_err(|source| ProcessError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// The ports to try, the best first: the one that was served last, the usual one, any.
pub fn ports(last: Option<u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = last.into_iter().collect();
    if last != Some(super::PREFERRED_PORT) {
        ports.push(super::PREFERRED_PORT);
    }
    ports.push(0);
    ports
}

/// Who serves the page of a substrate, if a living process does.
pub fn serving(substrate: &SubstrateName) -> Option<Record> {
    let path = record_path(substrate);
    let mut file = File::open(&path).ok()?;
    let record = read(&mut file)?;
    match try_lock(file) {
        Ok(None) => Some(record),
        Ok(Some(_)) | Err(_) => None,
    }
}

/// Starts the process that serves the page, unless one of this very build runs already. Answers where
/// the page is.
pub async fn ensure(substrate: &SubstrateName) -> Result<String, ProcessError> {
    match serving(substrate) {
        Some(record) if record.build == this_build() => return Ok(record.url()),
        Some(old) => stop(substrate, &old).await?,
        None => {}
    }
    let log = log_path(substrate);
    let unusable = |path: PathBuf| move |source| ProcessError::File { path, source };
    let program = own_program().map_err(unusable("the program itself".into()))?;
    let file = new_log(&log).map_err(unusable(log.clone()))?;
    let mut child = Program::named(program)
        .args(["--substrate", substrate.as_str(), "page", "--detached"])
        .leave_running(file)?;
    let starting = until(STARTS, async || {
        match (serving(substrate), child.try_wait()) {
            (Some(record), _) if record.build == this_build() => Look::Found(record.url()),
            (_, Ok(Some(status))) => Look::Never(format!("it ended with {status}")),
            _ => Look::NotYet("it does not listen yet".to_owned()),
        }
    });
    match starting.await {
        Ok((url, _took)) => Ok(url),
        Err(Ended::Never(why)) => Err(ProcessError::NotServing { why, log }),
        Err(Ended::OutOfTime(out)) => Err(ProcessError::NotServing {
            why: out.to_string(),
            log,
        }),
    }
}

/// Ends the process that serves, if one does, and removes what it left.
pub async fn end(substrate: &SubstrateName) -> Result<(), ProcessError> {
    if let Some(record) = serving(substrate) {
        stop(substrate, &record).await?;
    }
    forget(substrate);
    Ok(())
}

/// Removes the files of a page that nobody serves any more.
pub fn forget(substrate: &SubstrateName) {
    for path in [record_path(substrate), log_path(substrate)] {
        // Best effort: an old file is read as nobody's.
        drop(std::fs::remove_file(path));
    }
}

/// Completes when the substrate is gone. Twice in a row, for `up` makes its container anew.
pub async fn gone(docker: Docker, substrate: SubstrateName) {
    let mut missing = 0;
    while missing < 2 {
        pause(STILL_THERE).await;
        match substrate::exists(&docker, &substrate).await {
            Ok(false) => missing += 1,
            Ok(true) => missing = 0,
            // Docker is away, and may come back with the substrate.
            Err(error) => tracing::warn!("cannot look whether the substrate is there: {error}"),
        }
    }
}

async fn stop(substrate: &SubstrateName, record: &Record) -> Result<(), ProcessError> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // It holds the lock, so the number is still its own.
        match kill(Pid::from_raw(record.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                return Err(ProcessError::Unstoppable {
                    pid: record.pid,
                    source: errno.into(),
                });
            }
        }
        let ending = until::<(), ()>(ENDS, async || match serving(substrate) {
            Some(other) if other == *record => Look::NotYet("it still serves".to_owned()),
            _ => Look::Found(()),
        });
        if ending.await.is_ok() {
            return Ok(());
        }
    }
    Err(ProcessError::Unstoppable {
        pid: record.pid,
        source: io::Error::from(io::ErrorKind::TimedOut),
    })
}

/// The file that this process runs. One that was built anew meanwhile has gone from its path, and Linux
/// still knows it: `up` takes minutes where images are to be built.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let by_kernel = PathBuf::from("/proc/self/exe");
    Ok(if !path.exists() && by_kernel.exists() {
        by_kernel
    } else {
        path
    })
}

/// Which program this is: another file, or the same one built again, is another build.
fn this_build() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let file = own_program().and_then(std::fs::metadata);
    match file {
        Ok(file) => format!(
            "{version} {}.{} {} {}.{}",
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec()
        ),
        Err(_gone) => version.to_owned(),
    }
}

/// One file for each user: another user's could not be opened in a sticky folder.
fn path(substrate: &SubstrateName, kind: &str) -> PathBuf {
    let user = nix::unistd::getuid();
    std::env::temp_dir().join(format!("fake-substrate.{user}.{substrate}.page.{kind}"))
}

fn record_path(substrate: &SubstrateName) -> PathBuf {
    path(substrate, "json")
}

/// Where a page that nobody watches in a terminal says what it does.
pub fn log_path(substrate: &SubstrateName) -> PathBuf {
    path(substrate, "log")
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    // Never through a link that somebody else put there.
    let no_link = OFlag::O_NOFOLLOW.bits();
    options.custom_flags(no_link).mode(0o600);
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

fn new_log(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

fn try_lock(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(held)),
        Err((_file, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_file, errno)) => Err(errno.into()),
    }
}

fn read(file: &mut File) -> Option<Record> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::{Turn, forget, ports, serving};
    use crate::names::SubstrateName;

    fn name(of: &str) -> SubstrateName {
        format!("page-{of}-{}", std::process::id()).parse().unwrap()
    }

    #[tokio::test]
    async fn who_serves_is_known_for_as_long_as_it_lives() {
        let name = name("lives");
        assert_eq!(serving(&name), None);
        let mut turn = Turn::take(&name).await.unwrap();
        assert_eq!((turn.last_port(), serving(&name)), (None, None));
        turn.tell(8431).unwrap();
        assert_eq!(serving(&name).unwrap().url(), "http://127.0.0.1:8431/");
        let second = Turn::take(&name).await.unwrap_err().to_string();
        assert!(
            second.contains("served already, at http://127.0.0.1:8431/"),
            "{second}"
        );
        drop(turn);
        assert_eq!(serving(&name), None, "whatever its file says");
        let mut next = Turn::take(&name).await.unwrap();
        assert_eq!(next.last_port(), Some(8431));
        forget(&name);
    }

    #[test]
    fn the_port_of_last_time_is_tried_first() {
        assert_eq!(ports(None), [8430, 0]);
        assert_eq!(ports(Some(8430)), [8430, 0]);
        assert_eq!(ports(Some(50000)), [50000, 8430, 0]);
    }
}
