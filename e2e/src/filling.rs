//! Volumes that fill up: a file of no use to anybody takes the room.

use anyhow::{Context as _, Result};
use fake_substrate::machine::Machine;
use testcontainers::ImageExt as _;
use testcontainers::core::Mount;
use testcontainers::runners::AsyncRunner as _;

use crate::budget;
use crate::client;
use crate::disk::{PGDATA, VOLUME};
use crate::running::Running;
use crate::stopped::Stopped;
use crate::until::until_true;
use crate::world::Site;

/// Takes room until so many hundredths are used, as `df` counts.
const FILL_TO: &str = r#"
set -eu
cd /var/lib/postgresql
rm -f ballast
set -- $(df --block-size=1 --output=used,avail . | tail -n 1)
fallocate --length $(( ($1 + $2) * PERCENT / 100 - $1 )) ballast
"#;

/// Takes whatever is left. What Postgres gives back meanwhile is taken, too.
const FILL: &str = r#"
set -eu
cd /var/lib/postgresql
for again in 1 2 3; do
    cat /dev/zero 2>/dev/null >>ballast && exit 1
done
test "$(df --output=avail . | tail -n 1)" -lt 1024
"#;

/// Takes what is left at one moment, and nothing that is given back afterwards. It ends early where somebody else
/// takes some of it meanwhile, which leaves as little.
const FILL_ONCE: &str = r#"
set -eu
cd /var/lib/postgresql
left=$(df --block-size=1 --output=avail . | tail -n 1)
head --bytes="$left" /dev/zero >>ballast || true
"#;

/// What a start of Postgres leaves of the reserve file, in bytes: it is for sessions.
const LAST_PART: u64 = 2 << 20;

const FORGET: &str = "rm -f PGDATA/global/pg_internal.init PGDATA/base/*/pg_internal.init";

/// A backend that comes between the two writes a cache into the room that the old one left; there is
/// none for the next.
const STILL_FORGOTTEN: &str = r#"
[ -n "$(ls PGDATA/global/pg_internal.init PGDATA/base/*/pg_internal.init 2>/dev/null)" ] || echo forgotten
"#;

/// A container that has the volume of `machine` mounted for as long as the world lives: memory is
/// forgotten with its last mount, and a machine that is off has none. Not at the volume's own path,
/// where the image has a folder that Docker would copy onto it.
pub(crate) async fn hold(site: &Site, machine: &Machine) -> Result<()> {
    let request = client::request(site, "/bin/sleep", ["infinity"])?
        .with_network("none")
        .with_mount(Mount::volume_mount(machine.volume(), "/held"));
    let held = request.start().await;
    let holder = held.with_context(|| format!("holding the volume of {}", machine.name()))?;
    site.host(holder);
    Ok(())
}

impl Running {
    /// From now on so many hundredths of its volume are used.
    pub async fn fill_volume_to(&self, percent: u32) -> Result<()> {
        let script = FILL_TO.replace("PERCENT", &percent.to_string());
        self.shell(&script).await.map(drop)
    }

    /// From now on not a byte is left on its volume.
    pub async fn fill_volume(&self) -> Result<()> {
        self.shell(FILL).await.map(drop)
    }

    /// Takes all that is left on its volume, and leaves a reserve that is given up in the middle of it to Postgres.
    pub async fn fill_volume_but_for_the_reserve(&self) -> Result<()> {
        self.shell(FILL_ONCE).await.map(drop)
    }

    /// From now on not a byte is left on its volume, and what backends keep of the catalogs is gone, as
    /// after any change of them.
    pub async fn fill_volume_and_forget_the_catalogs(&self) -> Result<()> {
        let script = format!("{FORGET}\n{FILL}\n{STILL_FORGOTTEN}").replace("PGDATA", PGDATA);
        let awaited = format!("the volume of {} is full without the caches", self.name());
        until_true(budget::SOON, awaited, async || {
            Ok(self.shell(&script).await?.trim() == "forgotten")
        })
        .await
    }

    /// How many bytes are left on its volume.
    pub async fn room_on_volume(&self) -> Result<u64> {
        let left = format!("df --block-size=1 --output=avail {VOLUME} | tail -n 1");
        let left = self.shell(&left).await?;
        left.trim()
            .parse()
            .with_context(|| format!("reading {left}"))
    }

    /// Ends that.
    pub async fn clear_volume(&self) -> Result<()> {
        self.shell(&format!("rm {VOLUME}/ballast")).await.map(drop)
    }

    /// Whether room is kept back on its volume for a start of Postgres.
    pub async fn has_reserve(&self) -> Result<bool> {
        let large =
            format!("find {VOLUME} -maxdepth 1 -name .beyond-pg.reserve -size +{LAST_PART}c");
        Ok(!self.shell(&large).await?.is_empty())
    }

    /// Waits until there is such a reserve.
    pub async fn makes_a_reserve(&self) -> Result<()> {
        let awaited = format!("{} makes its reserve file again", self.name());
        until_true(budget::SOON, awaited, async || self.has_reserve().await).await
    }
}

impl Stopped {
    /// From now on not a byte is left on its volume.
    pub async fn fill_volume(&self) -> Result<()> {
        self.on_volume(FILL).await.map(drop)
    }
}
