//! What is promised about objects when several write, when one dies, and when the process ends.

use std::path::Path;
use std::sync::Arc;

use fake_substrate::fault::Guard;
use fake_substrate::s3::client::{Answer, Call, Client, ClientError};
use fake_substrate::s3::faults::Operation;
use fake_substrate::until::{self, Budget, Look};
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::{Body, Method, StatusCode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Serving;

const WRITERS: usize = 32;

/// Every body takes so long that all of them are under way before the first is there.
async fn overlapping(substrate: &Serving) -> Guard {
    let slow = substrate.s3.slow(Operation::Put, 500_000).start().await;
    slow.expect("started")
}

fn with(condition: &'static str, value: &str, body: String) -> Call<'static> {
    Call::new(Method::PUT, "wal/0001")
        .header(condition, value)
        .body(body)
}

/// Exactly one of the answers is a success; which one.
fn the_winner(answers: Vec<Result<Answer, ClientError>>) -> usize {
    let statuses: Vec<StatusCode> = answers
        .into_iter()
        .map(|answer| answer.expect("an answer").status)
        .collect();
    let winners: Vec<usize> = (0..statuses.len())
        .filter(|writer| statuses[*writer] == StatusCode::OK)
        .collect();
    let others = statuses
        .iter()
        .filter(|status| **status == StatusCode::PRECONDITION_FAILED);
    assert_eq!(others.count(), statuses.len() - 1, "{statuses:?}");
    assert_eq!(winners.len(), 1, "{statuses:?}");
    winners[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_that_want_nothing_there_exactly_one_wins() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let body = |writer: usize| format!("{writer:02}").repeat(50_000);
    let _overlapping = overlapping(&substrate).await;
    let writes = (0..WRITERS).map(|writer| {
        substrate
            .client
            .send(with("if-none-match", "*", body(writer)))
    });
    let winner = the_winner(join_all(writes).await);
    let stored = substrate.client.get("wal/0001").await.expect("an answer");
    assert!(
        stored.body == body(winner).into_bytes(),
        "another one's bytes"
    );
    substrate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_that_replace_the_same_version_exactly_one_wins() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let first = substrate
        .client
        .put("wal/0001", "first")
        .await
        .expect("an answer");
    let etag = first.headers["etag"].to_str().expect("text");
    let body = |writer: usize| format!("{writer:02}").repeat(50_000);
    let writes =
        (0..WRITERS).map(|writer| substrate.client.send(with("if-match", etag, body(writer))));
    let winner = the_winner(join_all(writes).await);
    let stored = substrate.client.get("wal/0001").await.expect("an answer");
    assert!(
        stored.body == body(winner).into_bytes(),
        "another one's bytes"
    );
    substrate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_completions_that_want_nothing_there_exactly_one_wins() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let uploads = (0..8).map(|writer| uploaded(&substrate, writer));
    let uploads: Vec<(String, String)> = join_all(uploads).await;
    let completions = uploads.iter().map(|(id, etag)| {
        let parts = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            etag.replace('"', "&quot;")
        );
        let call = Call::new(Method::POST, "wal/0001").query("uploadId", id.as_str());
        substrate.client.send(call.header("if-none-match", "*").body(parts))
    });
    let winner = the_winner(join_all(completions).await);
    let stored = substrate.client.get("wal/0001").await.expect("an answer");
    assert!(stored.body == part_of(winner), "another one's bytes");
    // Who lost may try again under another condition: its parts are there.
    assert_eq!(entries(&dir.path().join("s3/uploads")), 7);
    substrate.stop().await;
}

/// So much that putting it together takes a while.
fn part_of(writer: usize) -> Vec<u8> {
    format!("{writer:02}").repeat(2 << 20).into_bytes()
}

/// An upload with its one part; its id, and the part's ETag.
async fn uploaded(substrate: &Serving, writer: usize) -> (String, String) {
    let begin = Call::new(Method::POST, "wal/0001").query("uploads", "");
    let begun = substrate.client.send(begin).await.expect("an answer");
    let text = String::from_utf8(begun.body).expect("text");
    let id = text
        .split("UploadId>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let id = id.expect("an id").to_owned();
    let part = Call::new(Method::PUT, "wal/0001")
        .query("uploadId", id.as_str())
        .query("partNumber", "1")
        .body(part_of(writer));
    let part = substrate.client.send(part).await.expect("an answer");
    let etag = part.headers["etag"].to_str().expect("text").to_owned();
    (id, etag)
}

#[tokio::test]
async fn an_upload_that_dies_leaves_what_was_there_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    substrate
        .client
        .put("wal/0001", "whole")
        .await
        .expect("an answer");
    let dying = stream::iter([Ok(vec![b'x'; 1 << 20]), Err("the client dies")]);
    let call = Call::new(Method::PUT, "wal/0001").header("content-length", "2097152");
    let died = substrate
        .client
        .send_streaming(call, Body::wrap_stream(dying))
        .await;
    died.expect_err("there is nobody to answer");

    let stored = substrate.client.get("wal/0001").await.expect("an answer");
    assert_eq!(stored.body, b"whole");
    // The server learns of a client's death when it reads next.
    let incoming = dir.path().join("s3/incoming");
    until("nothing remains", async || entries(&incoming) == 0).await;
    substrate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_in_the_middle_of_an_upload_learns_why_and_may_go_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let keys = substrate.s3.keys.clone();
    let nowhere = Client::new(&substrate.s3.host_endpoint, "not-there", keys).expect("a client");
    // The refusal needs nothing of the body, and most of it is still to be read then.
    let _slowly = overlapping(&substrate).await;
    let uploads = (0..WRITERS).map(async |_writer| {
        let refused = nowhere.put("wal/0001", vec![b'x'; 100_000]).await;
        let said = String::from_utf8(refused.expect("an answer").body).expect("text");
        assert!(said.contains("<Code>NoSuchBucket</Code>"), "{said}");
        // Over the same connection.
        let after = nowhere.head("wal/0001").await.expect("an answer");
        assert_eq!(after.status, StatusCode::NOT_FOUND);
    });
    join_all(uploads).await;
    substrate.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_what_its_sender_said_leaves_what_was_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    substrate
        .client
        .put("wal/0001", "whole")
        .await
        .expect("an answer");
    for (header, value) in [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        (
            "x-amz-checksum-sha256",
            "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        ),
        ("x-amz-checksum-crc32", "AAAAAA=="),
    ] {
        let call = Call::new(Method::PUT, "wal/0001")
            .header(header, value)
            .body("torn");
        let refused = substrate.client.send(call).await.expect("an answer");
        let said = String::from_utf8(refused.body).expect("text");
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{header}: {said}");
        assert!(said.contains("<Code>BadDigest</Code>"), "{header}: {said}");
        let stored = substrate.client.get("wal/0001").await.expect("an answer");
        assert_eq!(stored.body, b"whole", "{header}");
    }
    assert_eq!(entries(&dir.path().join("s3/incoming")), 0);
    substrate.stop().await;
}

#[tokio::test]
async fn who_reads_an_object_reads_on_in_it_while_it_is_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let (old, new) = (vec![b'o'; 30_000], vec![b'n'; 30_000]);
    substrate
        .client
        .put("wal/0001", old.clone())
        .await
        .expect("an answer");
    // It is read in ten pieces, and replaced as soon as that has begun.
    let slow = substrate.s3.slow(Operation::Get, 30_000).start().await;
    let slow = slow.expect("started");
    let replacing = async {
        until("the reading has begun", async || {
            let standing = substrate.admin.faults().await.expect("an answer");
            standing[0].struck == 1
        })
        .await;
        substrate.client.put("wal/0001", new.clone()).await
    };
    let (read, replaced) = tokio::join!(substrate.client.get("wal/0001"), replacing);
    assert!(replaced.expect("an answer").status.is_success());
    let read = read.expect("an answer").body;
    assert!(read == old || read == new, "a mixture of two versions");
    slow.heal().await.expect("healed");
    let stored = substrate.client.get("wal/0001").await.expect("an answer");
    assert!(stored.body == new);
    substrate.stop().await;
}

#[tokio::test]
async fn a_restart_remembers_objects_uploads_keys_and_authority() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(dir.path()).await;
    let call = Call::new(Method::PUT, "a//ä").header("x-amz-meta-lsn", "0/16B3");
    substrate
        .client
        .send(call.body("whole"))
        .await
        .expect("an answer");
    substrate.client.put("a", "gone").await.expect("an answer");
    substrate.client.delete("a").await.expect("an answer");
    let (id, _etag) = uploaded(&substrate, 1).await;
    let (keys, authority) = (
        substrate.s3.keys.clone(),
        substrate.s3.authority_pem.clone(),
    );
    substrate.stop().await;
    // What a process that was killed leaves of the uploads it was taking in.
    std::fs::File::create(dir.path().join("s3/incoming/0")).expect("made");

    let substrate = Serving::start(dir.path()).await;
    assert_eq!(substrate.s3.keys, keys);
    assert_eq!(substrate.s3.authority_pem, authority);
    let stored = substrate.client.get("a//ä").await.expect("an answer");
    assert_eq!(
        (stored.status, stored.body),
        (StatusCode::OK, b"whole".to_vec())
    );
    assert_eq!(stored.headers["x-amz-meta-lsn"], "0/16B3");
    let gone = substrate.client.head("a").await.expect("an answer");
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let parts = Call::new(Method::GET, "wal/0001").query("uploadId", id);
    let parts = substrate.client.send(parts).await.expect("an answer");
    let parts = String::from_utf8(parts.body).expect("text");
    assert!(parts.contains("<PartNumber>1</PartNumber>"), "{parts}");
    assert_eq!(entries(&dir.path().join("s3/incoming")), 0);
    substrate.stop().await;
}

#[tokio::test]
async fn https_is_trusted_by_those_who_trust_the_substrate_and_by_nobody_else() {
    let dirs = [tempfile::tempdir(), tempfile::tempdir()].map(|dir| dir.expect("a folder"));
    let substrate = Serving::start(dirs[0].path()).await;
    let stranger = Serving::start(dirs[1].path()).await;
    handshake(&substrate.s3.host_tls_endpoint, &substrate.s3.authority_pem)
        .await
        .expect("its own authority");
    handshake(&substrate.s3.host_tls_endpoint, &stranger.s3.authority_pem)
        .await
        .expect_err("another substrate's authority");
    substrate.stop().await;
    stranger.stop().await;
}

async fn handshake(endpoint: &str, authority_pem: &str) -> std::io::Result<()> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = endpoint.trim_start_matches("https://");
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map(drop)
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("a folder").count()
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looking = until::until::<(), ()>(Budget::SUBSTRATE_HEALTH, async || match look().await {
        true => Look::Found(()),
        false => Look::NotYet(what.to_owned()),
    });
    looking.await.expect("in time");
}
