//! The control API: JSON routes over the host, behind a bearer token. The shapes are `admin`'s.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post, put};
use axum::{Json, Router};

use super::disks::Disks;
use super::{BlockStoreError, birth, growth, random};
use crate::admin::{
    AdminToken, AttachedDisk, CollectReport, CreateVolume, CutPower, DestroyQuery,
    FlushPointReport, ForkVolume, GrowVolume, PowerCutReport, Refusal, RootReport, StoreReport,
    VolumeReport, VolumeStanding,
};
use crate::serve::admin_api::{ApiError, require_token};
use crate::serve::{chain, clock};
use crate::volume::VolumeName;
use crate::volume::host::{Host, HostError, NewFork};
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::map::BLOCK_BYTES;
use crate::volume::store::refused::Refused;
use crate::volume::store::{Standing, Store, Volume};
use crate::volume::trouble::Trouble;

#[derive(Clone)]
struct Desk {
    host: Arc<Host>,
    disks: Arc<Disks>,
}

type Shared = State<Desk>;
type Named = Result<Path<VolumeName>, PathRejection>;
type Body<T> = Result<Json<T>, JsonRejection>;
type Answer<T> = Result<Json<T>, ApiError>;

pub(super) fn router(host: Arc<Host>, disks: Arc<Disks>, token: AdminToken) -> Router {
    Router::new()
        .route("/volumes", get(list).post(create))
        .route("/volumes/{name}", get(one).delete(destroy))
        .route("/volumes/{name}/fork", post(fork))
        .route("/volumes/{name}/attach", post(attach))
        .route("/volumes/{name}/detach", post(detach))
        .route("/volumes/{name}/grow", post(grow))
        .route("/volumes/{name}/flush", post(flush))
        .route("/volumes/{name}/power-cut", post(power_cut))
        .route("/volumes/{name}/lose", post(lose))
        .route("/volumes/{name}/rehome", post(rehome))
        .route("/volumes/{name}/fault", put(trouble).delete(heal))
        .route("/roots", get(roots))
        .route("/collect", post(collect))
        .route("/stats", get(stats))
        .with_state(Desk { host, disks })
        .layer(middleware::from_fn_with_state(token, require_token))
        // Outside the token: it tells nothing but that somebody is home.
        .route("/health", get(async || Json(())))
}

/// The host's work blocks: it waits for a disk or for object storage.
async fn work<T: Send + 'static>(
    desk: &Desk,
    work: impl FnOnce(&Host) -> Result<T, BlockStoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let host = Arc::clone(&desk.host);
    let done = tokio::task::spawn_blocking(move || work(&host)).await;
    Ok(done.map_err(BlockStoreError::Bug)??)
}

async fn list(State(desk): Shared) -> Answer<Vec<VolumeReport>> {
    let mut reports = desk.host.with_books(|books| {
        books
            .volumes()
            .map(|volume| report(books, volume))
            .collect::<Vec<_>>()
    });
    for report in &mut reports {
        report.device = desk.disks.device(&report.name).await;
        look_at_requests(&desk.host, report);
    }
    Ok(Json(reports))
}

async fn one(State(desk): Shared, name: Named) -> Answer<VolumeReport> {
    let Path(name) = name?;
    let found = desk
        .host
        .with_books(|books| Ok(report(books, books.volume(&name)?)));
    let mut report = found.map_err(|error: Refused| BlockStoreError::Host(error.into()))?;
    report.device = desk.disks.device(&name).await;
    look_at_requests(&desk.host, &mut report);
    Ok(Json(report))
}

fn look_at_requests(host: &Host, report: &mut VolumeReport) {
    report.writes_wait = host.holds_back(&report.name);
    report.troubles = host.troubles(&report.name);
}

