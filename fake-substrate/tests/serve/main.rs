//! The serving process as the host meets it: the admin API through its client, over real
//! sockets, and what a restart remembers.

mod faults;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake_substrate::admin::{
    AdminClient, AdminError, AdminToken, LinkReport, MachineSummary, Metadata, MetadataPatch,
    MmdsMode,
};
use fake_substrate::mmds::http::{self, Outcome, Tear};
use fake_substrate::mmds::routes::{Answer, GuestError};
use fake_substrate::serve::{self, ServeError, ServeOptions};
use faults::silent;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const DB: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 1);
const TOKEN: &str = "test-token";

struct Substrate {
    admin_url: String,
    mmds: std::net::SocketAddr,
    link: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Substrate {
    async fn start(state_dir: &Path) -> Self {
        let token = AdminToken::new(TOKEN).expect("a token");
        let options = ServeOptions::on_loopback(state_dir.to_owned(), token).await;
        let options = options.expect("ports");
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let link_address = address(&options.link_listener);
        let mmds_address = address(&options.mmds_listener);
        let admin_url = format!("http://{}/", address(&options.admin_listener));
        let serving = tokio::spawn(serve::run(options, async {
            stopped.await.expect("the test stops it");
        }));
        Self {
            admin_url,
            mmds: mmds_address,
            link: link_address,
            stop,
            serving,
        }
    }

    fn admin(&self) -> AdminClient {
        self.admin_with(TOKEN)
    }

    fn admin_with(&self, token: &str) -> AdminClient {
        let token = AdminToken::new(token).expect("a token");
        AdminClient::new(&self.admin_url, token).expect("a client")
    }

    async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let served = self.serving.await.expect("no panic");
        served.expect("it stops without an error");
    }
}

fn metadata() -> Metadata {
    Metadata::from([("POSTGRES_PASSWORD".into(), "secret".into())])
}

#[tokio::test]
async fn a_machine_is_registered_changed_listed_and_forgotten() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let admin = substrate.admin();
    admin.health().await.expect("it serves");

    admin.put_machine("db", DB, metadata()).await.expect("free");
    let changes = MetadataPatch::from([
        ("POSTGRES_PASSWORD".into(), Some("rotated".into())),
        ("BEYOND_PG_TIER".into(), Some("single".into())),
        ("ABSENT".into(), None),
    ]);
    admin.patch_metadata("db", &changes).await.expect("fits");
    let read = admin.metadata("db").await.expect("known");
    assert_eq!(read["POSTGRES_PASSWORD"], "rotated");
    assert_eq!(read.len(), 2);

    let summary = |mode| MachineSummary {
        name: "db".into(),
        link_local: DB,
        mode,
    };
    let listed = admin.machines().await.expect("a list");
    assert_eq!(listed, [summary(MmdsMode::V2)]);

    admin.put_mode("db", MmdsMode::V1).await.expect("known");
    let listed = admin.machines().await.expect("a list");
    assert_eq!(listed, [summary(MmdsMode::V1)]);

    admin.delete_machine("db").await.expect("known");
    assert_eq!(admin.machines().await.expect("a list"), []);
    substrate.stop().await;
}

#[tokio::test]
async fn a_restarted_substrate_knows_its_machines_and_no_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Substrate::start(dir.path()).await;
    let admin = first.admin();
    admin.put_machine("db", DB, metadata()).await.expect("free");
    admin.put_mode("db", MmdsMode::V1).await.expect("known");
    admin.add_fault(&silent("db")).await.expect("known");
    first.stop().await;

    let second = Substrate::start(dir.path()).await;
    let admin = second.admin();
    assert_eq!(admin.metadata("db").await.expect("known"), metadata());
    assert_eq!(
        admin.machines().await.expect("a list")[0].mode,
        MmdsMode::V1
    );
    assert_eq!(admin.faults().await.expect("a list"), []);
    second.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_but_health_answers() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let guest = substrate.admin_with("guess");
    guest.health().await.expect("health tells nothing");
    for refused in [
        guest.machines().await.err(),
        guest.put_machine("db", DB, metadata()).await.err(),
        guest.metadata("db").await.err(),
        guest.put_mode("db", MmdsMode::V1).await.err(),
        guest.delete_machine("db").await.err(),
        guest.link("db").await.err(),
        guest.add_fault(&silent("db")).await.err(),
        guest.clear_faults().await.err(),
        guest.shut_down_over_link("db").await.err(),
        guest.log_lines("db", 0).await.err(),
        guest.rpc("db", &json!({}), Duration::ZERO).await.err(),
    ] {
        let refused = refused.expect("a wrong token is refused");
        assert!(
            matches!(&refused, AdminError::Refused { status, .. } if status.as_u16() == 401),
            "{refused}"
        );
    }
    let machines = substrate.admin().machines().await.expect("a list");
    assert_eq!(machines, [], "nothing was registered");
    substrate.stop().await;
}

