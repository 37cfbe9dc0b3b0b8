//! The machines while the process runs: the registry, its file, and the services made from it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::http::request::Parts;

use crate::admin::MmdsMode;
use crate::link::{Links, Member};
use crate::mmds::http::{Outcome, Tear};
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
    links: Arc<Links>,
}

struct Current {
    registry: Registry,
    by_address: HashMap<Ipv4Addr, Behaviour>,
}

enum Behaviour {
    Serve(Service),
    Late(Service),
    Torn(Service, Tear),
    Forgetful(Service),
    Silent,
}

/// Neighbour resolution takes 1 to 2 s (facts 58).
const LATE: Duration = Duration::from_millis(1500);

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Refused(#[from] RegistryError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Machines {
    pub(super) fn new(
        state: StateFile,
        key: TokenKey,
        links: Arc<Links>,
    ) -> Result<Self, StateError> {
        let registry = state.load()?;
        links.set_members(members(&registry));
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
            links,
        })
    }

    /// Every machine's link.
    pub(super) fn links(&self) -> &Links {
        &self.links
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
        self.links.set_members(members(&registry));
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
        let answer = |service| routes::answer(service, head, now_ms);
        match current.by_address.get(&peer) {
            Some(Behaviour::Silent) => Outcome::Silence,
            Some(Behaviour::Serve(service)) => Outcome::Answer(answer(service)),
            Some(Behaviour::Late(service)) => Outcome::Late(LATE, answer(service)),
            Some(Behaviour::Torn(service, how)) => Outcome::Torn(answer(service), *how),
            Some(Behaviour::Forgetful(service)) => {
                let mut forgetful = service.clone();
                // Without randomness there is no new key, and then the old one is kept.
                if let Ok(key) = TokenKey::generate() {
                    forgetful.tokens = TokenAuthority::new(key, STRANGER);
                }
                Outcome::Answer(answer(&forgetful))
            }
            None => Outcome::Answer(answer(&self.stranger)),
        }
    }

    /// A lock poisoned by a panic elsewhere still guards a whole value: it is only ever
    /// replaced, never edited.
    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn members(registry: &Registry) -> Vec<Member> {
    let member = |(name, machine): (&String, &Machine)| Member {
        name: name.clone(),
        link_local: machine.link_local,
        mode: machine.link_mode,
    };
    registry.machines().map(member).collect()
}

fn behaviours(registry: &Registry, key: &TokenKey) -> HashMap<Ipv4Addr, Behaviour> {
    registry
        .machines()
        .map(|(name, machine)| (machine.link_local, behaviour(name, machine, key)))
        .collect()
}

