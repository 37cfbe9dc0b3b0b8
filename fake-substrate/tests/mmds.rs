//! The golden table of `golden/mmds`: requests, and the bytes Firecracker answers.
//!
//! Guests are written against these bytes and meet Firecracker in production; when one changes,
//! a machine that boots on a laptop may not boot there. The README beside the table says how to
//! read a case and which differences are left.

mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fake_substrate::mmds::http::{self, Outcome};
use fake_substrate::mmds::store::Store;
use fake_substrate::mmds::token::{TokenAuthority, TokenKey};
use fake_substrate::mmds::{Contents, Service, Version, routes};
use golden::{Case, End, Text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// When every request of the table arrives, in milliseconds of the service's clock.
const NOW: u64 = 1_000_000;

/// An answer that is too short leaves the reader waiting on an open connection; this is when it
/// gives up and shows what it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// A case is dropped silently when its file is; the table says how many there are.
const CASES: usize = 57;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mmds")
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .expect("the table is a folder")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "http")
        })
        .collect();
    files.sort();
    files.iter().map(|path| Case::read(path)).collect()
}

fn service(serve: &str) -> Service {
    let mut store = Store::default();
    if serve != "empty" {
        let text = fs::read(folder().join("document.json")).expect("the document");
        let document = serde_json::from_slice(&text).expect("the document is JSON");
        store.put(document).expect("the document fits");
    }
    let key = TokenKey::generate().expect("the kernel has randomness");
    Service {
        version: match serve {
            "v1" => Version::V1,
            "v2" | "empty" | "raw" => Version::V2,
            other => panic!("no service is called {other:?}"),
        },
        contents: match serve {
            "raw" => Contents::Raw(b"{\"latest\": not json".as_slice().into()),
            _ => Contents::Store(store),
        },
        tokens: TokenAuthority::new(key, "golden"),
    }
}

async fn connect(service: Service) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let respond: http::Respond =
        Arc::new(move |_, head| Outcome::Answer(routes::answer(&service, head, NOW)));
    tokio::spawn(http::serve(listener, respond));
    TcpStream::connect(address).await.expect("it listens")
}

/// Plays a case and says what was wrong, in the escapes of the table.
async fn play(case: &Case) -> Result<(), String> {
    let service = service(&case.serve);
    let token = service.tokens.issue(60, NOW).expect("a token");
    let expired = service.tokens.issue(1, NOW - 1000).expect("a token");
    let mut connection = connect(service).await;
    for exchange in &case.exchanges {
        let request = exchange.request.bytes(&token, &expired);
        connection.write_all(&request).await.expect("it is read");
        let expected = exchange.here.as_ref().unwrap_or(&exchange.firecracker);
        let mut answer = vec![0; expected.len()];
        let read = read_up_to(&mut connection, &mut answer).await;
        answer.truncate(read);
        if !expected.matches(&answer) {
            return Err(differs(expected, &answer));
        }
    }
    match case.here_then.unwrap_or(case.then) {
        End::Open => still_answers(&mut connection).await,
        End::Closed | End::Reset => is_closed(&mut connection).await,
    }
}

async fn read_up_to(connection: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match timeout(PATIENCE, connection.read(&mut buffer[filled..])).await {
            Ok(Ok(read)) if read > 0 => filled += read,
            _ended_or_gave_up => break,
        }
    }
    filled
}

fn differs(expected: &Text, answer: &[u8]) -> String {
    format!(
        "expected\n{}\nbut read\n{}",
        expected,
        answer.escape_ascii()
    )
}

/// An open connection is one that answers again: also proves that nothing followed the answer.
async fn still_answers(connection: &mut TcpStream) -> Result<(), String> {
    const PROBE: &[u8] = b"BREW / HTTP/1.1\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 501 \r\nServer: Firecracker API\r\n\
        Connection: keep-alive\r\nContent-Type: application/json\r\n\
        Content-Length: 24\r\n\r\nUnsupported HTTP method.";
    let sent = connection.write_all(PROBE).await;
    let mut answer = vec![0; ANSWER.len()];
    let read = read_up_to(connection, &mut answer).await;
    if sent.is_ok() && answer == ANSWER {
        return Ok(());
    }
    let read = answer[..read].escape_ascii();
    Err(format!(
        "the connection should be open; a next request read {read}"
    ))
}

async fn is_closed(connection: &mut TcpStream) -> Result<(), String> {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let ended = timeout(PATIENCE, connection.read_to_end(&mut rest)).await;
    if ended.is_ok() && rest.is_empty() {
        return Ok(());
    }
    let rest = rest.escape_ascii();
    Err(format!(
        "the connection should be closed; it went on with \"{rest}\""
    ))
}

#[tokio::test]
async fn every_answer_has_firecrackers_bytes_or_a_listed_difference() {
    let cases = cases();
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(failure) = play(case).await {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(cases.len(), CASES, "cases in {}", folder().display());
}

#[test]
fn a_difference_is_one_and_says_why() {
    for case in cases() {
        let name = &case.name;
        let bytes_differ = case
            .exchanges
            .iter()
            .any(|exchange| exchange.here.is_some());
        let differs = bytes_differ || case.here_then.is_some();
        assert_eq!(
            differs,
            case.why.is_some(),
            "{name}: `why` comes with `~` or `here`"
        );
        for exchange in &case.exchanges {
            assert_ne!(
                Some(&exchange.firecracker),
                exchange.here.as_ref(),
                "{name}"
            );
        }
        assert_ne!(Some(case.then), case.here_then, "{name}");
    }
}

#[test]
fn the_readme_lists_every_difference_and_no_other() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the README");
    let (_, differences) = readme
        .split_once("## Differences")
        .expect("the section stands");
    let listed: Vec<_> = differences
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<_> = cases()
        .iter()
        .filter_map(|case| Some(format!("| `{}` | {} |", case.name, case.why.as_ref()?)))
        .collect();
    assert_eq!(listed, expected);
}
