//! Who the machines are and what each is told. Pure: no file, no socket, no clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin::{MachineSummary, Metadata, MetadataPatch, MmdsMode, Registration};
use crate::mmds::store::{SIZE_LIMIT, Store};

/// Every machine of a substrate, by name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    machines: BTreeMap<String, Machine>,
}

/// One machine as the metadata service knows it. What is broken about it is not kept: faults end with
/// the process. Files of versions that kept it are read all the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) link_local: Ipv4Addr,
    pub(super) metadata: Metadata,
    pub(super) mode: MmdsMode,
}

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("no machine is called {0:?}")]
    Unknown(String),
    #[error("machine {name:?}: {address} belongs to machine {holder:?}")]
    AddressTaken {
        name: String,
        address: Ipv4Addr,
        holder: String,
    },
    #[error("machine {name:?}: {address} is not a link-local address a machine can have")]
    NotLinkLocal { name: String, address: Ipv4Addr },
    #[error("machine {0:?}: the metadata does not fit MMDS's {SIZE_LIMIT} bytes")]
    TooLarge(String),
}

impl RegistryError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "GET /machines lists the names; PUT /machines/{name} makes one",
            Self::AddressTaken { .. } => "give it another address, or DELETE the other machine",
            Self::NotLinkLocal { .. } => "use 169.254.10.N; 169.254.169.254 is the service itself",
            Self::TooLarge(_) => "delete keys or shorten values; the old document is still served",
        }
    }
}

impl Registry {
    /// Registers a machine, or replaces its address and metadata. Its version is somebody's choice,
    /// and stays.
    pub(super) fn register(
        &mut self,
        name: &str,
        registration: Registration,
    ) -> Result<(), RegistryError> {
        let Registration {
            link_local,
            metadata,
        } = registration;
        self.check_address(name, link_local)?;
        check_size(name, &metadata)?;
        let before = self.machines.remove(name);
        let machine = Machine {
            link_local,
            metadata,
            mode: before.map_or_else(MmdsMode::default, |machine| machine.mode),
        };
        self.machines.insert(name.to_owned(), machine);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), RegistryError> {
        let removed = self.machines.remove(name);
        removed.map(drop).ok_or_else(|| unknown(name))
    }

    pub(super) fn patch(
        &mut self,
        name: &str,
        changes: MetadataPatch,
    ) -> Result<(), RegistryError> {
        let machine = self.machine_mut(name)?;
        let mut metadata = machine.metadata.clone();
        for (key, change) in changes {
            match change {
                Some(value) => metadata.insert(key, value),
                None => metadata.remove(&key),
            };
        }
        check_size(name, &metadata)?;
        machine.metadata = metadata;
        Ok(())
    }

    pub(super) fn set_mode(&mut self, name: &str, mode: MmdsMode) -> Result<(), RegistryError> {
        self.machine_mut(name)?.mode = mode;
        Ok(())
    }