fn behaviour(name: &str, machine: &Machine, key: &TokenKey) -> Behaviour {
    let version = match machine.mode {
        MmdsMode::V1 => Version::V1,
        _ => Version::V2,
    };
    let contents = match &machine.raw_document {
        Some(raw) => Contents::Raw(raw.0.clone().into()),
        None => Contents::Store(machine.store()),
    };
    let service = Service {
        version,
        contents,
        tokens: TokenAuthority::new(key.clone(), name),
    };
    match machine.mode {
        MmdsMode::V1 | MmdsMode::V2 | MmdsMode::Empty => Behaviour::Serve(service),
        MmdsMode::Late => Behaviour::Late(service),
        MmdsMode::Reset => Behaviour::Torn(service, Tear::Reset),
        MmdsMode::Truncated => Behaviour::Torn(service, Tear::Closed),
        MmdsMode::Forgetful => Behaviour::Forgetful(service),
        MmdsMode::Silent => Behaviour::Silent,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, StatusCode};

    use super::*;
    use crate::admin::{Metadata, Registration};
    use crate::link::Host;

    const DB: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 2);

    async fn two_machines(dir: &tempfile::TempDir) -> Arc<Machines> {
        let state = StateFile::open(dir.path().to_owned()).expect("made");
        let key = TokenKey::generate().expect("the kernel has randomness");
        let links = Arc::new(Links::new(Host::new(dir.path().to_owned(), || 7)));
        let machines = Arc::new(Machines::new(state, key, links).expect("no machines yet"));
        for (name, link_local) in [("db", DB), ("other", OTHER)] {
            let metadata = Metadata::from([("NAME".into(), name.into())]);
            let registration = Registration {
                link_local,
                metadata,
            };
            machines
                .change(|all| {
                    all.register(name, registration)?;
                    all.set_mode(name, MmdsMode::V1)
                })
                .await
                .expect("free");
        }
        machines
    }

    fn read(machines: &Machines, peer: Ipv4Addr) -> Option<(StatusCode, String)> {
        let request = Request::get("/latest/meta-data/NAME")
            .body(())
            .expect("a request");
        let (head, ()) = request.into_parts();
        match machines.outcome(peer, &head, 0) {
            Outcome::Silence | Outcome::Late(..) | Outcome::Torn(..) => None,
            Outcome::Answer(answer) => {
                let body = String::from_utf8(answer.body.to_vec()).expect("text");
                Some((answer.status, body))
            }
        }
    }

    #[tokio::test]
    async fn the_peers_address_selects_the_document() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        assert_eq!(read(&machines, DB), Some((StatusCode::OK, "db".into())));
        assert_eq!(
            read(&machines, OTHER),
            Some((StatusCode::OK, "other".into()))
        );
        let stranger = read(&machines, Ipv4Addr::new(169, 254, 10, 3)).expect("an answer");
        assert_eq!(stranger.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_change_is_served_at_once_and_only_to_its_machine() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        let other = read(&machines, OTHER);

        let patch = [("NAME".into(), Some("renamed".into()))].into();
        machines
            .change(|all| all.patch("db", patch))
            .await
            .expect("fits");
        assert_eq!(
            read(&machines, DB),
            Some((StatusCode::OK, "renamed".into()))
        );

        let raw = Some(b"{".to_vec());
        machines
            .change(|all| all.set_raw("db", raw))
            .await
            .expect("known");
        assert_eq!(read(&machines, DB), Some((StatusCode::OK, "{".into())));

        let silent = machines.change(|all| all.set_mode("db", MmdsMode::Silent));
        silent.await.expect("known");
        assert_eq!(read(&machines, DB), None);
        assert_eq!(read(&machines, OTHER), other);
    }

    /// What a guest is answered that asks for a token and reads with it.
    async fn read_with_a_token(machines: &Arc<Machines>, mode: MmdsMode) -> StatusCode {
        let change = machines.change(|all| all.set_mode("db", mode));
        change.await.expect("known");
        let request = Request::put("/latest/api/token")
            .header("X-metadata-token-ttl-seconds", "60")
            .body(())
            .expect("a request");
        let (ask, ()) = request.into_parts();
        let Outcome::Answer(token) = machines.outcome(DB, &ask, 0) else {
            panic!("it answers");
        };
        let request = Request::get("/latest/meta-data/NAME")
            .header("X-metadata-token", token.body.as_ref())
            .body(())
            .expect("a request");
        let (head, ()) = request.into_parts();
        let Outcome::Answer(answer) = machines.outcome(DB, &head, 0) else {
            panic!("it answers");
        };
        answer.status
    }

    #[tokio::test]
    async fn an_empty_service_finds_nothing_although_the_metadata_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        let status = read_with_a_token(&machines, MmdsMode::Empty).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_forgetful_service_gives_tokens_and_takes_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        let status = read_with_a_token(&machines, MmdsMode::Forgetful).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let status = read_with_a_token(&machines, MmdsMode::V2).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_written_down_is_not_served() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        let before = read(&machines, DB);
        dir.close().expect("removed under the process");
        let patch = [("NAME".into(), Some("renamed".into()))].into();
        let failed = machines.change(|all| all.patch("db", patch)).await;
        assert!(matches!(failed, Err(ChangeError::State(_))));
        assert_eq!(read(&machines, DB), before);
    }
}
