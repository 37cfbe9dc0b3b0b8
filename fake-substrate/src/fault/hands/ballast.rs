//! Full volumes: a file of no use to anybody takes the room, beside PGDATA and not in it.

use crate::docker::exec::{self, Program};
use crate::docker::{ContainerSpec, DockerError, Mount, SYS_ADMIN, container};
use crate::hosts::{HostError, Hosts};
use crate::lock::SubstrateLock;
use crate::machine::disk::{Disk, VDB};
use crate::machine::state::State;
use crate::names::{HostName, MachineName};
use crate::progress::Quiet;

use super::oneshot::Ended;
use super::{FaultError, Hands};

/// Where a machine has its volume (contract 3).
const IN_THE_MACHINE: &str = "/var/lib/postgresql";
/// Where another container has it: not at the path where an image may have a folder of its own.
const ELSEWHERE: &str = "/volume";

/// Takes what is left in the file system at `$1` but for `$2` bytes. More than once: Postgres may give
/// back room meanwhile. A mount whose root is a folder of something larger shares its room with that.
const FILL: &str = r#"
set -eu
cd "$1"
root=$(awk -v at="$1" '$5 == at { root = $4 } END { print root }' /proc/self/mountinfo)
test "$root" = / || { echo shared >&2; exit 1; }
for again in 1 2 3; do
    left=$(df --block-size=1 --output=avail . | tail -n 1)
    test "$left" -gt "$2" || break
    size=$(stat --format %s .fault-ballast 2>/dev/null || echo 0)
    fallocate --offset "$size" --length $(( left - $2 )) .fault-ballast
done
"#;

const EMPTY: &str = r#"rm -f "$1/.fault-ballast""#;

impl Hands {
    /// From now on no more than that is left on the machine's volume.
    pub(super) async fn fill(&self, machine: &str, leave: u64) -> Result<(), FaultError> {
        match self.on_volume(machine, FILL, &leave.to_string()).await {
            Err(FaultError::Volume { machine, why }) if why == "shared" => {
                Err(FaultError::SharedDisk { machine })
            }
            filled => filled,
        }
    }

    /// Gives the room back, whether the machine runs or not.
    pub(super) async fn empty(&self, machine: &str) -> Result<(), FaultError> {
        self.on_volume(machine, EMPTY, "").await
    }

    /// Runs a script on the volume.
    async fn on_volume(
        &self,
        machine: &str,
        script: &str,
        argument: &str,
    ) -> Result<(), FaultError> {
        let name: MachineName = machine
            .parse()
            .map_err(|error: crate::names::InvalidName| failed(machine, &error.to_string()))?;
        let container = self.substrate.machine_container(&name);
        let runs = container::inspect(&self.docker, &container).await?;
        let shell = |script: &str, folder: &str| {
            ["/bin/sh", "-c", script, "fault", folder, argument]
                .map(str::to_owned)
                .to_vec()
        };
        let disk = runs.as_ref().and_then(|there| Disk::of(there).ok());
        if runs.is_some_and(|there| there.state == State::Running) {
            let program = Program {
                argv: shell(script, IN_THE_MACHINE),
                user: Some("root".to_owned()),
                ..Program::default()
            };
            let ran = exec::run(&self.docker, &container, program).await?;
            return match ran.exit_code {
                0 => Ok(()),
                _ => Err(failed(machine, &ran.stderr)),
            };
        }
        let outside = match disk {
            Some(Disk::Block { host, .. }) => {
                let device = self.attached(&host, &name).await?;
                let mounted = format!("mount -t ext4 {VDB} \"$1\"\n{script}\numount \"$1\"");
                Self::outside(shell(&mounted, ELSEWHERE), On::Disk(device))
            }
            Some(Disk::Folder) | None => {
                let volume = self.substrate.machine_volume(&name);
                Self::outside(shell(script, ELSEWHERE), On::Folder(volume))
            }
        };
        match self.run_outside(&name, outside).await? {
            Ended::Done => Ok(()),
            Ended::Failed(why) => Err(failed(machine, &why)),
        }
    }

    /// The device of a machine that is off.
    async fn attached(&self, host: &HostName, machine: &MachineName) -> Result<String, FaultError> {
        let hosts = Hosts::of(&self.docker, &self.substrate);
        let device = async { hosts.awake(host).await?.disk(machine).await };
        let device: Result<String, HostError> = device.await;
        device.map_err(|error| failed(machine.as_str(), &error.to_string()))
    }

    fn outside(argv: Vec<String>, on: On) -> ContainerSpec {
        let spec = ContainerSpec {
            entrypoint: Some(argv),
            capabilities: vec!["DAC_OVERRIDE".to_owned()],
            ..ContainerSpec::default()
        };
        match on {
            On::Folder(volume) => ContainerSpec {
                mounts: vec![Mount {
                    volume,
                    target: ELSEWHERE.to_owned(),
                    blank: true,
                }],
                ..spec
            },
            On::Disk(device) => ContainerSpec {
                capabilities: [spec.capabilities, vec![SYS_ADMIN.to_owned()]].concat(),
                devices: vec![(device, VDB.to_owned())],
                tmpfs: vec![ELSEWHERE.to_owned()],
                ..spec
            },
        }
    }

    async fn run_outside(
        &self,
        machine: &MachineName,
        spec: ContainerSpec,
    ) -> Result<Ended, FaultError> {
        let _lock = SubstrateLock::take(&self.substrate, &Quiet).await?;
        let service = self.service().await?;
        let image = service.map(|service| service.image_id).unwrap_or_default();
        let spec = ContainerSpec { image, ..spec };
        let ran: Result<Ended, DockerError> = self.run_once(machine.as_str(), spec).await;
        Ok(ran?)
    }
}

/// What a volume is to another container.
enum On {
    /// A Docker volume.
    Folder(String),
    /// A device, to be mounted.
    Disk(String),
}

fn failed(machine: &str, why: &str) -> FaultError {
    FaultError::Volume {
        machine: machine.to_owned(),
        why: why.trim().to_owned(),
    }
}
