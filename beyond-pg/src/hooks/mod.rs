//! Programs that the image puts beside the configuration, to run at set points of a machine's life
//! (L-002).
//!
//! ```text
//!  pre-start.d   before Postgres starts     one that fails stops the boot
//!  post-start.d  after extensions are made  one that fails is told in health
//!  pre-stop.d    no new clients get in      one that fails is logged, the stop goes on
//!  pre-fork.d    `prepare_fork` was asked   one that fails refuses the fork
//! ```
//!
//! They run as root, one after the other, each with a deadline, in a process group that ends with
//! it, and with nothing in their environment but what [`Hooks::new`] lists: no secret is among it.
//! Not here: when they run (`boot::plan`, `supervise`, `rpc`).

pub(crate) mod names;
mod run;

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::fx::exec::ExecError;
use crate::hooks::names::Names;
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::ensure::{MAINTENANCE_DATABASE, SUPERUSER};
use crate::settings::Settings;

/// How long one hook may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    PreStart,
    PostStart,
    PreStop,
    PreFork,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::PreStart => "pre-start",
            Stage::PostStart => "post-start",
            Stage::PreStop => "pre-stop",
            Stage::PreFork => "pre-fork",
        })
    }
}

/// One program in the folder of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) stage: Stage,
    pub(crate) name: String,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.d/{}", self.stage, self.name)
    }
}

#[derive(Debug, Error)]
pub(crate) enum HookError {
    #[error("reading the hook folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "hook {hook} cannot be run\nHINT: it needs a `#!` line that names an interpreter of this image"
    )]
    Start { hook: Hook, source: ExecError },
    #[error("hook {hook} ended with {status}; its last lines:\n{tail}")]
    Failed {
        hook: Hook,
        status: String,
        tail: String,
    },
    #[error(
        "hook {hook} was ended because it took longer than {} s; its last lines:\n{tail}",
        deadline.as_secs()
    )]
    TimedOut {
        hook: Hook,
        deadline: Duration,
        tail: String,
    },
}

/// What runs hooks.
#[derive(Debug, Clone)]
pub(crate) struct Hooks {
    layout: Layout,
    env: Vec<(&'static str, String)>,
    deadline: Duration,
}

impl Hooks {
    pub(crate) fn new(layout: &Layout, settings: &Settings, deadline: Duration) -> Hooks {
        let mut env = vec![
            ("PATH", cluster::search_path(layout)),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PGDATA", layout.pgdata().display().to_string()),
            // psql without arguments is the superuser on the socket, which needs no password.
            ("PGHOST", layout.socket_dir().display().to_string()),
            ("PGPORT", wire::ports::DIRECT.to_string()),
            ("PGUSER", SUPERUSER.to_owned()),
            ("PGDATABASE", MAINTENANCE_DATABASE.to_owned()),
            ("BEYOND_PG_TIER", settings.role.tier().to_string()),
        ];
        if let Some(instance) = &settings.instance_id {
            env.push(("BEYOND_INSTANCE_ID", instance.as_str().to_owned()));
        }
        Hooks {
            layout: layout.clone(),
            env,
            deadline,
        }
    }

    /// Runs every hook of a stage. The first that fails ends it.
    pub(crate) async fn run_all(&self, stage: Stage) -> Result<(), HookError> {
        for hook in of(&self.layout, stage)? {
            self.run(&hook).await?;
        }
        Ok(())
    }
}

/// The hooks of a stage, in the order in which they run. A folder that is not there holds none.
pub(crate) fn of(layout: &Layout, stage: Stage) -> Result<Vec<Hook>, HookError> {
    let path = layout.hooks(stage);
    let failed = |source| HookError::Folder {
        path: path.clone(),
        source,
    };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let found: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let Names { run, skipped } = Names::of(found.map_err(failed)?);
    for name in skipped {
        note_skipped(
            &path,
            &name,
            "its name has more than letters, digits, `_` and `-`",
        );
    }
    let (run, idle): (Vec<_>, Vec<_>) = run.into_iter().partition(|name| is_program(&path, name));
    for name in idle {
        note_skipped(&path, name.as_ref(), "it is not an executable file");
    }
    let hook = |name| Hook { stage, name };
    Ok(run.into_iter().map(hook).collect())
}

fn is_program(folder: &Path, name: &str) -> bool {
    // Follows links: a hook may be one.
    fs::metadata(folder.join(name))
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn note_skipped(folder: &Path, name: &OsStr, why: &str) {
    tracing::warn!("{} is no hook: {why}", folder.join(name).display());
}

#[cfg(test)]
mod tests;
