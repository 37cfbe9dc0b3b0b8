//! What is asked of the page over HTTP, and the gate before all of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, Form, FromRequest as _, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use maud::{Markup, html};
use serde::Deserialize;

use super::Site;
use super::act::Deed;
use super::action::Action;
use super::collect::held;
use super::fault;
use super::gate::{self, Foreign, POLICIES};
use super::html::{login, notice, page};
use super::peer;
use super::stream::events;
use crate::names::MachineName;
use crate::substrate::Substrate;
use crate::telling::Told;

/// A form is a few names and figures.
const LARGEST_FORM: usize = 16 * 1024;
/// How the script beside the page asks: it wants the words alone, and no page around them.
const BY_SCRIPT: &str = "x-page-script";

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

pub(super) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/events", get(stream))
        .route(
            "/page.css",
            get(async || asset("text/css; charset=utf-8", CSS)),
        )
        .route(
            "/page.js",
            get(async || asset("text/javascript; charset=utf-8", JS)),
        )
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .route("/machines/{name}/login", post(reveal))
        .route("/machines/{name}/{action}", post(act))
        .route("/faults", post(add_fault))
        .route("/faults/{id}/clear", post(clear_fault))
        .layer(from_fn_with_state(Arc::clone(&site), gate))
        .with_state(site)
}

/// Nothing passes but through here, paths that lead nowhere included.
async fn gate(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = match admitted(&site, request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused,
    };
    let headers = response.headers_mut();
    for (name, value) in POLICIES {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    // What it shows is of this moment, and some of it secret.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
struct Proof {
    token: Option<String>,
}

async fn admitted(site: &Site, request: Request) -> Result<Request, Response> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|ConnectInfo(peer)| peer::may_have_the_page(*peer, site.port)) {
        let why = "this page is for the user who serves it, and for root";
        return Err(refusal(StatusCode::FORBIDDEN, why));
    }
    let foreign = |why: Foreign| refusal(StatusCode::FORBIDDEN, &why.to_string());
    gate::admit(site.port, request.method(), request.headers()).map_err(foreign)?;
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_FORM).await.map_err(|_too_large| {
        refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "no form of this page is that large",
        )
    })?;
    let whole = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    let proof = Form::<Proof>::from_request(whole(), &()).await.ok();
    let token = proof.and_then(|Form(proof)| proof.token);
    gate::admit_form(&site.live.setting.token, token.as_deref()).map_err(foreign)?;
    Ok(whole())
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, notice("Not done", &html! { p.text { (why) } })).into_response()
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[derive(Deserialize)]
struct Choice {
    log: Option<String>,
}

async fn index(State(site): State<Arc<Site>>, Query(choice): Query<Choice>) -> Response {
    let Some(frame) = site.live.now().await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "this page is about to end");
    };
    let (lines, latest) = {
        let feed = held(&site.live.feed);
        (feed.kept(), feed.latest())
    };
    let only = choice.log.filter(|name| !name.is_empty());
    page(
        &site.live.setting,
        &frame.snapshot,
        &frame.errands,
        &lines,
        latest,
        only.as_deref(),
    )
    .into_response()
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

async fn stream(
    State(site): State<Arc<Site>>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response {
    // A browser that connects again tells which line it had last.
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| id.to_str().ok()?.parse().ok());
    let mut closing = site.closing.subscribe();
    let closed = async move {
        // An error is a process that has ended, which is the same.
        closing.wait_for(|closing| *closing).await.is_ok()
    };
    let events = events(Arc::clone(&site.live), last.or(after).unwrap_or(0));
    Sse::new(events.take_until(Box::pin(closed)))
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// What comes of a form, for the script or for a browser without one.
fn done(headers: &HeaderMap) -> Response {
    if headers.contains_key(BY_SCRIPT) {
        return StatusCode::NO_CONTENT.into_response();
    }
    // 303: reloading what follows must not send the form again.
    (
        StatusCode::SEE_OTHER,
        [(header::LOCATION, "/#outcome-title")],
    )
        .into_response()
}

fn not_done(headers: &HeaderMap, status: StatusCode, told: &Told) -> Response {
    let Told {
        what,
        because,
        hint,
    } = told;
    let words: Vec<&str> = std::iter::once(what)
        .chain(because)
        .chain(hint)
        .map(String::as_str)
        .collect();
    if headers.contains_key(BY_SCRIPT) {
        return (status, words.join("\n")).into_response();
    }
    let words = html! { @for word in words { p.text { (word) } } };
    (status, notice("Not done", &words)).into_response()
}

fn unusable(headers: &HeaderMap, why: &dyn std::error::Error) -> Response {
    not_done(headers, StatusCode::UNPROCESSABLE_ENTITY, &Told::of(why))
}

fn failed(headers: &HeaderMap, why: &dyn std::error::Error) -> Response {
    not_done(headers, StatusCode::BAD_GATEWAY, &Told::of(why))
}

/// The fields of every action's form.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    name: String,
}

