//! The machines while the process runs: the registry, its file, and the services made from it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::http::request::Parts;

use crate::admin::MmdsMode;
use crate::fault::{Fault, Faults};
use crate::link::{Links, Member};
use crate::mmds::fault::MmdsTrouble;
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
    faults: Arc<Faults>,
}

struct Current {
    registry: Registry,
    by_address: HashMap<Ipv4Addr, Served>,
}

/// A machine as its metadata service meets it.
struct Served {
    name: String,
    service: Service,
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
    pub(super) fn new(
        state: StateFile,
        key: TokenKey,
        links: Arc<Links>,
        faults: Arc<Faults>,
    ) -> Result<Self, StateError> {
        let registry = state.load()?;
        links.set_members(members(&registry));
        Ok(Self {
            current: RwLock::new(Current {
                by_address: served(&registry, &key),
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
            faults,
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
        let by_address = served(&registry, &self.key);
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
        let answer = |service: &Service| routes::answer(service, head, now_ms);
        let Some(Served { name, service }) = current.by_address.get(&peer) else {
            return Outcome::Answer(answer(&self.stranger));
        };
        let trouble = self.faults.strike(|fault| match fault {
            Fault::Mmds(fault) => fault.trouble_of(name),
            _ => None,
        });
        let holding = |contents| Service {
            contents,
            ..service.clone()
        };
        match trouble {
            None => Outcome::Answer(answer(service)),
            Some(MmdsTrouble::Silent) => Outcome::Silence,
            Some(MmdsTrouble::Slow { ms }) => {
                Outcome::Late(Duration::from_millis(ms), answer(service))
            }
            Some(MmdsTrouble::Garbage(garbage)) => {
                Outcome::Answer(answer(&holding(Contents::Raw(garbage.bytes()))))
            }
            Some(MmdsTrouble::Empty) => {
                Outcome::Answer(answer(&holding(Contents::Store(Store::default()))))
            }
            Some(MmdsTrouble::Reset) => Outcome::Torn(answer(service), Tear::Reset),
            Some(MmdsTrouble::Truncated) => Outcome::Torn(answer(service), Tear::Closed),
            Some(MmdsTrouble::Forgetful) => {
                let mut forgetful = service.clone();
                // Without randomness there is no new key, and then the old one is kept.
                if let Ok(key) = TokenKey::generate() {
                    forgetful.tokens = TokenAuthority::new(key, STRANGER);
                }
                Outcome::Answer(answer(&forgetful))
            }
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
    };
    registry.machines().map(member).collect()
}

fn served(registry: &Registry, key: &TokenKey) -> HashMap<Ipv4Addr, Served> {
    let served = |(name, machine): (&String, &Machine)| {
        let service = Service {
            version: match machine.mode {
                MmdsMode::V1 => Version::V1,
                MmdsMode::V2 => Version::V2,
            },
            contents: Contents::Store(machine.store()),
            tokens: TokenAuthority::new(key.clone(), name),
        };
        let name = name.clone();
        (machine.link_local, Served { name, service })
    };
    registry.machines().map(served).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, StatusCode};

    use super::*;
    use crate::admin::{Metadata, Registration};
    use crate::fault::NewFault;
    use crate::link::Host;
    use crate::mmds::fault::MmdsFault;

    const DB: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 2);

    async fn two_machines(dir: &tempfile::TempDir) -> Arc<Machines> {
        let state = StateFile::open(dir.path().to_owned()).expect("made");
        let key = TokenKey::generate().expect("the kernel has randomness");
        let faults = Arc::new(Faults::new(|| 7));
        let host = Host::new(dir.path().to_owned(), || 7, Arc::clone(&faults));
        let links = Arc::new(Links::new(host));
        let machines = Machines::new(state, key, links, faults).expect("no machines yet");
        let machines = Arc::new(machines);
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

        assert_eq!(read(&machines, OTHER), other);
    }

    fn breaks(machines: &Machines, trouble: MmdsTrouble, times: u32) -> u32 {
        let machine = "db".to_owned();
        let fault = Fault::Mmds(MmdsFault { machine, trouble });
        machines.faults.add(NewFault::new(fault).times(times)).id
    }

    #[tokio::test]
    async fn a_trouble_meets_its_machine_alone_and_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        let well = read(&machines, DB);
        let other = read(&machines, OTHER);
        for (trouble, seen) in [
            (MmdsTrouble::Silent, None),
            (MmdsTrouble::slow(Duration::from_secs(1)), None),
            (MmdsTrouble::Reset, None),
            (MmdsTrouble::Truncated, None),
            (
                MmdsTrouble::Garbage("{".into()),
                Some((StatusCode::OK, "{".to_owned())),
            ),
        ] {
            let id = breaks(&machines, trouble.clone(), 0);
            assert_eq!(read(&machines, DB), seen, "{trouble:?}");
            assert_eq!(read(&machines, OTHER), other, "{trouble:?}");
            machines.faults.clear(id).expect("it stands");
            assert_eq!(read(&machines, DB), well, "after {trouble:?}");
        }
    }

    #[tokio::test]
    async fn a_counted_trouble_meets_the_first_requests() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = two_machines(&dir).await;
        breaks(&machines, MmdsTrouble::Silent, 2);
        assert_eq!(read(&machines, DB), None);
        assert!(read(&machines, OTHER).is_some(), "that does not count");
        assert_eq!(read(&machines, DB), None);
        assert!(read(&machines, DB).is_some());
    }

    /// What a guest is answered that asks for a token and reads with it that much later.
    fn read_with_a_token(machines: &Machines, later_ms: u64) -> StatusCode {
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
        let Outcome::Answer(answer) = machines.outcome(DB, &head, later_ms) else {
            panic!("it answers");
        };
        answer.status
    }

    async fn with_tokens(dir: &tempfile::TempDir) -> Arc<Machines> {
        let machines = two_machines(dir).await;
        let change = machines.change(|all| all.set_mode("db", MmdsMode::V2));
        change.await.expect("known");
        machines
    }

    #[tokio::test]
    async fn an_empty_service_finds_nothing_although_the_metadata_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = with_tokens(&dir).await;
        breaks(&machines, MmdsTrouble::Empty, 0);
        assert_eq!(read_with_a_token(&machines, 0), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_forgetful_service_gives_tokens_and_takes_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let machines = with_tokens(&dir).await;
        let id = breaks(&machines, MmdsTrouble::Forgetful, 0);
        assert_eq!(read_with_a_token(&machines, 0), StatusCode::UNAUTHORIZED);
        machines.faults.clear(id).expect("it stands");
        assert_eq!(read_with_a_token(&machines, 0), StatusCode::OK);
        assert_eq!(
            read_with_a_token(&machines, 60_000),
            StatusCode::UNAUTHORIZED,
            "as a clock that is put forward voids it"
        );
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
