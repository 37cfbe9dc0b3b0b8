//! The host's end of the control RPC: one request, one answer, one connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wire::MessagePackError;
use wire::prefix::{self, Decoder, PrefixError};
use wire::rpc::{Command, CommandRow, Request, Response, encode_unknown};

/// A request that did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The JSON is no request.
    #[error("a control request is an object with \"cmd\": {0}")]
    NotARequest(String),
    /// The request is larger than a body may be.
    #[error(transparent)]
    TooLong(#[from] PrefixError),
    /// The bytes are not what the wire has.
    #[error(transparent)]
    Body(#[from] MessagePackError),
    /// Nobody listens there.
    #[error("no control RPC answers at {at}")]
    Unreachable {
        /// Where.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It closed before its answer was whole.
    #[error("the machine at {at} closed the connection before it had answered")]
    NoAnswer {
        /// Where.
        at: SocketAddr,
    },
    /// It took too long.
    #[error("the machine at {at} did not answer within {} ms", deadline.as_millis())]
    OutOfTime {
        /// Where.
        at: SocketAddr,
        /// How long was waited.
        deadline: Duration,
    },
}

impl RpcError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotARequest(_) => "as in {\"cmd\": \"health\"}; docs/wire.md has the arguments",
            Self::TooLong(_) => "a request holds at most 1 MiB",
            Self::Body(_) => "is the machine's image of another version than this substrate?",
            Self::Unreachable { .. } => "does the machine run? `fake-substrate status` tells",
            Self::NoAnswer { .. } => "what the machine says about it: `fake-substrate logs NAME`",
            Self::OutOfTime { .. } => "ask again with more time, or `fake-substrate logs NAME`",
        }
    }
}

/// The body of the request that this JSON is. A command that is not known here is sent all the same,
/// with what was given: the machine may be newer, and what it says about it is its answer.
pub(crate) fn request(json: &Value) -> Result<Vec<u8>, RpcError> {
    let Some(map) = json.as_object() else {
        return Err(RpcError::NotARequest("it is none".to_owned()));
    };
    let Some(cmd) = map.get("cmd").and_then(Value::as_str) else {
        return Err(RpcError::NotARequest("it has none".to_owned()));
    };
    if CommandRow::named(cmd).is_none() {
        return Ok(encode_unknown(map)?);
    }
    match Command::deserialize(json) {
        Ok(known) => Ok(Request::Known(known).encode()?),
        Err(error) => Err(RpcError::NotARequest(error.to_string())),
    }
}

/// Sends a body, and waits for the answer until the deadline. `from` is the address that the machine
/// sees.
pub async fn call(
    at: SocketAddr,
    from: Option<Ipv4Addr>,
    body: &[u8],
    deadline: Duration,
) -> Result<Response, RpcError> {
    let bytes = prefix::encode(body)?;
    let asking = ask(at, from, &bytes);
    let answer = timeout(deadline, asking).await;
    Ok(Response::decode(&answer.map_err(|_elapsed| {
        RpcError::OutOfTime { at, deadline }
    })??)?)
}

async fn ask(at: SocketAddr, from: Option<Ipv4Addr>, bytes: &[u8]) -> Result<Vec<u8>, RpcError> {
    let unreachable = |source| RpcError::Unreachable { at, source };
    let mut stream = dial(at, from).await.map_err(unreachable)?;
    stream.write_all(bytes).await.map_err(unreachable)?;
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some(body) = decoder.next_body()? {
            return Ok(body);
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return Err(RpcError::NoAnswer { at }),
            Ok(length) => decoder.push(&buffer[..length]),
        }
    }
}

pub(super) async fn dial(to: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    socket.connect(to).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;
    use wire::lsn::Lsn;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn guest() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        (listener, at)
    }

    fn asking_for(command: Command) -> Vec<u8> {
        Request::Known(command).encode().expect("it packs")
    }

    #[test]
    fn json_is_the_request_that_the_wire_has() {
        let standbys = json!({"cmd": "set_sync_standbys", "names": ["sink"]});
        let names = vec!["sink".to_owned()];
        let known = Request::Known(Command::SetSyncStandbys { names });
        assert_eq!(
            request(&standbys).expect("known"),
            known.encode().expect("it packs")
        );
        let newer = json!({"cmd": "teleport", "to": "mars"});
        let body = request(&newer).expect("the machine's to answer");
        assert_eq!(body, b"\x82\xa3cmd\xa8teleport\xa2to\xa4mars");
        for wrong in [
            json!({}),
            json!({"cmd": 1}),
            json!("health"),
            json!({"cmd": "set_sync_standbys"}),
        ] {
            request(&wrong).expect_err("no request");
        }
    }

    #[tokio::test]
    async fn a_request_is_sent_and_answered_in_the_bytes_of_the_wire() {
        let (listener, at) = guest().await;
        let asked = asking_for(Command::Checkpoint);
        let expected = prefix::encode(&asked).expect("short");
        let answer = Response::done_at(Lsn::new(0x16_B374_D848));
        let sent = prefix::encode(&answer.encode().expect("it packs")).expect("short");
        let guest = async {
            let (mut stream, _host) = listener.accept().await.expect("a request");
            let mut read = vec![0; expected.len()];
            stream.read_exact(&mut read).await.expect("all of it");
            // In two pieces: a stream has no messages.
            let (first, second) = sent.split_at(3);
            stream.write_all(first).await.expect("sent");
            stream.write_all(second).await.expect("sent");
            (read, stream)
        };
        let ((read, _open), answered) = tokio::join!(guest, call(at, None, &asked, LONG));
        assert_eq!(read, expected);
        assert_eq!(answered.expect("an answer"), answer);
    }

    #[tokio::test]
    async fn a_guest_that_says_nothing_is_given_up_at_the_deadline() {
        let (_listener, at) = guest().await;
        let asked = asking_for(Command::Health);
        let silent = call(at, None, &asked, Duration::from_millis(10)).await;
        assert!(
            matches!(silent, Err(RpcError::OutOfTime { .. })),
            "{silent:?}"
        );
    }

    #[tokio::test]
    async fn a_guest_that_hangs_up_or_is_not_there_is_told_apart() {
        let (listener, at) = guest().await;
        let asked = asking_for(Command::Health);
        let guest = async { drop(listener.accept().await.expect("a request")) };
        let ((), hung_up) = tokio::join!(guest, call(at, None, &asked, LONG));
        assert!(
            matches!(hung_up, Err(RpcError::NoAnswer { .. })),
            "{hung_up:?}"
        );
        drop(listener);
        let gone = call(at, None, &asked, LONG).await;
        assert!(
            matches!(gone, Err(RpcError::Unreachable { .. })),
            "{gone:?}"
        );
    }
}