async fn act(
    State(site): State<Arc<Site>>,
    Path((machine, action)): Path<(String, String)>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    let machine: MachineName = match machine.parse() {
        Ok(machine) => machine,
        Err(error) => return unusable(&headers, &error),
    };
    let action: Action = match action.parse() {
        Ok(action) => action,
        Err(error) => return unusable(&headers, &error),
    };
    let deed = match action {
        Action::Start => Deed::Start,
        Action::Stop => Deed::Stop,
        Action::Restart => Deed::Restart,
        Action::Flush => Deed::Flush,
        Action::Rehome => Deed::Rehome,
        Action::Crash => Deed::Crash,
        Action::PowerCut => Deed::PowerCut,
        Action::LoseHost => Deed::LoseHost,
        Action::Fork => match fields.name.trim().parse() {
            Ok(name) => Deed::Fork { name },
            Err(error) => return unusable(&headers, &error),
        },
    };
    match site.begin(machine, deed) {
        Ok(()) => done(&headers),
        Err(busy) => not_done(&headers, StatusCode::CONFLICT, &Told::of(&busy)),
    }
}

/// The lines to paste, with the password: only for whoever asks, and in no page that is kept.
async fn reveal(
    State(site): State<Arc<Site>>,
    Path(machine): Path<String>,
    headers: HeaderMap,
) -> Response {
    let machine: MachineName = match machine.parse() {
        Ok(machine) => machine,
        Err(error) => return unusable(&headers, &error),
    };
    match lines_to_paste(&site, machine.clone()).await {
        Err(error) => failed(&headers, &error),
        Ok(lines) if headers.contains_key(BY_SCRIPT) => lines.into_response(),
        Ok(lines) => notice(&format!("How to get in to {machine}"), &lines).into_response(),
    }
}

async fn lines_to_paste(site: &Site, machine: MachineName) -> Result<Markup, super::act::Undone> {
    let substrate = Substrate::connect(&site.live.docker, &site.live.substrate).await?;
    let machine = substrate.handle(machine);
    let ports = machine.view().await?.ports;
    let (pooled, direct) = machine.login().await?.commands(ports);
    Ok(login(&pooled, &direct))
}

async fn add_fault(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    form: Result<Form<fault::Form>, FormRejection>,
) -> Response {
    let new = match form {
        Err(rejected) => return unusable(&headers, &rejected),
        Ok(Form(form)) => match form.fault() {
            Err(unusable_field) => return unusable(&headers, &unusable_field),
            Ok(new) => new,
        },
    };
    let adding = async {
        let substrate = Substrate::connect(&site.live.docker, &site.live.substrate).await?;
        substrate.hands().break_down(new).await?;
        Ok::<_, crate::substrate::SubstrateError>(())
    };
    match adding.await {
        Ok(()) => done(&headers),
        Err(error) => failed(&headers, &error),
    }
}

async fn clear_fault(
    State(site): State<Arc<Site>>,
    Path(id): Path<u32>,
    headers: HeaderMap,
) -> Response {
    let clearing = async {
        let substrate = Substrate::connect(&site.live.docker, &site.live.substrate).await?;
        // One that has ended by itself meanwhile is what was wanted.
        substrate.hands().heal_if_standing(id).await?;
        Ok::<_, crate::substrate::SubstrateError>(())
    };
    match clearing.await {
        Ok(()) => done(&headers),
        Err(error) => failed(&headers, &error),
    }
}