#[tokio::test]
async fn a_refusal_says_what_was_tried_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let (admin, url) = (substrate.admin(), substrate.admin_url.clone());
    admin.put_machine("db", DB, metadata()).await.expect("free");

    let taken = admin.put_machine("other", DB, metadata()).await;
    assert_eq!(
        taken
            .expect_err("two machines with one address")
            .to_string(),
        format!(
            "PUT {url}machines/other: 409 Conflict: machine \"other\": 169.254.10.1 belongs to \
             machine \"db\"\nHINT: give it another address, or DELETE the other machine"
        )
    );
    let unknown = admin.metadata("a/../db").await;
    assert_eq!(
        unknown.expect_err("no such machine").to_string(),
        format!(
            "GET {url}machines/a%2F..%2Fdb/metadata: 404 Not Found: no machine is called \
             \"a/../db\"\nHINT: GET /machines lists the names; PUT /machines/{{name}} makes one"
        )
    );
    let huge = Metadata::from([("K".into(), "x".repeat(52_000))]);
    let too_large = admin.put_machine("db", DB, huge).await;
    assert!(
        matches!(&too_large, Err(AdminError::Refused { status, .. }) if status.as_u16() == 413)
    );
    assert_eq!(admin.metadata("db").await.expect("unchanged"), metadata());

    substrate.stop().await;
    let gone = admin.health().await.expect_err("nobody is home");
    assert!(matches!(gone, AdminError::Unreachable { .. }), "{gone}");
}

#[tokio::test]
async fn a_machine_that_never_linked_has_no_lines_and_cannot_be_asked() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let admin = substrate.admin();
    admin.put_machine("db", DB, metadata()).await.expect("free");
    assert_eq!(
        admin.link("db").await.expect("known"),
        LinkReport::default()
    );
    assert_eq!(admin.log_lines("db", 5).await.expect("known"), []);

    let status = |refused: AdminError| match refused {
        AdminError::Refused {
            status, refusal, ..
        } => (status.as_u16(), refusal.error),
        other => panic!("{other}"),
    };
    let asked = admin.shut_down_over_link("db").await;
    assert_eq!(
        status(asked.expect_err("over what")),
        (409, "machine \"db\" has no link to ask it over".to_owned())
    );
    // Nothing leaves this host: the address that machines accept requests from is not its own.
    let rpc = async |request| {
        let asked = admin.rpc("db", &request, Duration::from_secs(60)).await;
        status(asked.expect_err("nobody answers"))
    };
    let (refused, why) = rpc(json!({"cmd": "health"})).await;
    assert_eq!(refused, 502);
    assert!(
        why.starts_with("no control RPC answers at 169.254.10.1:5430: "),
        "{why}"
    );
    assert_eq!(rpc(json!({"names": []})).await.0, 422);
    assert_eq!(rpc(json!({"cmd": "set_sync_standbys"})).await.0, 422);
    let unknown = admin.log_lines("other", 0).await;
    assert_eq!(status(unknown.expect_err("no such machine")).0, 404);
    substrate.stop().await;
}

#[tokio::test]
async fn a_connection_to_the_link_from_elsewhere_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let admin = substrate.admin();
    admin.put_machine("db", DB, metadata()).await.expect("free");
    let mut stranger = TcpStream::connect(substrate.link)
        .await
        .expect("it listens");
    let mut heard = Vec::new();
    drop(stranger.read_to_end(&mut heard).await);
    assert_eq!(heard, b"", "reset or closed, without a word");
    assert_eq!(
        admin.link("db").await.expect("known"),
        LinkReport::default()
    );
    substrate.stop().await;
}

