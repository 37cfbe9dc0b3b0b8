//! The client against a scripted service on loopback that, like the real one, never closes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::mmds::{MmdsError, fetch};
use super::{Metadata, Source};

const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj";

fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn token() -> String {
    answer("200", "text/plain", TOKEN)
}

fn json(body: &str) -> String {
    answer("200", "application/json", body)
}

/// A service that gives these answers, one for each request, and tells what it was asked.
struct Service {
    addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Service {
    async fn with(answers: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answers: Vec<_> = answers.into_iter().collect();
        let (asked, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.send(request(&mut stream).await).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                open.push(stream);
            }
            // Connections stay open, and so does the listener.
            std::future::pending::<()>().await;
        });
        Self { addr, requests }
    }

    async fn fetch(&self) -> Result<Metadata, MmdsError> {
        fetch(self.addr).await
    }

    fn requests(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap().to_lowercase()
}

#[tokio::test]
async fn a_document_is_read_from_a_connection_that_never_closes() {
    let document = r#"{"POSTGRES_PASSWORD":"secret","BEYOND_VOLUME_EPHEMERAL":true,"PORT":5,"GONE":null,"platform":{"nested":1}}"#;
    let mut service = Service::with([token(), json(document)]).await;

    let metadata = service.fetch().await.unwrap();

    assert_eq!(metadata.source, Source::Mmds);
    let values: Vec<_> = metadata
        .values
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("BEYOND_VOLUME_EPHEMERAL", "true"),
        ("PORT", "5"),
        ("POSTGRES_PASSWORD", "secret"),
    ];
    assert_eq!(values, expected);
    assert_eq!(metadata.problems, []);

    let requests = service.requests();
    let token = TOKEN.to_lowercase();
    assert!(
        requests[0].starts_with("put /latest/api/token http/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains("\r\nx-metadata-token-ttl-seconds: 60\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].starts_with("get /latest/meta-data http/1.1\r\n"),
        "{}",
        requests[1]
    );
    assert!(
        requests[1].contains("\r\naccept: application/json\r\n"),
        "{}",
        requests[1]
    );
    assert!(
        requests[1].contains(&format!("\r\nx-metadata-token: {token}\r\n")),
        "{}",
        requests[1]
    );
    for request in &requests {
        assert!(
            request.contains("\r\nhost: 169.254.169.254\r\n"),
            "{request}"
        );
        let body = request.contains("content-length") && !request.contains("content-length: 0");
        assert!(
            !body && !request.contains("transfer-encoding"),
            "it would be refused: {request}"
        );
    }
}

#[tokio::test]
async fn a_service_without_tokens_is_asked_without_one() {
    let not_found = answer(
        "404",
        "text/plain",
        "Resource not found: /latest/api/token.",
    );
    let mut service = Service::with([not_found, json(r#"{"BEYOND_INSTANCE_ID":"a"}"#)]).await;
    let metadata = service.fetch().await.unwrap();
    assert_eq!(metadata.values["BEYOND_INSTANCE_ID"], "a");
    assert!(!service.requests()[1].contains("x-metadata-token"));
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_told_apart_from_no_service() {
    let cases = [
        (
            vec![
                token(),
                answer(
                    "404",
                    "text/plain",
                    "Resource not found: /latest/meta-data.",
                ),
            ],
            "answered GET /latest/meta-data with status 404 Not Found: \"Resource not found: /latest/meta-data.\"",
        ),
        (
            vec![
                token(),
                answer("401", "text/plain", "MMDS token not valid."),
            ],
            "status 401",
        ),
        (
            vec![
                token(),
                answer("200", "text/plain", "POSTGRES_PASSWORD\nhidden"),
            ],
            "is not JSON (24 bytes, line 1, column 1)",
        ),
        (
            vec![token(), json("[\"hidden\"]")],
            "is a list, not an object",
        ),
        (vec![token(), json("null")], "is null, not an object"),
        (
            vec![answer("200", "text/plain", "a\r\nX-Evil: 1")],
            "session token that is no printable ASCII",
        ),
        (
            vec![answer("200", "text/plain", "")],
            "session token that is no printable ASCII",
        ),
        (
            vec![token(), json(&format!("\"{}\"", "x".repeat(300 << 10)))],
            "longer than 262144 bytes",
        ),
        (
            vec!["SSH-2.0-OpenSSH\r\n\r\n".to_owned()],
            "is it an HTTP service at all?",
        ),
    ];
    for (answers, expected) in cases {
        let error = Service::with(answers).await.fetch().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("HINT: "), "{text}");
        assert!(!error.is_absent(), "{text}");
        assert!(
            !text.contains("hidden"),
            "a document's content may be secret: {text}"
        );
    }
}

/// A service that gives each caller these bytes and hangs up, by a reset where nothing else tells the
/// caller that more was to come.
async fn hangs_up_after(bytes: &str, reset: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let bytes = bytes.to_owned();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
            if reset {
                stream.set_zero_linger().unwrap();
            }
        }
    });
    addr
}

#[tokio::test]
async fn a_service_that_breaks_off_is_told_apart_from_no_service() {
    let whole = json(r#"{"POSTGRES_PASSWORD":"x"}"#);
    let half = &whole[..whole.len() - 10];
    for (bytes, reset) in [
        (half, false),
        (half, true),
        ("HTTP/1.1 2", false),
        ("", true),
    ] {
        let addr = hangs_up_after(bytes, reset).await;
        let error = fetch(addr).await.unwrap_err();
        assert!(
            matches!(error, MmdsError::Http { .. }),
            "{bytes:?}: {error}"
        );
        assert!(!error.is_absent(), "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn a_length_that_is_too_short_makes_no_document_of_a_part() {
    let cut =
        json(r#"{"POSTGRES_PASSWORD":"x"}"#).replace("Content-Length: 25", "Content-Length: 9");
    let service = Service::with([token(), cut]).await;
    let error = service.fetch().await.unwrap_err();
    assert!(matches!(error, MmdsError::NotJson { .. }), "{error}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_an_absent_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = fetch(addr).await.unwrap_err();
    assert!(error.is_absent(), "{error}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("nothing listens at {addr}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_takes_the_connection_and_says_nothing_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = super::mmds::Service {
        addr: listener.local_addr().unwrap(),
        deadlines: super::mmds::Deadlines {
            connect: Duration::from_secs(2),
            answer: Duration::from_millis(20),
        },
    };
    let error = service.fetch().await.unwrap_err();
    assert!(matches!(error, MmdsError::Silent { .. }), "{error}");
    assert!(!error.is_absent(), "somebody is there: {error}");
}

#[tokio::test]
async fn a_setting_that_is_no_scalar_is_a_problem_and_others_are_not_ours() {
    let document = r#"{"BEYOND_PG_TIER":{"name":"single"},"network":{"a":1}}"#;
    let service = Service::with([token(), json(document)]).await;
    let metadata = service.fetch().await.unwrap();
    let problems: Vec<_> = metadata.problems.iter().map(ToString::to_string).collect();
    let accepted = "BEYOND_PG_TIER is an object; accepted: single, primary, replica or sink";
    assert_eq!(problems, [accepted]);
}
