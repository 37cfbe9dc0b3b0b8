//! The machines while the process runs: the registry, its file, and the services made from it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::http::request::Parts;

use crate::admin::MmdsMode;
use crate::mmds::http::Outcome;
use crate::mmds::routes;
use crate::mmds::store::Store;
use crate::mmds::token::{TokenAuthority, TokenKey};
use crate::mmds::{Contents, Service, Version};

use super::registry::{Machine, Registry, RegistryError};
use super::state::{StateError, StateFile};

/// Firecracker's instance id when nobody gave one; here, a guest nobody registered.
const STRANGER: &str = "anonymous-instance";

/// What both listeners share.
pub(super) struct Machines {
    current: RwLock<Current>,
    /// Held for the length of a change, so that the file and the memory move in one order.
    writing: tokio::sync::Mutex<StateFile>,
    key: TokenKey,
    stranger: Service,
}

struct Current {
    registry: Registry,
    by_address: HashMap<Ipv4Addr, Behaviour>,
}

enum Behaviour {
    Serve(Service),
    Silent,
}

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Refused(#[from] RegistryError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Machines {
    pub(super) fn new(state: StateFile, key: TokenKey) -> Result<Self, StateError> {
        let registry = state.load()?;
        Ok(Self {
            current: RwLock::new(Current {
                by_address: behaviours(&registry, &key),
                registry,
            }),
            writing: tokio::sync::Mutex::new(state),
            stranger: Service {
                version: Version::V2,
                contents: Contents::Store(Store::default()),
                tokens: TokenAuthority::new(key.clone(), STRANGER),
            },
            key,
        })
    }

    /// Applies a change to a copy, writes the copy down, and only then serves it: what a guest
    /// has read is never forgotten by a restart.
    pub(super) async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Registry) -> Result<(), RegistryError>,
    ) -> Result<(), ChangeError> {
        let state = self.writing.lock().await;
        let mut registry = self.read(Registry::clone);
        change(&mut registry)?;
        // A few kilobytes, at the rate at which people change machines: not worth a thread.
        state.save(&registry)?;
        let by_address = behaviours(&registry, &self.key);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current {
            registry,
            by_address,
        };
        Ok(())
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.current().registry)
    }

    /// What the service of whoever has this address does with a request.
    pub(super) fn outcome(&self, peer: Ipv4Addr, head: &Parts, now_ms: u64) -> Outcome {
        let current = self.current();
        let service = match current.by_address.get(&peer) {
            Some(Behaviour::Silent) => return Outcome::Silence,
            Some(Behaviour::Serve(service)) => service,
            None => &self.stranger,
        };
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let answer = routes::answer(service, &head.method, path, &head.headers, now_ms);
        Outcome::Answer(answer)
    }

    /// A lock poisoned by a panic elsewhere still guards a whole value: it is only ever
    /// replaced, never edited.
    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn behaviours(registry: &Registry, key: &TokenKey) -> HashMap<Ipv4Addr, Behaviour> {
    registry
        .machines()
        .map(|(name, machine)| (machine.link_local, behaviour(name, machine, key)))
        .collect()
}

fn behaviour(name: &str, machine: &Machine, key: &TokenKey) -> Behaviour {
    let version = match machine.mode {
        MmdsMode::Silent => return Behaviour::Silent,
        MmdsMode::V1 => Version::V1,
        MmdsMode::V2 | MmdsMode::Empty => Version::V2,
    };
    let contents = match &machine.raw_document {
        Some(raw) => Contents::Raw(raw.0.clone().into()),
        None => Contents::Store(machine.store()),
    };
    Behaviour::Serve(Service {
        version,
        contents,
        tokens: TokenAuthority::new(key.clone(), name),
    })
}
