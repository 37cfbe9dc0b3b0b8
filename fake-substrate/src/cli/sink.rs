//! A machine and the one that holds its WAL: who is told what, and whose volume lies where.

use crate::admin::{Metadata, MetadataPatch};
use crate::backend::Storage;
use crate::docker::processors;
use crate::image::{self, Variant};
use crate::machine::metadata::{Wishes, sink};
use crate::machine::size::{Cpus, Memory};
use crate::machine::spec::Overrides;
use crate::machine::{Machine, View};
use crate::names::{HostName, MachineName};
use crate::ports::PortChoice;
use crate::substrate::{Order, Substrate, SubstrateError};

use super::{CliError, Site, answer};

/// Tells an existing sink whose WAL it holds, and answers what the other has to be told of it.
pub(super) async fn introduce(
    site: &Site,
    substrate: &Substrate,
    name: &MachineName,
    primary: &MachineName,
) -> Result<Metadata, CliError> {
    let found = substrate.machine(name).await?;
    let (machine, _view) = found.ok_or_else(|| CliError::NoSink(name.clone()))?;
    let document = machine.metadata().await?;
    if !sink::is_sink(&document) {
        return Err(CliError::NotASink(name.clone()));
    }
    let (key, conninfo) = sink::of_sink_for(&site.substrate.machine_container(primary));
    match sink::conninfo_of(&document) {
        Some(known) if known != conninfo => return Err(CliError::SinkTaken(name.clone())),
        Some(_) => {}
        None => {
            let patch = MetadataPatch::from([(key, Some(conninfo))]);
            let admin = substrate.admin();
            admin.patch_metadata(name.as_str(), &patch).await?;
        }
    }
    let address = site.substrate.machine_container(name);
    Ok(sink::of_primary_with(&address, &document))
}

/// Where a new volume goes whose other copy lies on that host: elsewhere, unless somebody said where.
pub(super) fn apart_from(storage: Storage, other: Option<&HostName>) -> Storage {
    match storage {
        Storage::Block { size, host: None } => {
            let first = HostName::numbered(1);
            let taken = other.unwrap_or(&first);
            let host = match *taken == first {
                true => HostName::numbered(2),
                false => first,
            };
            Storage::Block {
                size,
                host: Some(host),
            }
        }
        storage => storage,
    }
}

/// The host that a machine's volume is on, if it is on one.
pub(super) async fn host_of(
    substrate: &Substrate,
    name: &MachineName,
) -> Result<Option<HostName>, CliError> {
    let found = substrate.machine(name).await?;
    Ok(found.and_then(|(_machine, view): (Machine, View)| view.disk.host().cloned()))
}

/// What a sink's command ends with: nobody connects to it by hand.
pub(super) fn tell(machine: &Machine) -> Result<(), CliError> {
    answer(&format!(
        "{0} holds WAL; its position: fake-substrate rpc {0} health",
        machine.name()
    ))
}

/// The same without the host that somebody wanted for another machine.
pub(super) fn anywhere(storage: Storage) -> Storage {
    match storage {
        Storage::Block { size, host: _ } => Storage::Block { size, host: None },
        storage => storage,
    }
}

/// The same while it does not know whose.
pub(super) fn tell_of_new(machine: &Machine) -> Result<(), CliError> {
    answer(&format!(
        "{0} waits to be told whose WAL it shall hold: fake-substrate add NAME --sink {0}",
        machine.name()
    ))
}

/// Whether a machine is one.
pub(super) async fn is_one(machine: &Machine) -> Result<bool, CliError> {
    Ok(sink::is_sink(&machine.metadata().await?))
}

/// A sink as `up` wants one: small, since it only writes what comes in.
pub(super) async fn order(
    site: &Site,
    name: MachineName,
    storage: Storage,
) -> Result<Order, CliError> {
    let image = image::ensure_postgres(&site.docker, Variant::Release, &site.progress).await?;
    let there = processors(&site.docker).await?;
    Ok(Order {
        name,
        image: image.id,
        memory: Memory::LEAST,
        cpus: Cpus::DEFAULT.min(Cpus::whole(there)),
        storage,
        ttl: None,
        ports: PortChoice::Any,
        wishes: Wishes {
            set: sink::of_new_sink().map_err(SubstrateError::from)?,
            ..Wishes::default()
        },
        overrides: Overrides::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::volume::Medium;
    use crate::machine::size::DiskSize;

    fn block(host: Option<usize>) -> Storage {
        Storage::Block {
            size: DiskSize::DEFAULT,
            host: host.map(HostName::numbered),
        }
    }

    #[test]
    fn two_copies_lie_on_two_hosts_unless_somebody_says_otherwise() {
        let (one, two) = (HostName::numbered(1), HostName::numbered(2));
        assert_eq!(apart_from(block(None), None), block(Some(2)));
        assert_eq!(apart_from(block(None), Some(&one)), block(Some(2)));
        assert_eq!(apart_from(block(None), Some(&two)), block(Some(1)));
        assert_eq!(apart_from(block(Some(1)), Some(&one)), block(Some(1)));
        let folder = Storage::Copy(Medium::Disk);
        assert_eq!(apart_from(folder.clone(), Some(&one)), folder);
    }
}
