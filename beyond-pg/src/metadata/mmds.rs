//! The metadata service's client (G-002): a session token, then the document, once.
//!
//! The service keeps connections open whatever it is told, so an answer ends where its
//! `Content-Length` says and never at EOF, and every wait has a deadline of ours (facts 58).
//! It tells by the one value `application/json` that JSON is wanted; a decorated `Accept` would be
//! answered with a listing of keys (facts 5.4).

#[cfg(any(test, feature = "fuzzing"))]
#[path = "mmds_fuzzing.rs"]
mod fuzzing;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Metadata, Source};
use crate::settings::{Problem, keys};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzing::{document_in_answer, document_of, token_in_answer};

const TOKEN_PATH: &str = "/latest/api/token";
const DOCUMENT_PATH: &str = "/latest/meta-data";
/// The request for it, in a sentence.
const DOCUMENT: &str = "GET /latest/meta-data";
/// The token is used at once; it only has to outlive one request.
const TOKEN_TTL: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-metadata-token-ttl-seconds"),
    HeaderValue::from_static("60"),
);
const TOKEN: HeaderName = HeaderName::from_static("x-metadata-token");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Firecracker's store holds 51200 bytes unless its host raised that (facts 59).
const BODY_LIMIT: usize = 256 << 10;
/// Firecracker's tokens have 48 characters.
const TOKEN_LIMIT: usize = 1024;

/// How long to wait. The first packet to the service may have to wait 1 to 2 s for neighbour
/// resolution (facts 58).
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) connect: Duration,
    pub(super) answer: Duration,
}

const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(5),
};

/// Why there is no document. Whoever is told keeps asking; only [`MmdsError::is_absent`] leaves the
/// environment as a way out, since a service that answers anything at all may yet be filled: the
/// platform puts documents back after a resume (facts 60).
#[derive(Debug, thiserror::Error)]
pub(crate) enum MmdsError {
    #[error(
        "nothing listens at {addr}: {source}. HINT: is the metadata service attached to this \
         machine's network?"
    )]
    Unreachable { addr: SocketAddr, source: io::Error },
    #[error(
        "{addr} took the connection and did not answer {request} within {within:?}. HINT: the \
         metadata service hangs; look at it on the host."
    )]
    Silent {
        addr: SocketAddr,
        request: &'static str,
        within: Duration,
    },
    #[error("{request} to {addr} failed: {source}. HINT: is it an HTTP service at all?")]
    Http {
        addr: SocketAddr,
        request: &'static str,
        source: hyper::Error,
    },
    #[error(
        "{addr} answered {request} with status {status}: {body:?}. HINT: has the platform put this \
         machine's document yet?"
    )]
    Status {
        addr: SocketAddr,
        request: &'static str,
        status: StatusCode,
        body: String,
    },
    #[error(
        "{addr} gave a session token that is no printable ASCII of 1 to {TOKEN_LIMIT} characters. \
         HINT: is it a metadata service at all?"
    )]
    TokenUnusable { addr: SocketAddr },
    #[error(
        "the answer of {addr} to {request} is longer than {BODY_LIMIT} bytes. HINT: settings are a \
         few kilobytes; put less below meta-data."
    )]
    TooLarge {
        addr: SocketAddr,
        request: &'static str,
    },
    #[error(
        "the document of {addr} is not JSON ({length} bytes, line {line}, column {column}). HINT: \
         put a JSON object at latest.meta-data; its values are strings."
    )]
    NotJson {
        addr: SocketAddr,
        length: usize,
        line: usize,
        column: usize,
    },
    #[error(
        "the document of {addr} is {found}, not an object. HINT: put a JSON object at \
         latest.meta-data; its values are strings."
    )]
    NotAnObject {
        addr: SocketAddr,
        found: &'static str,
    },
}