fn report(books: &Store, volume: &Volume) -> VolumeReport {
    let (standing, flushed, unsynced, dirty) = match &volume.standing {
        Standing::Elsewhere(flushed) => (VolumeStanding::Lost, flushed, 0, 0),
        Standing::Here(here) => {
            let standing = match (here.fenced, volume.attachment) {
                (true, _) => VolumeStanding::Fenced,
                (false, Some(_)) => VolumeStanding::Attached,
                (false, None) => VolumeStanding::Detached,
            };
            let unsynced = here.disk.unsynced().len() as u64;
            (standing, &here.flushed, unsynced, here.at_stake())
        }
    };
    VolumeReport {
        name: volume.meta.name.clone(),
        bytes: u64::from(volume.meta.blocks) * BLOCK_BYTES,
        ephemeral: volume.meta.ephemeral,
        parent: volume.meta.parent.clone(),
        children: books.children(&volume.meta.name),
        standing,
        device: None,
        writes_wait: false,
        troubles: Vec::new(),
        unsynced_blocks: unsynced,
        dirty_bytes: dirty * BLOCK_BYTES,
        flush_point: (flushed.sequence > 0).then_some(FlushPointReport {
            generation: flushed.generation,
            sequence: flushed.sequence,
            at_ms: flushed.at_ms,
        }),
        expires_ms: volume.meta.expires_ms,
    }
}

fn expiry(ttl_s: Option<u64>, now_ms: u64) -> Option<u64> {
    ttl_s.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)))
}

async fn create(State(desk): Shared, new: Body<CreateVolume>) -> Answer<()> {
    let Json(CreateVolume {
        name,
        bytes,
        file_system,
        ephemeral,
        ttl_s,
    }) = new?;
    let new = NewVolume {
        name,
        bytes,
        ephemeral,
        expires_ms: expiry(ttl_s, clock::unix_ms()),
    };
    // On its own, to its end: a caller that hangs up leaves no disk attached.
    let birth = birth::create(desk.host, desk.disks, new, file_system);
    let born = tokio::spawn(birth).await.map_err(BlockStoreError::Bug)?;
    Ok(Json(born?))
}

async fn fork(State(desk): Shared, parent: Named, new: Body<ForkVolume>) -> Answer<()> {
    let (Path(parent), Json(new)) = (parent?, new?);
    let now_ms = clock::unix_ms();
    let new = NewFork {
        parent,
        child: new.child,
        ephemeral: new.ephemeral,
        expires_ms: expiry(new.ttl_s, now_ms),
    };
    work(&desk, move |host| Ok(host.fork(&new, now_ms)?))
        .await
        .map(Json)
}

async fn attach(State(desk): Shared, name: Named) -> Answer<AttachedDisk> {
    let Path(name) = name?;
    let device = desk.disks.attach(&name).await?;
    Ok(Json(AttachedDisk { device }))
}

async fn detach(State(desk): Shared, name: Named) -> Answer<()> {
    let Path(name) = name?;
    Ok(Json(desk.disks.detach(&name).await?))
}

async fn grow(State(desk): Shared, name: Named, to: Body<GrowVolume>) -> Answer<()> {
    let (Path(name), Json(GrowVolume { bytes })) = (name?, to?);
    // On its own, to its end: a caller that hangs up leaves no file system half grown.
    let growth = growth::grow(desk.host, desk.disks, name, bytes);
    let grown = tokio::spawn(growth).await.map_err(BlockStoreError::Bug)?;
    Ok(Json(grown?))
}

async fn flush(State(desk): Shared, name: Named) -> Answer<FlushPointReport> {
    let Path(name) = name?;
    let flushed = work(&desk, move |host| {
        host.flush_point(&name, clock::unix_ms())?;
        let flushed = host.with_books(|books| Ok(books.here(&name)?.flushed.clone()));
        Ok(flushed.map_err(|error: Refused| HostError::from(error))?)
    });
    let flushed = flushed.await?;
    Ok(Json(FlushPointReport {
        generation: flushed.generation,
        sequence: flushed.sequence,
        at_ms: flushed.at_ms,
    }))
}

async fn power_cut(
    State(desk): Shared,
    name: Named,
    cut: Body<CutPower>,
) -> Answer<PowerCutReport> {
    let (Path(name), Json(cut)) = (name?, cut?);
    let cut = work(&desk, move |host| {
        let seed = match cut.seed {
            Some(seed) => seed,
            None => random()?,
        };
        Ok(host.power_cut(&name, seed, cut.tear)?)
    });
    let cut = cut.await?;
    Ok(Json(PowerCutReport {
        seed: cut.seed,
        unsynced: cut.unsynced,
        survived: cut.survived,
        torn: cut.torn,
    }))
}

