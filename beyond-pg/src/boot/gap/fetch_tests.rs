//! Claims about sinks that answer badly: nothing of it is taken for WAL, and it is asked again.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::client::{Client, ClientError};
use super::plan::Part;
use super::{GapError, bytes_of};
use crate::settings::{Secret, Sink, SinkAddress, SinkPolicy};
use crate::wal::{SegmentName, SegmentSize};

/// What comes of a segment of which ten bytes count, when the sink answers this and hangs up; or never
/// does.
async fn answered(answer: Option<&[u8]>) -> Result<Vec<u8>, GapError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let sink = Sink {
        address: SinkAddress {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        },
        policy: SinkPolicy::Required,
        replication_password: Secret::new("secret"),
    };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
        match answer {
            Some(answer) => stream.write_all(answer).await.unwrap(),
            None => std::future::pending().await,
        }
        drop(stream);
        std::future::pending::<()>().await;
    };
    let part = Part {
        segment: SegmentName::new(1, 4, SegmentSize::DEFAULT).unwrap(),
        served: "000000010000000000000004.partial".to_owned(),
        bytes: 10,
    };
    let client = Client::new(&sink);
    tokio::select! {
        () = serve => unreachable!("it never ends"),
        bytes = bytes_of(&client, &part) => bytes,
    }
}

fn ok(length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn what_counts_is_taken_and_what_lies_behind_it_is_not() {
    let bytes = answered(Some(&ok(12, "0123456789ab"))).await.unwrap();
    assert_eq!(bytes, b"0123456789");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_or_refused_or_none_is_no_wal_and_asked_for_again() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("cut off in the middle", ok(12, "01234")),
        ("less than was promised", ok(9, "012345678")),
        (
            "a length that is none",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
        ),
        (
            "gone",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        ),
        ("hung up", Vec::new()),
    ];
    for (what, answer) in cases {
        let error = answered(Some(&answer)).await.unwrap_err();
        assert!(error.may_pass(), "{what}: {error}");
    }
    let short = answered(Some(&ok(9, "012345678"))).await.unwrap_err();
    assert!(matches!(
        short,
        GapError::Short {
            got: 9,
            promised: 10,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_answer_is_not_waited_for_without_end() {
    let error = answered(None).await.unwrap_err();
    assert!(
        matches!(error, GapError::Sink(ClientError::Silent { .. })),
        "{error}"
    );
    assert!(error.may_pass());
}
