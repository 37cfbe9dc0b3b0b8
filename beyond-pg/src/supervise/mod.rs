//! The life of a machine, from the mounted volume to the unmounted one: boot, then the supervisor until a stop is
//! asked for.

mod aftermath;
pub(crate) mod backoff;
mod child;
mod driver;
mod errands;
mod fallback;
mod machine;
mod servers;
mod signals;
mod trouble;

use std::cell::RefCell;
use std::time::Duration;

use crate::archive::ahead;
use crate::archive::loan::{self, Loan};
use crate::boot::gap::GapError;
use crate::boot::journal::StopAfter;
use crate::boot::{self, BootError};
use crate::fork::leave::LeaveError;
use crate::hooks::{HookError, Hooks};
use crate::init::volume;
use crate::layout::Layout;
use crate::link::Link;
use crate::metadata::Metadata;
use crate::rpc::{Concern, Desk, Lifecycle};
use crate::settings::{LogShipping, Role, Settings};
use crate::sink::{Sink, SinkError};
use crate::supervise::driver::Supervisor;
use crate::supervise::errands::Errands;
use crate::supervise::signals::Signals;
use crate::sys::limits;

pub(crate) use crate::supervise::errands::chain;
pub(crate) use crate::supervise::machine::Server;

/// Total time for a stop (contract 8).
pub(crate) const STOP_BUDGET: Duration = Duration::from_secs(30);

/// How a supervisor is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) stop_budget: Duration,
    pub(crate) hook_deadline: Duration,
    pub(crate) stop_after: StopAfter,
    pub(crate) tls_poll: Duration,
}

/// How the supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to replay.
    Clean,
    /// The next boot recovers.
    Unclean,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SupervisorError {
    #[error(transparent)]
    Boot(Box<BootError>),
    #[error("this machine is a fork that could not leave its parent: nobody was let in")]
    LeaveParent(#[from] LeaveError),
    #[error("Postgres was not started")]
    Gap(#[from] GapError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("the boot stops here: Postgres was not started")]
    PreStart(#[from] HookError),
    #[error("listening for signals")]
    Signals(#[source] std::io::Error),
}

impl From<BootError> for SupervisorError {
    fn from(error: BootError) -> SupervisorError {
        SupervisorError::Boot(Box::new(error))
    }
}

/// Mounts the volume, boots and keeps the servers running until a stop is asked for, unmounts.
pub(crate) async fn run(
    layout: &Layout,
    options: Options,
    link: &Link,
) -> Result<End, SupervisorError> {
    let mounted = volume::mount(layout).map_err(BootError::from)?;
    // Whatever had a file open on the volume, its lock among it, is gone with the life.
    let mut ahead = None;
    let end = live(layout, options, link, &mut ahead).await;
    if let Some(ahead) = ahead {
        ahead.end().await;
    }
    if let Some(mounted) = mounted {
        mounted.unmount();
    }
    end
}

async fn live(
    layout: &Layout,
    options: Options,
    link: &Link,
    ahead: &mut Option<ahead::Child>,
) -> Result<End, SupervisorError> {
    limits::bequeath();
    let desk = Desk::new(layout.clone());
    desk.open();
    let mut signals = Signals::listen(link, &desk)?;
    // A stop before anything runs needs no farewell: dropping the boot kills its initdb.
    let (settings, document) = tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        settings = boot::settings_at_last() => settings.map_err(BootError::from)?,
    };
    match settings.log_shipping {
        LogShipping::Auto => {}
        LogShipping::PassThrough => link.pass_lines_through(),
    }
    let hooks = Hooks::new(layout, &settings, options.hook_deadline);
    let lent = Loan::of(&settings);
    // Whoever fetches a backup during the boot asks for its keys.
    let early = settings.restore_from.is_some();
    desk.tell_settings(&settings, hooks.clone());
    if let Role::Sink {
        primary,
        replication_password,
    } = &settings.role
    {
        let sink = Sink::open(layout, primary, replication_password, &desk).await?;
        sink.live(link, signals.stop()).await;
        return Ok(End::Clean);
    }
    if early {
        loan::open(&desk, layout, lent.clone());
    }
    let booting = boot_disk(
        layout,
        &desk,
        settings,
        &document,
        hooks,
        options.stop_after,
    );
    let errands = tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        booted = booting => booted?,
    };
    *ahead = errands.archives_ahead(&lent);
    errands.watch_upstream(&desk);
    if !early {
        loan::open(&desk, layout, lent);
    }
    // A neighbour has answered long before this; nobody waits for one that is not there.
    link.first_dial().await;
    desk.tell(Lifecycle::Starting);
    tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        filled = errands.fill_gap(&desk) => filled?,
    }
    tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        () = errands.catch_up(&desk) => {}
    }
    if errands.leave_parent(link.lines(), signals.stop()).await? {
        return Ok(stopped_early());
    }
    tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        run = errands.pre_start() => run?,
    }
    let supervisor = Supervisor::new(&errands, link, &desk, options);
    Ok(supervisor.run(&mut signals).await)
}

fn stopped_early() -> End {
    tracing::info!("asked to stop before the servers were started");
    End::Clean
}

async fn boot_disk<'a>(
    layout: &'a Layout,
    desk: &Desk,
    settings: Settings,
    document: &Metadata,
    hooks: Hooks,
    stop_after: StopAfter,
) -> Result<Errands<'a>, BootError> {
    let mut observed = boot::observe(layout, settings)?;
    if observed.lock.is_none() {
        return Err(BootError::VolumeHeld {
            path: layout.volume(),
        });
    }
    observed.fetch(layout, document, stop_after).await?;
    let say = |words| desk.concern(Concern::Upstream, words);
    observed
        .settle(layout, &say)
        .await
        .map_err(BootError::from)?;
    desk.tell_settings(&observed.settings, hooks.clone());
    let say = |words| desk.concern(Concern::Sink, words);
    observed.ask_for_cluster(layout, say).await?;
    let plan = observed.plan(layout)?;
    let mut journal = observed.journal(document, &plan, stop_after);
    let say = |words| desk.concern(Concern::Upstream, words);
    observed.apply(layout, &plan, &mut journal, &say).await?;
    let journal = RefCell::new(journal);
    Ok(Errands::new(layout, observed, plan, hooks, journal))
}