async fn lose(State(desk): Shared, name: Named) -> Answer<()> {
    let Path(name) = name?;
    work(&desk, move |host| Ok(host.lose(&name)?))
        .await
        .map(Json)
}

async fn rehome(State(desk): Shared, name: Named) -> Answer<()> {
    let Path(name) = name?;
    work(&desk, move |host| match host.rehome(&name) {
        // Asked again, after an answer that got lost.
        Err(HostError::Refused(Refused::Here(_))) => Ok(()),
        rehomed => Ok(rehomed?),
    })
    .await
    .map(Json)
}

async fn trouble(State(desk): Shared, name: Named, troubles: Body<Vec<Trouble>>) -> Answer<()> {
    let (Path(name), Json(troubles)) = (name?, troubles?);
    work(&desk, move |host| Ok(host.set_troubles(&name, &troubles)?))
        .await
        .map(Json)
}

async fn heal(State(desk): Shared, name: Named) -> Answer<()> {
    let Path(name) = name?;
    work(&desk, move |host| Ok(host.set_troubles(&name, &[])?))
        .await
        .map(Json)
}

async fn destroy(
    State(desk): Shared,
    name: Named,
    query: Result<Query<DestroyQuery>, QueryRejection>,
) -> Answer<()> {
    let (Path(name), Query(query)) = (name?, query?);
    let children = match query.keep_children {
        true => Children::Keep,
        false => Children::Forbid,
    };
    work(&desk, move |host| {
        host.destroy(&name, children)?;
        // Its blocks go at once: this is when somebody looks at the disk's size.
        host.collect()?;
        Ok(())
    })
    .await
    .map(Json)
}

async fn roots(State(desk): Shared) -> Answer<Vec<RootReport>> {
    let reports = work(&desk, |host| {
        let roots = host.roots()?;
        let here = |name: &VolumeName| {
            host.with_books(|books| books.here(name).is_ok_and(|here| !here.fenced))
        };
        let reports = roots.into_iter().map(|root| RootReport {
            here: here(&root.meta.name),
            name: root.meta.name,
            bytes: u64::from(root.meta.blocks) * BLOCK_BYTES,
            parent: root.meta.parent,
            flush_point: FlushPointReport {
                generation: root.generation,
                sequence: root.sequence,
                at_ms: root.at_ms,
            },
            host: root.host,
            expires_ms: root.meta.expires_ms,
        });
        Ok(reports.collect())
    });
    reports.await.map(Json)
}

async fn collect(State(desk): Shared) -> Answer<CollectReport> {
    let collected = work(&desk, |host| Ok(host.collect()?)).await?;
    Ok(Json(CollectReport {
        blocks: collected.slots,
        objects: collected.objects,
    }))
}

async fn stats(State(desk): Shared) -> Answer<StoreReport> {
    let (used, free) = desk.host.with_books(|books| books.slots.figures());
    Ok(Json(StoreReport {
        used_bytes: used * BLOCK_BYTES,
        free_bytes: free * BLOCK_BYTES,
    }))
}

fn refused(status: StatusCode, error: String, hint: &str) -> ApiError {
    ApiError {
        status,
        refusal: Refusal {
            error,
            hint: hint.to_owned(),
        },
    }
}

impl From<BlockStoreError> for ApiError {
    fn from(error: BlockStoreError) -> Self {
        let status = match &error {
            BlockStoreError::Host(HostError::Refused(refused)) => match refused {
                Refused::Unknown(_) | Refused::NoFlushPoint(_) => StatusCode::NOT_FOUND,
                Refused::Size(_) | Refused::Shrinks { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                Refused::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::CONFLICT,
            },
            BlockStoreError::Host(HostError::TakenOver { .. }) => StatusCode::CONFLICT,
            BlockStoreError::NoDisks => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error = %chain(&error), "a request of the host failed");
        }
        // Causes first: a hint is the last line of a message.
        let text = error.to_string();
        let (what, hint) = text
            .split_once("\nHINT: ")
            .unwrap_or((&text, "see the store's log"));
        let mut what = what.to_owned();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            what.push_str(": ");
            what.push_str(&error.to_string());
            cause = error.source();
        }
        refused(status, what, hint)
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        let hint = "a volume's name is made of lower-case letters, digits and inner hyphens";
        refused(rejection.status(), rejection.body_text(), hint)
    }
}