#[tokio::test]
async fn an_address_nobody_registered_reads_an_empty_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let admin = substrate.admin();
    admin.put_machine("db", DB, metadata()).await.expect("free");

    let mut stranger = TcpStream::connect(substrate.mmds)
        .await
        .expect("it listens");
    let ask = b"PUT /latest/api/token HTTP/1.1\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n";
    stranger.write_all(ask).await.expect("sent");
    let token = read_body(&mut stranger).await;
    let ask = format!("GET /latest/meta-data HTTP/1.1\r\nX-metadata-token: {token}\r\n\r\n");
    stranger.write_all(ask.as_bytes()).await.expect("sent");
    let body = read_body(&mut stranger).await;
    assert_eq!(body, "Resource not found: /latest/meta-data.");
    substrate.stop().await;
}

#[tokio::test]
async fn a_silent_service_accepts_and_leaves_the_others_their_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(http::serve(
        listener,
        Arc::new(|_, head| match head.uri.path() {
            "/silent" => Outcome::Silence,
            _ => Outcome::Answer(Answer::from(GuestError::NoToken)),
        }),
    ));
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    silent
        .write_all(b"GET /silent HTTP/1.1\r\n\r\n")
        .await
        .expect("it is read");

    let mut other = TcpStream::connect(address).await.expect("it listens");
    for _ in 0..3 {
        other
            .write_all(b"GET /other HTTP/1.1\r\n\r\n")
            .await
            .expect("it is read");
        assert!(read_body(&mut other).await.starts_with("No MMDS token"));
    }
    let mut byte = [0];
    let nothing = silent.try_read(&mut byte).expect_err("no answer, no end");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

/// What of an answer arrives that was torn, and how the connection ended.
async fn torn(how: Tear) -> (String, Option<std::io::ErrorKind>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = Answer::from(GuestError::NoToken);
    tokio::spawn(http::serve(
        listener,
        Arc::new(move |_, _| Outcome::Torn(answer.clone(), how)),
    ));
    let mut guest = TcpStream::connect(address).await.expect("it listens");
    let ask = b"GET /latest/meta-data HTTP/1.1\r\n\r\n";
    guest.write_all(ask).await.expect("it is read");
    let mut arrived = Vec::new();
    let end = guest.read_to_end(&mut arrived).await;
    let arrived = String::from_utf8(arrived).expect("text");
    (arrived, end.err().map(|error| error.kind()))
}

#[tokio::test]
async fn a_torn_answer_ends_before_its_length_by_a_reset_or_a_close() {
    let (_, end) = torn(Tear::Reset).await;
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset));

    let (arrived, end) = torn(Tear::Closed).await;
    assert_eq!(end, None);
    let (head, body) = arrived.split_once("\r\n\r\n").expect("a head");
    let whole = Answer::from(GuestError::NoToken).body.len();
    assert!(head.contains(&format!("Content-Length: {whole}")), "{head}");
    assert_eq!(body.len(), whole / 2);
}

#[tokio::test]
async fn a_late_answer_is_the_same_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let delay = Duration::from_millis(10);
    tokio::spawn(http::serve(
        listener,
        Arc::new(move |_, _| Outcome::Late(delay, Answer::from(GuestError::NoToken))),
    ));
    let mut guest = TcpStream::connect(address).await.expect("it listens");
    let ask = b"GET /latest/meta-data HTTP/1.1\r\n\r\n";
    guest.write_all(ask).await.expect("it is read");
    assert!(read_body(&mut guest).await.starts_with("No MMDS token"));
}

/// Reads one answer by its Content-Length: the connection stays open.
async fn read_body(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let byte = connection.read_u8().await.expect("an answer");
        answer.push(byte);
        if answer.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(answer).expect("a head is text");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .expect("every answer has a length");
    let mut body = vec![0; length.parse().expect("a number")];
    connection.read_exact(&mut body).await.expect("the body");
    String::from_utf8(body).expect("a body is text")
}
