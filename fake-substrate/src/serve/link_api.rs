//! The admin API's routes for the link and the control RPC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use wire::rpc::Response;

use crate::admin::{LinkReport, LogPage, LogQuery, Refusal};
use crate::link::{self, Links, Machine, RpcError};

use super::admin_api::{ApiError, Done};
use super::machines::{ChangeError, Machines};
use super::registry::RegistryError;

type Shared = State<Arc<Machines>>;

/// Longer than this nobody holds a connection for a line that may come.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// `POST /machines/{name}/rpc`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RpcQuery {
    deadline_ms: u64,
}

pub(super) fn routes() -> Router<Arc<Machines>> {
    Router::new()
        .route("/machines/{name}/link", get(report))
        .route("/machines/{name}/link/shutdown", post(shut_down))
        .route("/machines/{name}/logs", get(logs))
        .route("/machines/{name}/rpc", post(rpc))
}

async fn report(
    State(machines): Shared,
    Path(name): Path<String>,
) -> Result<Json<LinkReport>, ApiError> {
    Ok(Json(machine(machines.links(), name)?.report()))
}

async fn shut_down(State(machines): Shared, Path(name): Path<String>) -> Done {
    if machine(machines.links(), name.clone())?.ask_to_shut_down() {
        return Ok(Json(()));
    }
    Err(ApiError {
        status: StatusCode::CONFLICT,
        refusal: Refusal {
            error: format!("machine {name:?} has no link to ask it over"),
            hint: "does it run? `fake-substrate status` tells".to_owned(),
        },
    })
}

async fn logs(
    State(machines): Shared,
    Path(name): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Json<LogPage>, ApiError> {
    let Query(LogQuery { after, wait_ms }) = query?;
    let wait = Duration::from_millis(wait_ms).min(LONGEST_WAIT);
    Ok(Json(
        machine(machines.links(), name)?.page(after, wait).await,
    ))
}

async fn rpc(
    State(machines): Shared,
    Path(name): Path<String>,
    query: Result<Query<RpcQuery>, QueryRejection>,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Response>, ApiError> {
    let Query(RpcQuery { deadline_ms }) = query?;
    let Json(request) = request?;
    let request = link::request(&request)?;
    let links = machines.links();
    let machine = machine(links, name.clone())?;
    let address = machine.address().ok_or_else(|| unknown(name))?;
    let at = SocketAddr::from((address, link::CONTROL_RPC));
    let from = links.host().address;
    Ok(Json(
        link::call(at, from, &request, Duration::from_millis(deadline_ms)).await?,
    ))
}

fn machine(links: &Links, name: String) -> Result<Arc<Machine>, ApiError> {
    links.machine(&name).ok_or_else(|| unknown(name))
}

fn unknown(name: String) -> ApiError {
    ChangeError::from(RegistryError::Unknown(name)).into()
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self {
            status: rejection.status(),
            refusal: Refusal {
                error: rejection.body_text(),
                hint: "the shapes stand in fake-substrate/src/admin".to_owned(),
            },
        }
    }
}

impl From<RpcError> for ApiError {
    fn from(error: RpcError) -> Self {
        let status = match &error {
            RpcError::NotARequest(_) | RpcError::TooLong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            RpcError::OutOfTime { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let hint = error.hint().to_owned();
        Self {
            status,
            refusal: Refusal {
                error: super::admin_api::chain(&error),
                hint,
            },
        }
    }
}