    pub(super) fn metadata(&self, name: &str) -> Result<&Metadata, RegistryError> {
        let machine = self.machines.get(name);
        Ok(&machine.ok_or_else(|| unknown(name))?.metadata)
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = (&String, &Machine)> {
        self.machines.iter()
    }

    pub(super) fn summaries(&self) -> Vec<MachineSummary> {
        let summary = |(name, machine): (&String, &Machine)| MachineSummary {
            name: name.clone(),
            link_local: machine.link_local,
            mode: machine.mode,
        };
        self.machines().map(summary).collect()
    }

    fn machine_mut(&mut self, name: &str) -> Result<&mut Machine, RegistryError> {
        self.machines.get_mut(name).ok_or_else(|| unknown(name))
    }

    /// Docker hands out the same link-local address twice without a word (substrate.md A), and
    /// then two machines would read one document.
    fn check_address(&self, name: &str, address: Ipv4Addr) -> Result<(), RegistryError> {
        let name_owned = || name.to_owned();
        if !address.is_link_local() || address == wire::ports::METADATA_ADDR {
            return Err(RegistryError::NotLinkLocal {
                name: name_owned(),
                address,
            });
        }
        let taken = |(other, machine): &(&String, &Machine)| {
            machine.link_local == address && other.as_str() != name
        };
        match self.machines().find(taken) {
            None => Ok(()),
            Some((holder, _)) => Err(RegistryError::AddressTaken {
                name: name_owned(),
                address,
                holder: holder.clone(),
            }),
        }
    }
}

impl Machine {
    /// The document as MMDS serves it.
    pub(super) fn store(&self) -> Store {
        let mut store = Store::default();
        if let Err(error) = store.put(document(&self.metadata)) {
            // Every way in checks the size, so this is a state file edited by hand.
            tracing::error!(address = %self.link_local, %error, "metadata is not served");
        }
        store
    }
}

fn document(metadata: &Metadata) -> Value {
    json!({ "latest": { "meta-data": metadata } })
}

fn check_size(name: &str, metadata: &Metadata) -> Result<(), RegistryError> {
    Store::default()
        .put(document(metadata))
        .ok()
        .ok_or_else(|| RegistryError::TooLarge(name.to_owned()))
}

fn unknown(name: &str) -> RegistryError {
    RegistryError::Unknown(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmds::store::Format;

    fn registration(last: u8, password: &str) -> Registration {
        Registration {
            link_local: Ipv4Addr::new(169, 254, 10, last),
            metadata: Metadata::from([("POSTGRES_PASSWORD".into(), password.into())]),
        }
    }

    fn one() -> Registry {
        let mut registry = Registry::default();
        registry
            .register("db", registration(1, "old"))
            .expect("free");
        registry
    }

    #[test]
    fn a_machine_reads_its_keys_under_latest_meta_data() {
        let registry = one();
        let (_, machine) = registry.machines().next().expect("one machine");
        let read = machine.store().get("/latest/meta-data", Format::Json);
        assert_eq!(read.as_deref(), Ok(r#"{"POSTGRES_PASSWORD":"old"}"#));
    }

    #[test]
    fn two_machines_never_share_an_address() {
        let mut registry = one();
        let taken = registry.register("other", registration(1, "x"));
        assert_eq!(
            taken.expect_err("169.254.10.1 is taken").to_string(),
            r#"machine "other": 169.254.10.1 belongs to machine "db""#
        );
        registry
            .register("db", registration(1, "x"))
            .expect("its own");
    }

    #[test]
    fn only_a_link_local_address_that_is_not_the_service_identifies_a_machine() {
        for address in [[10, 0, 0, 1], [169, 254, 169, 254]] {
            let mut wrong = registration(1, "x");
            wrong.link_local = address.into();
            let refused = Registry::default().register("db", wrong);
            assert!(matches!(refused, Err(RegistryError::NotLinkLocal { .. })));
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing() {
        let mut registry = one();
        let huge = MetadataPatch::from([("K".into(), Some("x".repeat(SIZE_LIMIT)))]);
        let refused = registry.patch("db", huge);
        assert_eq!(refused, Err(RegistryError::TooLarge("db".into())));
        assert!(registry == one());
    }

    #[test]
    fn registering_again_keeps_the_version() {
        let mut registry = one();
        registry.set_mode("db", MmdsMode::V1).expect("known");
        registry
            .register("db", registration(2, "new"))
            .expect("free");
        let (_, machine) = registry.machines().next().expect("one machine");
        assert_eq!(machine.mode, MmdsMode::V1);
        assert_eq!(machine.metadata["POSTGRES_PASSWORD"], "new");
    }

    #[test]
    fn a_file_of_a_version_that_kept_faults_is_read() {
        let before = json!({"machines": {"db": {
            "link_local": "169.254.10.1", "metadata": {"POSTGRES_PASSWORD": "old"},
            "mode": "v2", "raw_document": "ew==", "link_mode": "stalled",
        }}});
        let read: Registry = serde_json::from_value(before).expect("it parses");
        assert!(read == one());
    }
}
