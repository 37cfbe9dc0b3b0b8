//! The admin API's routes for what is broken on purpose, and for the object storage.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};

use crate::admin::{Refusal, S3Access};
use crate::fault::{Faults, NewFault, NoSuchFault, Standing};

use super::admin_api::{ApiError, Done};

type Shared = State<Arc<Faults>>;

pub(super) fn routes(faults: Arc<Faults>, access: S3Access) -> Router {
    Router::new()
        .route("/faults", get(list).post(add).delete(clear_all))
        .route("/faults/{id}", delete(clear))
        .with_state(faults)
        .route("/s3", get(async move || Json(access.clone())))
}

async fn list(State(faults): Shared) -> Json<Vec<Standing>> {
    Json(faults.standing())
}

async fn add(
    State(faults): Shared,
    new: Result<Json<NewFault>, JsonRejection>,
) -> Result<Json<Standing>, ApiError> {
    let Json(new) = new?;
    new.fault.check().map_err(|error| ApiError {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        refusal: Refusal {
            error: error.to_string(),
            hint: "nothing is broken by this; the shapes stand in docs/faults.md".to_owned(),
        },
    })?;
    Ok(Json(faults.add(new)))
}

async fn clear_all(State(faults): Shared) -> Json<Vec<Standing>> {
    Json(faults.clear_all())
}

async fn clear(State(faults): Shared, Path(id): Path<u32>) -> Done {
    Ok(Json(faults.clear(id)?))
}

impl From<NoSuchFault> for ApiError {
    fn from(error: NoSuchFault) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            refusal: Refusal {
                error: error.to_string(),
                hint: "one that was used up has ended; GET /faults lists the others".to_owned(),
            },
        }
    }
}
