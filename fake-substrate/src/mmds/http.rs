//! The edge: connections in, Firecracker's bytes out.
//!
//! hyper is told to add nothing of its own: no date, an empty reason phrase, header names as
//! Firecracker writes them and in its order. What it still does differently (it answers some
//! malformed requests itself, and honours `Connection: close`) is listed, with both byte
//! strings, in `tests/golden/mmds`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::routes::Answer;
use crate::until::pause;

/// Firecracker's buffer for a connection: a head that does not fit gets no answer there.
const LONGEST_HEAD: usize = 2500;

/// What a machine's service does with a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Sends this.
    Answer(Answer),
    /// Sends this so much later.
    Late(Duration, Answer),
    /// Announces all of this, sends half of the body, and is gone.
    Torn(Answer, Tear),
    /// Nothing, for as long as the guest waits.
    Silence,
}

/// How a connection ends in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// By a RST, which is all that is left of a service that was killed.
    Reset,
    /// By a FIN, as if the body were shorter than its head said.
    Closed,
}

/// Decides the outcome for a request from an address.
pub type Respond = Arc<dyn Fn(Ipv4Addr, &Parts) -> Outcome + Send + Sync>;

/// Accepts for as long as it is polled; dropping it drops every connection.
pub async fn serve(listener: TcpListener, respond: Respond) -> io::Result<Infallible> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&respond)));
                }
                // One guest that resets during its handshake must not end the others' service.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => return Err(error),
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an MMDS connection's task failed");
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn connection(stream: TcpStream, peer: SocketAddr, respond: Respond) {
    let (tear, mut torn) = mpsc::channel(1);
    let router = Router::new().fallback(handle).with_state(Guest {
        peer,
        respond,
        tear,
    });
    let mut serving = http1::Builder::new()
        .auto_date_header(false)
        .title_case_headers(true)
        .preserve_header_case(true)
        .max_header_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let served = tokio::select! {
        served = &mut serving => served.map_err(io::Error::other),
        Some((answer, how)) = torn.recv() => {
            let stream = serving.into_parts().io.into_inner();
            send_half(stream, &answer, how).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an MMDS connection ended early");
    }
}

#[derive(Clone)]
struct Guest {
    peer: SocketAddr,
    respond: Respond,
    /// Takes the connection out of hyper's hands, which would end it properly.
    tear: mpsc::Sender<(Answer, Tear)>,
}

async fn handle(State(guest): State<Guest>, request: Request) -> Response<Body> {
    let (parts, _unread_body) = request.into_parts();
    let peer = match guest.peer.ip() {
        IpAddr::V4(address) => address,
        // No machine has an IPv6 address; the unspecified one belongs to nobody.
        IpAddr::V6(address) => address.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    match (guest.respond)(peer, &parts) {
        Outcome::Answer(answer) => response(answer, parts),
        Outcome::Late(delay, answer) => {
            pause(delay).await;
            response(answer, parts)
        }
        Outcome::Torn(answer, how) => {
            // One answer is torn on a connection, and then there is none.
            guest.tear.try_send((answer, how)).ok();
            std::future::pending().await
        }
        Outcome::Silence => std::future::pending().await,
    }
}

async fn send_half(mut stream: TcpStream, answer: &Answer, how: Tear) -> io::Result<()> {
    let Answer {
        status,
        media_type,
        body,
        ..
    } = answer;
    let head = format!(
        "HTTP/1.1 {} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\
         Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
        status.as_u16(),
        media_type.as_str(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body[..body.len() / 2]).await?;
    match how {
        Tear::Reset => stream.set_zero_linger(),
        Tear::Closed => stream.shutdown().await,
    }
}

/// Headers go out in the order they are put in, and the version is the request's: hyper sees to
/// both.
fn response(answer: Answer, request: Parts) -> Response<Body> {
    let length = answer.body.len();
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;

    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: HeaderValue| headers.append(name, value);
    put(header::SERVER, HeaderValue::from_static("Firecracker API"));
    put(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        put(header::ALLOW, HeaderValue::from_static("GET, PUT"));
    }
    let echoes = answer.ttl.is_some();
    if let Some((name, seconds)) = answer.ttl {
        put(name, HeaderValue::from(seconds));
    }
    let media_type = HeaderValue::from_static(answer.media_type.as_str());
    put(header::CONTENT_TYPE, media_type);
    put(header::CONTENT_LENGTH, HeaderValue::from(length));

    if echoes {
        // hyper keeps the spelling of the request's headers here and writes a response that
        // carries them in the same spelling: the echo must be as the client wrote it.
        *response.extensions_mut() = request.extensions;
    }
    response
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b""));
    response
}
