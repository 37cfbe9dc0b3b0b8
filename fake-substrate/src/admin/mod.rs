//! The substrate's admin API: its JSON shapes, and the typed client that the command line and
//! the scenarios use. `serve` answers it.
//!
//! Guests share the network with the API, and one that could write its own metadata could choose
//! its own password and tier; so every route but `/health` wants the bearer token that only the
//! host knows.

mod fault;
mod link;
mod volumes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use fault::{ClearQuery, S3Access};
pub use link::{KeptLine, LinkReport, LinkState, LogPage, LogQuery};
pub use volumes::{
    AttachedDisk, CollectReport, CreateVolume, CutPower, DestroyQuery, FileSystem,
    FlushPointReport, ForkVolume, GrowVolume, PowerCutReport, RootReport, StoreReport,
    VolumeReport, VolumeStanding,
};

/// What a machine reads under `/latest/meta-data/`.
pub type Metadata = BTreeMap<String, String>;

/// Changes to a machine's metadata: a value sets the key, `None` deletes it.
pub type MetadataPatch = BTreeMap<String, Option<String>>;

/// The admin API answers from memory; one that takes longer than this is gone. Only where it waits
/// for a machine is that added.
const ANSWER_BUDGET: Duration = Duration::from_secs(10);

/// `PUT /machines/{name}`: who asks from which address, and what it is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The machine's own address on the substrate's network: its identity towards MMDS.
    pub link_local: Ipv4Addr,
    /// Its metadata, whole.
    pub metadata: Metadata,
}

/// Metadata carries passwords, so only the keys are shown.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("link_local", &self.link_local)
            .field("metadata", &self.metadata.keys())
            .finish()
    }
}

/// `GET /machines`: one line of it. No metadata: a listing is not a place for passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSummary {
    /// The name it was registered under.
    pub name: String,
    /// The address that selects its document.
    pub link_local: Ipv4Addr,
    /// Which version its metadata service speaks.
    pub mode: MmdsMode,
}

/// Which version one machine's metadata service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MmdsMode {
    /// Session tokens are optional: Firecracker's own default, deprecated there.
    V1,
    /// A GET needs a session token.
    #[default]
    V2,
}

/// `PUT /machines/{name}/mmds/mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// The mode from now on.
    pub mode: MmdsMode,
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was tried, and on what.
    pub error: String,
    /// What to do next.
    pub hint: String,
}

/// The secret that separates the host from the guests. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// Wraps a token; it travels in a header, so it must be printable ASCII without spaces.
    pub fn new(token: impl Into<String>) -> Result<Self, AdminError> {
        let token = token.into();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminError::UnusableToken);
        }
        Ok(Self(token))
    }

    /// The token itself, for the environment of the substrate's container.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(***)")
    }
}

/// Why a call to the admin API did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A token that no header can carry.
    #[error(
        "the admin token is empty or not printable ASCII\nHINT: use letters and digits; `fake-substrate up` makes one"
    )]
    UnusableToken,
    /// The HTTP client itself could not be made.
    #[error(
        "cannot make an HTTP client for {url}\nHINT: the address must look like http://127.0.0.1:PORT"
    )]
    Client {
        /// The address that was given.
        url: String,
        /// What reqwest said.
        source: reqwest::Error,
    },
    /// Nothing answered, or not in time.
    #[error(
        "{method} {url}: the substrate did not answer\nHINT: is its container running? `fake-substrate status`, then `fake-substrate up`"
    )]
    Unreachable {
        /// The method that was tried.
        method: Method,
        /// The address that was tried.
        url: String,
        /// What reqwest said.
        source: reqwest::Error,
    },
    /// The substrate answered, and said no.
    #[error("{method} {url}: {status}: {}\nHINT: {}", refusal.error, refusal.hint)]
    Refused {
        /// The method that was tried.
        method: Method,
        /// The address that was tried.
        url: String,
        /// The status of the answer.
        status: StatusCode,
        /// The substrate's own words.
        refusal: Refusal,
    },
    /// Something answered that is not this API.
    #[error(
        "{method} {url}: {status} with a body that is not this API's\nHINT: does another program, or another version of the substrate, listen there?"
    )]
    NotOurs {
        /// The method that was tried.
        method: Method,
        /// The address that was tried.
        url: String,
        /// The status of the answer.
        status: StatusCode,
    },
}

impl AdminError {
    /// What was asked about does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// The substrate answered, and the machine behind it did not, or not in time.
    pub fn is_silence(&self) -> bool {
        let silence = [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT];
        matches!(self, Self::Refused { status, .. } if silence.contains(status))
    }
}

