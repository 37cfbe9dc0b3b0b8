//! What a scenario breaks. Each is whole again when its guard is dropped, or with `heal().await`.

use anyhow::{Context as _, Result};
use fake_substrate::fault::{
    ClockFault, Fault, Guard, NewFault, Offset, Partition, Party, VolumeFault, VolumeTrouble,
};
use fake_substrate::link::fault::{LinkFault, LinkTrouble};
use fake_substrate::mmds::fault::{MmdsFault, MmdsTrouble};
use fake_substrate::s3::faults::{Glob, Operation, S3Fault, Verdict as Answer};
use fake_substrate::volume::trouble::{Requests, Trouble, Verdict};

use crate::guest::Guest;
use crate::running::{Running, Starting};
use crate::stopped::Stopped;
use crate::vm::Vm;
use crate::world::{Site, World};

impl Site {
    pub(crate) async fn breaks(&self, new: NewFault) -> Result<Guard> {
        let breaking = || format!("breaking: {}", new.fault);
        let started = Guard::start(&self.substrate.hands(), new.clone()).await;
        started.with_context(breaking)
    }
}

/// Who can be cut off: a machine in any state, or [`Party::Service`].
macro_rules! on_the_network {
    ($($machine:ty),*) => {$(
        impl From<&$machine> for Party {
            fn from(machine: &$machine) -> Self {
                Self::Machine(machine.name().to_owned())
            }
        }
    )*};
}
on_the_network!(Guest, Running, Starting, Stopped, Vm);

impl World {
    /// Cuts the network between two: packets vanish both ways, those of connections that are there too.
    pub async fn partition(&self, one: impl Into<Party>, other: impl Into<Party>) -> Result<Guard> {
        self.cut(one.into(), other.into(), false).await
    }

    /// The same one way: what `from` sends does not arrive.
    pub async fn partition_one_way(
        &self,
        from: impl Into<Party>,
        to: impl Into<Party>,
    ) -> Result<Guard> {
        self.cut(from.into(), to.into(), true).await
    }

    /// Cuts a machine off from every other, those to come included, and from the service. Clients on the
    /// host still get in.
    pub async fn isolate(&self, machine: impl Into<Party>) -> Result<Guard> {
        self.cut(machine.into(), Party::Everything, false).await
    }

    async fn cut(&self, from: Party, to: Party, one_way: bool) -> Result<Guard> {
        let cut = Partition { from, to, one_way };
        self.site.breaks(NewFault::new(Fault::Partition(cut))).await
    }

    /// Has object storage take nothing: no volume comes to another flush point.
    pub async fn flushes_fail(&self) -> Result<Guard> {
        let fault = S3Fault {
            verdict: Answer::Refuse { status: 503 },
            on: Some(Operation::Put),
            key: Some(Glob::new("*")),
        };
        self.site.breaks(NewFault::new(Fault::S3(fault))).await
    }

    /// Puts the clock of object storage and of metadata tokens off, as in `+20m`.
    pub async fn clock_off_by(&self, offset: &str) -> Result<Guard> {
        let offset_ms: Offset = offset.parse()?;
        let new = NewFault::new(Fault::Clock(ClockFault { offset_ms }));
        self.site.breaks(new).await
    }
}

impl Guest {
    /// Has object storage take no flush point of its volume, which stays at the one it has; others' go on.
    pub async fn flush_fails(&self) -> Result<Guard> {
        let fault = S3Fault {
            verdict: Answer::Refuse { status: 503 },
            on: Some(Operation::Put),
            key: Some(Glob::new(format!("*roots/{}", self.name()))),
        };
        self.site.breaks(NewFault::new(Fault::S3(fault))).await
    }

    /// Troubles every request for its metadata.
    pub async fn mmds(&self, trouble: MmdsTrouble) -> Result<Guard> {
        self.mmds_times(trouble, 0).await
    }

    /// Troubles its next so many requests for metadata.
    pub async fn mmds_times(&self, trouble: MmdsTrouble, times: u32) -> Result<Guard> {
        let machine = self.name().to_owned();
        let fault = Fault::Mmds(MmdsFault { machine, trouble });
        self.site.breaks(NewFault::new(fault).times(times)).await
    }

    /// Troubles the host's end of its link.
    pub async fn link_trouble(&self, trouble: LinkTrouble) -> Result<Guard> {
        let machine = self.name().to_owned();
        let fault = Fault::Link(LinkFault { machine, trouble });
        self.site.breaks(NewFault::new(fault)).await
    }

    /// Takes all the room that is left on its volume but for so many bytes.
    pub async fn fill_up_to(&self, leave: u64) -> Result<Guard> {
        self.troubles_volume(VolumeTrouble::Full { leave }).await
    }

    /// Has its disk fail what it is asked for.
    pub async fn disk_fails(&self, on: Requests) -> Result<Guard> {
        self.disk_fails_times(on, 0).await
    }

    /// Has its disk fail the next so many requests of a kind.
    pub async fn disk_fails_times(&self, on: Requests, times: u32) -> Result<Guard> {
        let trouble = Trouble::new(on, Verdict::Fail).times(times);
        self.troubles_volume(VolumeTrouble::Disk(trouble)).await
    }

    /// Has its disk hold what it is asked for, for so long that only healing ends it.
    pub async fn disk_holds(&self, on: Requests) -> Result<Guard> {
        const AGES: Verdict = Verdict::Delay { ms: 3_600_000 };
        let trouble = Trouble::new(on, AGES);
        self.troubles_volume(VolumeTrouble::Disk(trouble)).await
    }

    async fn troubles_volume(&self, trouble: VolumeTrouble) -> Result<Guard> {
        let machine = self.name().to_owned();
        let fault = Fault::Volume(VolumeFault { machine, trouble });
        self.site.breaks(NewFault::new(fault)).await
    }
}
