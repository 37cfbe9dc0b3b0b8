//! The machines of a run: they go on from one round to the next, so that a round takes seconds.

use anyhow::{Context as _, Result};

use super::Break;
use super::history::Kind;
use crate::running::Running;
use crate::sql::Door;
use crate::vm::Vm;
use crate::world::World;

/// What a round left, and the next one must still find.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) round: u64,
    pub(super) rows: i64,
}

/// A database, with its sink if it has one.
pub(super) struct Cast {
    pub(super) vm: Vm,
    pub(super) stay: Stay,
}

/// What stays while the database is off.
pub(super) struct Stay {
    pub(super) sink: Option<Running>,
    pub(super) before: Option<Left>,
    /// On its how manieth host it is.
    hosts: u32,
    kind: Kind,
    /// Commits wait for the sink. Broken on purpose, they go on while it hears nothing.
    pub(super) synchronous: bool,
}

impl Cast {
    /// Boots them. What initdb wrote is in no sink: it is flushed before anything is lost.
    pub(super) async fn enter(world: &World, kind: Kind, breaks: Option<Break>) -> Result<Self> {
        let (sink, vm) = match kind {
            Kind::Sink => {
                let sink = world.vm("sink").on_folder().sink_of("db")?;
                let sink = sink.boot_sink().await?;
                let vm = world.vm("db").on_host("db-1").with_sink("sink")?;
                (Some(sink), vm.boot().await?)
            }
            Kind::Alone => (None, world.vm("alone").on_host("alone-1").boot().await?),
        };
        let session = vm.session(Door::Direct).await?;
        let settings = ["max_prepared_transactions = 64"].into_iter();
        for setting in settings.chain(breaks.map(Break::setting)) {
            session.sql(&format!("ALTER SYSTEM SET {setting}")).await?;
        }
        drop(session);
        let vm = vm.restart().await?;
        vm.flush().await?;
        let stay = Stay {
            sink,
            before: None,
            hosts: 1,
            kind,
            synchronous: breaks.is_none_or(|breaks| breaks == Break::FsyncOff),
        };
        Ok(Self { vm, stay })
    }
}

impl Stay {
    /// The next host of this machine, which it shares with nobody: a host that is lost takes everybody along.
    pub(super) fn next_host(&mut self) -> String {
        self.hosts += 1;
        match self.kind {
            Kind::Sink => format!("db-{}", self.hosts),
            Kind::Alone => format!("alone-{}", self.hosts),
        }
    }

    /// Its sink ends in some way and comes back.
    pub(super) async fn sink_comes_back(&mut self, crash: bool) -> Result<()> {
        let Some(sink) = self.sink.take() else {
            return Ok(());
        };
        let off = if crash {
            sink.crash().await?
        } else {
            sink.stop().await?
        };
        let back = off.boot_sink().await;
        self.sink = Some(back.context("the sink comes back")?);
        Ok(())
    }
}
