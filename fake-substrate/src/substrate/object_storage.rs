//! A substrate's object storage, as its machines and as the host find it.

use std::num::NonZeroU32;

use crate::admin::{AdminClient, AdminError, S3Access};
use crate::fault::{Fault, Guard, NewFault};
use crate::machine::state::State;
use crate::s3::client::Client;
use crate::s3::faults::{Glob, Operation, S3Fault, Verdict};
use crate::s3::{self, Keys};

use super::{Substrate, SubstrateError, service};

/// The object storage of a substrate.
#[derive(Debug, Clone)]
pub struct S3 {
    admin: AdminClient,
    /// Where machines find it.
    pub machine_endpoint: String,
    /// The same with TLS.
    pub machine_tls_endpoint: String,
    /// Where the host finds it; the port changes with each start of the substrate.
    pub host_endpoint: String,
    /// The same with TLS.
    pub host_tls_endpoint: String,
    /// What requests are signed for.
    pub region: &'static str,
    /// The bucket that is there from the start.
    pub bucket: &'static str,
    /// What requests are signed with.
    pub keys: Keys,
    /// What to trust over TLS, as PEM.
    pub authority_pem: String,
}

impl Substrate {
    /// Its object storage.
    pub async fn s3(&self) -> Result<S3, SubstrateError> {
        let access = self.admin.s3().await?;
        let service = service::find(&self.docker, &self.name).await?;
        let service = service.ok_or_else(|| SubstrateError::Absent(self.name.clone()))?;
        let on_host = |port: u16| match (service.state, service.open_ports.get(&port)) {
            (State::Running, Some(port)) => Ok(format!("127.0.0.1:{port}")),
            _ => Err(SubstrateError::NotRunning(self.name.clone())),
        };
        let (http, https) = (on_host(s3::PORT)?, on_host(s3::TLS_PORT)?);
        Ok(S3::new(&self.admin, access, &http, &https))
    }
}

impl S3 {
    /// That of the substrate behind `admin`, whose listeners the host finds at these addresses.
    pub fn new(admin: &AdminClient, access: S3Access, http: &str, https: &str) -> Self {
        let S3Access {
            keys,
            authority_pem,
        } = access;
        let address = wire::ports::METADATA_ADDR;
        Self {
            admin: admin.clone(),
            machine_endpoint: format!("http://{address}:{}", s3::PORT),
            machine_tls_endpoint: format!("https://{address}:{}", s3::TLS_PORT),
            host_endpoint: format!("http://{http}"),
            host_tls_endpoint: format!("https://{https}"),
            region: s3::REGION,
            bucket: s3::BUCKET,
            keys,
            authority_pem,
        }
    }

    /// A client on the host, of the bucket that is there from the start.
    pub fn client(&self) -> Result<Client, SubstrateError> {
        Ok(Client::new(
            &self.host_endpoint,
            self.bucket,
            self.keys.clone(),
        )?)
    }

    /// From now on, refuses: with 503, unless another status is given.
    pub fn refuse(&self, on: impl Into<Option<Operation>>) -> Breaking<'_> {
        self.breaking(Verdict::Refuse { status: 503 }, on.into())
    }

    /// From now on, carries out and answers later by so many milliseconds.
    pub fn delay(&self, on: impl Into<Option<Operation>>, ms: u64) -> Breaking<'_> {
        self.breaking(Verdict::Delay { ms }, on.into())
    }

    /// From now on, resets the connection in the middle of the body.
    pub fn reset(&self, on: impl Into<Option<Operation>>) -> Breaking<'_> {
        self.breaking(Verdict::Reset, on.into())
    }

    /// From now on, carries out and never tells.
    pub fn lose_reply(&self, on: impl Into<Option<Operation>>) -> Breaking<'_> {
        self.breaking(Verdict::LoseReply, on.into())
    }

    /// From now on, lets so many bytes of a body pass in a second.
    pub fn slow(&self, on: impl Into<Option<Operation>>, rate: u64) -> Breaking<'_> {
        self.breaking(Verdict::Slow { rate }, on.into())
    }

    fn breaking(&self, verdict: Verdict, on: Option<Operation>) -> Breaking<'_> {
        let key = None;
        Breaking {
            admin: &self.admin,
            fault: S3Fault { verdict, on, key },
            times: None,
        }
    }
}

/// A fault of object storage, being described.
#[derive(Debug)]
#[must_use = "nothing is broken before `start`"]
pub struct Breaking<'s> {
    admin: &'s AdminClient,
    fault: S3Fault,
    times: Option<NonZeroU32>,
}

impl Breaking<'_> {
    /// A refusal with this status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.fault.verdict = Verdict::Refuse { status };
        self
    }

    /// Only for keys like this: `*` is any text.
    pub fn of(mut self, pattern: &str) -> Self {
        self.fault.key = Some(Glob::new(pattern));
        self
    }

    /// Only so often; 0 is until the guard is dropped, as without it.
    pub fn times(mut self, times: u32) -> Self {
        self.times = NonZeroU32::new(times);
        self
    }

    /// Breaks it, until the guard is dropped.
    pub async fn start(self) -> Result<Guard, AdminError> {
        let new = NewFault {
            times: self.times,
            ..NewFault::new(Fault::S3(self.fault))
        };
        Guard::of_process(self.admin, &new).await
    }
}
