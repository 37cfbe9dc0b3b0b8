//! The admin API's routes for what is broken on purpose, and for the object storage.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};

use crate::admin::{ClearQuery, Refusal, S3Access};
use crate::fault::{Fault, Faults, NewFault, NoSuchFault, Party, Seat, Standing};

use super::admin_api::{ApiError, Done};
use super::machines::{ChangeError, Machines};
use super::registry::Registry;

/// The book, and who there is to be broken.
#[derive(Clone)]
struct Desk {
    faults: Arc<Faults>,
    machines: Arc<Machines>,
}

pub(super) fn routes(faults: Arc<Faults>, machines: Arc<Machines>, access: S3Access) -> Router {
    Router::new()
        .route("/faults", get(list).post(add).delete(clear_ours))
        .route("/faults/{id}", delete(clear))
        .with_state(Desk { faults, machines })
        .route("/s3", get(async move || Json(access.clone())))
}

async fn list(State(desk): State<Desk>) -> Json<Vec<Standing>> {
    Json(desk.faults.standing())
}

async fn add(
    State(desk): State<Desk>,
    new: Result<Json<NewFault>, JsonRejection>,
) -> Result<Json<Standing>, ApiError> {
    let Json(new) = new?;
    new.check().map_err(|error| ApiError {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        refusal: Refusal {
            error: error.to_string(),
            hint: "nothing is broken by this; the shapes stand in docs/faults.md".to_owned(),
        },
    })?;
    // A name that nobody has breaks nothing, and would be found out much later.
    for machine in machines_of(&new.fault) {
        let known = desk
            .machines
            .read(|all: &Registry| all.metadata(machine).map(drop));
        known.map_err(ChangeError::from)?;
    }
    if new.fault.seat() == Seat::Host && !new.caller_carries_out {
        return Err(beyond_this_process(&new.fault));
    }
    Ok(Json(desk.faults.add(new)))
}

fn machines_of(fault: &Fault) -> Vec<&str> {
    match fault {
        Fault::S3(_) | Fault::Clock(_) => Vec::new(),
        Fault::Mmds(fault) => vec![&fault.machine],
        Fault::Link(fault) => vec![&fault.machine],
        Fault::Volume(fault) => vec![&fault.machine],
        Fault::Partition(cut) => {
            let parties = [&cut.from, &cut.to].into_iter();
            parties.filter_map(Party::machine).collect()
        }
    }
}

/// To say that it stands would be untrue.
fn beyond_this_process(fault: &Fault) -> ApiError {
    ApiError {
        status: StatusCode::CONFLICT,
        refusal: Refusal {
            error: format!("{fault}: this process has no Docker to carry that out with"),
            hint: "`fake-substrate fault` has; who does it otherwise says caller_carries_out"
                .to_owned(),
        },
    }
}

async fn clear_ours(State(desk): State<Desk>) -> Json<Vec<Standing>> {
    let ours = |standing: &Standing| standing.fault.seat() == Seat::Process;
    Json(desk.faults.clear_where(ours))
}

async fn clear(
    State(desk): State<Desk>,
    Path(id): Path<u32>,
    query: Result<Query<ClearQuery>, QueryRejection>,
) -> Done {
    let Query(ClearQuery { caller_carries_out }) = query?;
    let standing = desk.faults.standing();
    let not_ours = |standing: &&Standing| standing.fault.seat() == Seat::Host;
    if let Some(standing) = standing.iter().filter(not_ours).find(|one| one.id == id)
        && !caller_carries_out
    {
        return Err(beyond_this_process(&standing.fault));
    }
    Ok(Json(desk.faults.clear(id)?))
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