/// The host's end of the admin API. One method for each route.
#[derive(Clone, Debug)]
pub struct AdminClient {
    http: reqwest::Client,
    base_url: String,
    token: AdminToken,
}

impl AdminClient {
    /// A client for the API at `base_url`, for example `http://127.0.0.1:32768`.
    pub fn new(base_url: impl Into<String>, token: AdminToken) -> Result<Self, AdminError> {
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        // No proxy: a laptop's HTTP_PROXY knows nothing of a port on its own loopback.
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|source| AdminError::Client {
                url: base_url.clone(),
                source,
            })?;
        Ok(Self {
            http,
            base_url,
            token,
        })
    }

    /// The same with connections of its own: those of another runtime cannot be waited for.
    pub(crate) fn afresh(&self) -> Result<Self, AdminError> {
        Self::new(self.base_url.clone(), self.token.clone())
    }

    /// Answers when the substrate serves. The only route that needs no token.
    pub async fn health(&self) -> Result<(), AdminError> {
        self.call(Method::GET, "/health", Body::None).await
    }

    /// Every registered machine, by name.
    pub async fn machines(&self) -> Result<Vec<MachineSummary>, AdminError> {
        self.call(Method::GET, "/machines", Body::None).await
    }

    /// Registers a machine, or replaces its address and metadata. Its mode stays as it is.
    pub async fn put_machine(
        &self,
        name: &str,
        link_local: Ipv4Addr,
        metadata: Metadata,
    ) -> Result<(), AdminError> {
        let registration = Registration {
            link_local,
            metadata,
        };
        let body = Body::json(&registration);
        self.call(Method::PUT, &machine(name, ""), body).await
    }

    /// The metadata of a machine, secrets included.
    pub async fn metadata(&self, name: &str) -> Result<Metadata, AdminError> {
        let path = machine(name, "/metadata");
        self.call(Method::GET, &path, Body::None).await
    }

    /// Sets and deletes single keys, while the machine runs.
    pub async fn patch_metadata(
        &self,
        name: &str,
        changes: &MetadataPatch,
    ) -> Result<(), AdminError> {
        let path = machine(name, "/metadata");
        self.call(Method::PATCH, &path, Body::json(changes)).await
    }

    /// Forgets a machine. Its address reads an empty store from now on.
    pub async fn delete_machine(&self, name: &str) -> Result<(), AdminError> {
        self.call(Method::DELETE, &machine(name, ""), Body::None)
            .await
    }

    /// Changes which version a machine's metadata service speaks.
    pub async fn put_mode(&self, name: &str, mode: MmdsMode) -> Result<(), AdminError> {
        let path = machine(name, "/mmds/mode");
        let body = Body::json(&ModeChange { mode });
        self.call(Method::PUT, &path, body).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, AdminError> {
        self.call_within(ANSWER_BUDGET, method, path, body).await
    }

    async fn call_within<T: DeserializeOwned>(
        &self,
        budget: Duration,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, AdminError> {
        let url = format!("{}{path}", self.base_url);
        let request = self
            .http
            .request(method.clone(), &url)
            .timeout(budget)
            .bearer_auth(self.token.expose());
        let request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
        };
        let unreachable = |source| AdminError::Unreachable {
            method: method.clone(),
            url: url.clone(),
            source,
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let answer = response.bytes().await.map_err(unreachable)?;
        read_answer(status, &answer).map_err(|failure| match failure {
            Some(refusal) => AdminError::Refused {
                method: method.clone(),
                url: url.clone(),
                status,
                refusal,
            },
            None => AdminError::NotOurs {
                method: method.clone(),
                url: url.clone(),
                status,
            },
        })
    }
}

enum Body {
    None,
    Json(serde_json::Value),
}

impl Body {
    /// The API's own types are maps with string keys, which JSON always has room for.
    fn json<T: Serialize>(value: &T) -> Self {
        serde_json::to_value(value).map_or(Self::None, Self::Json)
    }
}

/// Names come from the command line; what is not a plain name must not become another route.
fn machine(name: &str, rest: &str) -> String {
    let mut path = String::from("/machines/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path + rest
}

/// A success carries JSON; "done, nothing to tell" is `null`, so that an empty answer from
/// something else is not taken for one.
fn read_answer<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Option<Refusal>> {
    if status.is_success() {
        serde_json::from_slice(body).ok().ok_or(None)
    } else {
        Err(serde_json::from_slice(body).ok())
    }
}
