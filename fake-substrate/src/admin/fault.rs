//! The admin API's routes for what is broken on purpose, and for the object storage.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::fault::{NewFault, Standing};
use crate::s3::Keys;

use super::{AdminClient, AdminError, Body};

/// How `DELETE /faults/{id}` is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearQuery {
    /// Whoever asks has Docker and heals it; wanted where the process cannot.
    #[serde(default)]
    pub caller_carries_out: bool,
}

/// `GET /s3`: how clients of the object storage get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Access {
    /// What requests are signed with.
    pub keys: Keys,
    /// What to trust over HTTPS, as PEM.
    pub authority_pem: String,
}

impl AdminClient {
    /// Breaks something.
    pub async fn add_fault(&self, new: &NewFault) -> Result<Standing, AdminError> {
        self.call(Method::POST, "/faults", Body::json(new)).await
    }

    /// Every fault that stands, oldest first.
    pub async fn faults(&self) -> Result<Vec<Standing>, AdminError> {
        self.call(Method::GET, "/faults", Body::None).await
    }

    /// Ends a fault that the process itself carries out.
    pub async fn clear_fault(&self, id: u32) -> Result<(), AdminError> {
        let path = format!("/faults/{id}");
        self.call(Method::DELETE, &path, Body::None).await
    }

    /// Ends a fault, whoever carries it out: the caller sees to the rest.
    pub(crate) async fn strike_out_fault(&self, id: u32) -> Result<(), AdminError> {
        let path = format!("/faults/{id}?caller_carries_out=true");
        self.call(Method::DELETE, &path, Body::None).await
    }

    /// Ends a fault, if it has not ended by itself.
    pub(crate) async fn strike_out_fault_if_standing(&self, id: u32) -> Result<(), AdminError> {
        match self.strike_out_fault(id).await {
            Err(AdminError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
            cleared => cleared,
        }
    }

    /// Ends every fault that the process itself carries out, and tells which.
    pub async fn clear_faults(&self) -> Result<Vec<Standing>, AdminError> {
        self.call(Method::DELETE, "/faults", Body::None).await
    }

    /// How clients of the object storage get in.
    pub async fn s3(&self) -> Result<S3Access, AdminError> {
        self.call(Method::GET, "/s3", Body::None).await
    }
}
