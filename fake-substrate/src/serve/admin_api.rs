//! The host's side of the process: JSON routes over the machines, behind a bearer token.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use ring::digest::{SHA256, digest};

use crate::admin::{
    AdminToken, MachineSummary, Metadata, MetadataPatch, ModeChange, Refusal, Registration,
};

use super::link_api;
use super::machines::{ChangeError, Machines};
use super::registry::{Registry, RegistryError};

type Shared = State<Arc<Machines>>;
/// Every success is JSON; "done" is `null`.
pub(super) type Done = Result<Json<()>, ApiError>;

/// `platform` are the routes about the substrate itself.
pub(super) fn router(machines: Arc<Machines>, platform: Router, token: AdminToken) -> Router {
    Router::new()
        .route("/machines", get(list))
        .route("/machines/{name}", put(register).delete(forget))
        .route("/machines/{name}/metadata", get(metadata).patch(patch))
        .route("/machines/{name}/mmds/mode", put(set_mode))
        .merge(link_api::routes())
        .fallback(no_route)
        .with_state(machines)
        .merge(platform)
        .layer(middleware::from_fn_with_state(token, require_token))
        // Outside the token: it tells nothing but that somebody is home.
        .route("/health", get(async || Json(())))
}

async fn list(State(machines): Shared) -> Json<Vec<MachineSummary>> {
    Json(machines.read(Registry::summaries))
}

async fn register(
    State(machines): Shared,
    Path(name): Path<String>,
    registration: Result<Json<Registration>, JsonRejection>,
) -> Done {
    let Json(registration) = registration?;
    change(&machines, |all| all.register(&name, registration)).await
}

async fn forget(State(machines): Shared, Path(name): Path<String>) -> Done {
    change(&machines, |all| all.remove(&name)).await
}

async fn metadata(
    State(machines): Shared,
    Path(name): Path<String>,
) -> Result<Json<Metadata>, ApiError> {
    let metadata = machines.read(|all| all.metadata(&name).cloned());
    Ok(Json(metadata.map_err(ChangeError::from)?))
}

async fn patch(
    State(machines): Shared,
    Path(name): Path<String>,
    changes: Result<Json<MetadataPatch>, JsonRejection>,
) -> Done {
    let Json(changes) = changes?;
    change(&machines, |all| all.patch(&name, changes)).await
}

async fn set_mode(
    State(machines): Shared,
    Path(name): Path<String>,
    mode: Result<Json<ModeChange>, JsonRejection>,
) -> Done {
    let Json(ModeChange { mode }) = mode?;
    change(&machines, |all| all.set_mode(&name, mode)).await
}

async fn no_route(request: Request) -> ApiError {
    ApiError {
        status: StatusCode::NOT_FOUND,
        refusal: Refusal {
            error: format!("no route is called {}", request.uri().path()),
            hint: "the routes stand in fake-substrate/src/admin".to_owned(),
        },
    }
}

async fn change(
    machines: &Arc<Machines>,
    change: impl FnOnce(&mut Registry) -> Result<(), RegistryError>,
) -> Done {
    machines.change(change).await?;
    Ok(Json(()))
}

pub(crate) async fn require_token(
    State(token): State<AdminToken>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Digests are compared, so the time taken tells nothing of the token.
    let expected = digest(&SHA256, token.expose().as_bytes());
    match given.map(|given| digest(&SHA256, given)) {
        Some(given) if given.as_ref() == expected.as_ref() => Ok(next.run(request).await),
        _ => Err(ApiError {
            status: StatusCode::UNAUTHORIZED,
            refusal: Refusal {
                error: "the admin API wants this substrate's bearer token".to_owned(),
                hint:
                    "the host finds it on the substrate's container; guests have no business here"
                        .to_owned(),
            },
        }),
    }
}

pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.refusal)).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            refusal: Refusal {
                error: rejection.body_text(),
                hint: "the shapes stand in fake-substrate/src/admin; values are strings".to_owned(),
            },
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let (status, hint) = match &error {
            ChangeError::Refused(refused) => (status(refused), refused.hint()),
            ChangeError::State(_) => {
                tracing::error!(error = %chain(&error), "a change was not saved");
                let hint = "nothing has changed; is the state volume full or read-only?";
                (StatusCode::INTERNAL_SERVER_ERROR, hint)
            }
        };
        Self {
            status,
            refusal: Refusal {
                error: chain(&error),
                hint: hint.to_owned(),
            },
        }
    }
}

fn status(refused: &RegistryError) -> StatusCode {
    match refused {
        RegistryError::Unknown(_) => StatusCode::NOT_FOUND,
        RegistryError::AddressTaken { .. } => StatusCode::CONFLICT,
        RegistryError::NotLinkLocal { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        RegistryError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
