//! The HTTP side of a sink: a description, and files.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wire::sink::{DESCRIPTION, base_asked};

use crate::fx::clock;
use crate::settings::Secret;
use crate::sink::pass;
use crate::sink::store::{Store, StoreError};
use crate::supervise::chain;

/// How long one connection may last.
const CONNECTION: Duration = Duration::from_secs(120);
/// After a failure to accept, such as too many open files.
const AGAIN: Duration = Duration::from_millis(200);
/// Connections at a time: each may hold a whole segment in memory.
const AT_ONCE: usize = 4;

/// What is served, to whom.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) store: Store,
    pub(crate) password: Secret,
    pub(crate) receiving: Arc<AtomicBool>,
}

impl Serving {
    /// Answers until it is dropped, and then nobody any more.
    pub(crate) async fn run(&self, listener: &TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= AT_ONCE {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _from)) => {
                    let serving = self.clone();
                    connections.spawn(async move { serving.connection(stream).await });
                }
                Err(error) => {
                    tracing::warn!("taking a connection failed: {error}");
                    clock::pause(AGAIN).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let service = service_fn(async |request: Request<Incoming>| {
            let pass = request.headers().get(AUTHORIZATION);
            let pass = pass.and_then(|pass| pass.to_str().ok());
            let answer = self.answer(request.method(), request.uri().path(), pass);
            Ok::<_, Infallible>(answer)
        });
        let served = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        match clock::within(CONNECTION, served).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!("a connection ended: {error}"),
            None => tracing::warn!("a connection took too long and was closed"),
        }
    }

    fn answer(&self, method: &Method, path: &str, pass: Option<&str>) -> Response<Full<Bytes>> {
        if method != Method::GET {
            return words(StatusCode::METHOD_NOT_ALLOWED, "ask with GET");
        }
        if !pass.is_some_and(|pass| pass::is_right(&self.password, path, pass)) {
            return words(
                StatusCode::FORBIDDEN,
                "whoever asks does not know this sink's BEYOND_PG_REPLICATION_PASSWORD",
            );
        }
        let found = if path == DESCRIPTION {
            self.description().map(Some)
        } else if let Some(from) = base_asked(path) {
            self.store.base_piece(from)
        } else {
            let name = path.strip_prefix(DESCRIPTION).unwrap_or_default();
            self.store.file(name.strip_prefix('/').unwrap_or_default())
        };
        match found {
            Ok(Some(body)) => answer(StatusCode::OK, body),
            Ok(None) => words(StatusCode::NOT_FOUND, "there is no such file here"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!("answering GET {path}: {error}");
                words(StatusCode::INTERNAL_SERVER_ERROR, &error)
            }
        }
    }

    fn description(&self) -> Result<Vec<u8>, StoreError> {
        let receiving = self.receiving.load(Ordering::Relaxed);
        Ok(serde_json::to_vec(&self.store.description(receiving)?)?)
    }
}

fn words(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    answer(status, words.as_bytes().to_vec())
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
}
