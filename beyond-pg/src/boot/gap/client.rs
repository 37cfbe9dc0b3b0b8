//! Asking a sink: one connection for each request, each with a deadline.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use wire::sink::{DESCRIPTION, Description, base, file};

use crate::fx::clock;
use crate::settings::{Sink, SinkAddress};
use crate::sink::pass;

const CONNECT: Duration = Duration::from_secs(5);
/// For a whole segment over a slow network.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest segment that there can be.
const LIMIT: usize = 1 << 30;

#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("connecting to the WAL sink {sink}")]
    Connect {
        sink: SinkAddress,
        source: io::Error,
    },
    #[error("the WAL sink {sink} did not answer GET {path} within {} s", within.as_secs())]
    Silent {
        sink: SinkAddress,
        path: String,
        within: Duration,
    },
    #[error("GET {path} of the WAL sink {sink}")]
    Http {
        sink: SinkAddress,
        path: String,
        source: hyper::Error,
    },
    #[error("GET {path} of the WAL sink {sink} was answered with {status}: {body}")]
    Status {
        sink: SinkAddress,
        path: String,
        status: StatusCode,
        body: String,
    },
    #[error("what the WAL sink {sink} answers to GET {path} cannot be read: {what}")]
    Answer {
        sink: SinkAddress,
        path: String,
        what: String,
    },
}

/// A sink, as its database sees it.
pub(super) struct Client<'a> {
    sink: &'a Sink,
}

impl<'a> Client<'a> {
    pub(super) fn new(sink: &'a Sink) -> Client<'a> {
        Client { sink }
    }

    pub(super) async fn description(&self) -> Result<Description, ClientError> {
        let body = self.get(DESCRIPTION).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(DESCRIPTION, &error))
    }

    pub(super) async fn file(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        Ok(self.get(&file(name)).await?.to_vec())
    }

    /// The bytes of the base from there on.
    pub(super) async fn base(&self, from: u64) -> Result<Bytes, ClientError> {
        self.get(&base(from)).await
    }

    async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let SinkAddress { host, port } = &self.sink.address;
        let silent = |within| ClientError::Silent {
            sink: self.address(),
            path: path.to_owned(),
            within,
        };
        let connected = clock::within(CONNECT, TcpStream::connect((host.as_str(), *port))).await;
        let stream = connected
            .ok_or_else(|| silent(CONNECT))?
            .map_err(|source| ClientError::Connect {
                sink: self.address(),
                source,
            })?;
        clock::within(ANSWER, self.exchange(stream, path))
            .await
            .unwrap_or_else(|| Err(silent(ANSWER)))
    }

    async fn exchange(&self, stream: TcpStream, path: &str) -> Result<Bytes, ClientError> {
        let http = |source| ClientError::Http {
            sink: self.address(),
            path: path.to_owned(),
            source,
        };
        let request = Request::get(path)
            .header(HOST, self.sink.address.to_string())
            .header(
                AUTHORIZATION,
                pass::of(&self.sink.replication_password, path),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.unreadable(path, &error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Ends when the sender is dropped. Its failures reach the sender as well.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LIMIT).collect().await;
        let body = body
            .map_err(|error| self.unreadable(path, &error))?
            .to_bytes();
        if status != StatusCode::OK {
            return Err(ClientError::Status {
                sink: self.address(),
                path: path.to_owned(),
                status,
                body: String::from_utf8_lossy(&body).chars().take(200).collect(),
            });
        }
        Ok(body)
    }

    fn address(&self) -> SinkAddress {
        self.sink.address.clone()
    }

    fn unreadable(&self, path: &str, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Answer {
            sink: self.address(),
            path: path.to_owned(),
            what: error.to_string(),
        }
    }
}