impl MmdsError {
    /// Nothing is there at all, as opposed to something that cannot be used.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// The document of the service at `addr`.
pub(crate) async fn fetch(addr: SocketAddr) -> Result<Metadata, MmdsError> {
    Service {
        addr,
        deadlines: DEADLINES,
    }
    .fetch()
    .await
}

pub(super) struct Service {
    pub(super) addr: SocketAddr,
    pub(super) deadlines: Deadlines,
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Service {
    pub(super) async fn fetch(&self) -> Result<Metadata, MmdsError> {
        let token = self.token().await?;
        let mut request = request(Method::GET, DOCUMENT_PATH);
        request.headers_mut().insert(ACCEPT, JSON);
        if let Some(token) = token {
            request.headers_mut().insert(TOKEN, token);
        }
        let answer = self.ask(DOCUMENT, request).await?;
        self.document(&answer)
    }

    /// A service of version 1 has no tokens and need not know the path: whatever it says other
    /// than 200 means "go on without".
    async fn token(&self) -> Result<Option<HeaderValue>, MmdsError> {
        let mut request = request(Method::PUT, TOKEN_PATH);
        let (name, seconds) = TOKEN_TTL;
        request.headers_mut().insert(name, seconds);
        let answer = self.ask("PUT /latest/api/token", request).await?;
        self.session_token(answer)
    }

    fn session_token(&self, answer: Answer) -> Result<Option<HeaderValue>, MmdsError> {
        if answer.status != StatusCode::OK {
            return Ok(None);
        }
        // It is echoed in a header, where a line break in it would begin a header of its own.
        let printable = (1..=TOKEN_LIMIT).contains(&answer.body.len())
            && answer.body.iter().all(|byte| (0x21..=0x7e).contains(byte));
        let token = HeaderValue::from_maybe_shared(answer.body)
            .ok()
            .filter(|_| printable);
        token
            .map(Some)
            .ok_or(MmdsError::TokenUnusable { addr: self.addr })
    }

    fn status(&self, request: &'static str, answer: &Answer) -> MmdsError {
        let body = String::from_utf8_lossy(&answer.body)
            .chars()
            .take(200)
            .collect();
        MmdsError::Status {
            addr: self.addr,
            request,
            status: answer.status,
            body,
        }
    }

    async fn ask(
        &self,
        asked: &'static str,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, MmdsError> {
        let stream = self.connect().await?;
        let within = self.deadlines.answer;
        let silent = MmdsError::Silent {
            addr: self.addr,
            request: asked,
            within,
        };
        timeout(within, self.exchange(stream, asked, request))
            .await
            .unwrap_or(Err(silent))
    }

    async fn connect(&self) -> Result<TcpStream, MmdsError> {
        let addr = self.addr;
        let late = || Err(io::ErrorKind::TimedOut.into());
        let connected = timeout(self.deadlines.connect, TcpStream::connect(addr)).await;
        connected
            .unwrap_or_else(|_| late())
            .map_err(|source| MmdsError::Unreachable { addr, source })
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        asked: &'static str,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, MmdsError> {
        let addr = self.addr;
        let http = |source| MmdsError::Http {
            addr,
            request: asked,
            source,
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Ends when the sender is dropped. Its failures reach the sender as well.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(source) => http(*source),
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>());
                MmdsError::TooLarge {
                    addr,
                    request: asked,
                }
            }
        })?;
        Ok(Answer {
            status,
            body: body.to_bytes(),
        })
    }

    fn document(&self, answer: &Answer) -> Result<Metadata, MmdsError> {
        let addr = self.addr;
        if answer.status != StatusCode::OK {
            return Err(self.status(DOCUMENT, answer));
        }
        let body = &answer.body;
        // The parser's own message might quote the document, and the document holds secrets.
        let document: Value = serde_json::from_slice(body).map_err(|error| MmdsError::NotJson {
            addr,
            length: body.len(),
            line: error.line(),
            column: error.column(),
        })?;
        match document {
            Value::Object(members) => Ok(settings(members)),
            other => Err(MmdsError::NotAnObject {
                addr,
                found: kind(&other),
            }),
        }
    }
}

fn request(method: Method, path: &'static str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_static(path);
    // hyper's connection leaves this header, which HTTP/1.1 requires, to its caller.
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("169.254.169.254"));
    request
}

/// Strings, and scalars as the text they are written as. The platform may keep other things beside
/// our settings; only under one of our names a list or an object is a mistake.
fn settings(members: serde_json::Map<String, Value>) -> Metadata {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in members {
        match value {
            Value::String(text) => {
                values.insert(name, text);
            }
            Value::Bool(_) | Value::Number(_) => {
                values.insert(name, value.to_string());
            }
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => {
                if let Some(key) = keys::find(&name) {
                    let what = format!("is {}", kind(&value));
                    problems.push(Problem::hidden(&name, what, key.accepted));
                }
            }
        }
    }
    Metadata {
        source: Source::Mmds,
        values,
        problems,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
