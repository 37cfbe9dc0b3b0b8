//! The socket and the bytes; what needs a real Postgres is a scenario.

use tokio::io::{DuplexStream, duplex};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

use crate::layout::Layout;
use crate::supervise::Server;

use super::*;

/// A server on loopback, where 127.0.0.1 plays the host.
async fn served(desk: &Arc<Desk>, host: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (desk, host) = (Arc::clone(desk), host.parse().unwrap());
    tokio::spawn(async move { serve_tcp(&desk, &listener, host).await });
    address
}

/// A caller without a network, for whom paused time passes only when everybody waits for it. Its
/// pipe holds that many bytes.
fn called(desk: &Arc<Desk>, holds: usize) -> (DuplexStream, JoinHandle<Result<(), CallError>>) {
    let (host, machine) = duplex(holds);
    let desk = Arc::clone(desk);
    let conversation = tokio::spawn(async move { conversation(&desk, machine).await });
    (host, conversation)
}

fn desk() -> (tempfile::TempDir, Arc<Desk>) {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::new(Layout::new(dir.path()));
    (dir, desk)
}

/// Takes connections and answers nobody.
fn deaf_postgres(desk: &Desk) -> UnixListener {
    let folder = desk.layout.socket_dir();
    std::fs::create_dir_all(&folder).unwrap();
    UnixListener::bind(folder.join(".s.PGSQL.5433")).unwrap()
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, body: &[u8]) {
    let packed = prefix::encode(body).unwrap();
    stream.write_all(&packed).await.unwrap();
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Response {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Response::decode(&body).unwrap()
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, body: &[u8]) -> Response {
    say(stream, body).await;
    hear(stream).await
}

fn request(command: Command) -> Vec<u8> {
    Request::Known(command).encode().unwrap()
}

#[tokio::test]
async fn several_requests_on_one_connection_are_answered_in_every_state() {
    let (_dir, desk) = desk();
    let mut host = TcpStream::connect(served(&desk, "127.0.0.1").await)
        .await
        .unwrap();
    let health = ask(&mut host, &request(Command::Health))
        .await
        .health
        .unwrap();
    assert_eq!(
        (health.state.as_str(), health.ready_since),
        ("booting", None)
    );

    desk.tell(Lifecycle::Starting);
    let refused = ask(&mut host, &request(Command::Checkpoint)).await;
    assert!(!refused.ok);
    assert!(
        refused
            .error
            .unwrap()
            .contains("while the machine is starting")
    );

    let unknown = ask(&mut host, b"\x81\xa3cmd\xa8teleport").await;
    assert!(unknown.error.unwrap().contains("teleport"));

    let garbled = ask(&mut host, b"not MessagePack").await;
    assert!(
        !garbled.ok,
        "garbage within a frame is answered, and the next request still read"
    );

    let known = ask(&mut host, &request(Command::Capabilities))
        .await
        .commands
        .unwrap();
    assert!(known.contains(&"health".to_owned()) && known.contains(&"promote".to_owned()));
}

#[tokio::test]
async fn health_is_answered_in_every_state_and_says_what_it_could_not_ask() {
    let (_dir, desk) = desk();
    let (mut host, _conversation) = called(&desk, 1 << 16);
    for state in Lifecycle::ALL {
        desk.tell(state);
        let answer = ask(&mut host, &request(Command::Health)).await;
        assert!(answer.ok && answer.error.is_none(), "{answer:?}");
        let health = answer.health.unwrap();
        assert_eq!(health.state, state.as_str());
        let not_asked = "asking Postgres: it does not run".to_owned();
        assert_eq!(
            health.unanswered.contains(&not_asked),
            state != Lifecycle::Booting,
            "{health:?}"
        );
        // There is no such folder in a temporary tree.
        assert!(health.disk.error.unwrap().contains("var/lib/postgresql"));
    }
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "a file in a temporary folder need not be atomic"
)]
async fn a_postgres_that_does_not_answer_is_told_and_waited_for_no_longer_than_that() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    desk.server_started(Server::Postgres, Some(17));
    std::fs::create_dir_all(desk.layout.pgdata()).unwrap();
    let ready = "17\n/d\n1\n5433\n/s\n*\n1 2\nready   \n";
    std::fs::write(desk.layout.pgdata().join("postmaster.pid"), ready).unwrap();
    let _others_wait_for_it = desk.look.acquire().await.unwrap();
    let (mut host, _conversation) = called(&desk, 1 << 16);
    let asked = request(Command::Health);
    let answer = clock::within(Duration::from_secs(5), ask(&mut host, &asked));
    let health = answer.await.unwrap().health.unwrap();
    assert_eq!(health.unanswered, ["asking Postgres: no answer within 3 s"]);
    assert_eq!((health.postgres.up, health.postgres.pid), (true, Some(17)));
}

#[tokio::test]
async fn a_command_without_postgres_fails_in_words_with_a_way_out() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    let (mut host, _conversation) = called(&desk, 1 << 16);
    for command in [
        Command::Checkpoint,
        Command::Reload,
        Command::PrepareFork,
        Command::ArchiveNow,
    ] {
        let name = command.name();
        let error = ask(&mut host, &request(command)).await.error.unwrap();
        assert!(error.starts_with(&format!("{name} failed: ")), "{error}");
        assert!(error.contains("over the socket"), "{error}");
        assert!(error.contains("\nHINT: "), "{error}");
    }
}

#[tokio::test]
async fn a_shutdown_is_answered_before_it_is_carried_out() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Starting);
    let mut host = TcpStream::connect(served(&desk, "127.0.0.1").await)
        .await
        .unwrap();
    assert!(ask(&mut host, &request(Command::Shutdown)).await.ok);
    desk.stop_requested().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_carried_out_for_a_caller_that_did_not_wait() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    let _deaf = deaf_postgres(&desk);
    let (mut host, _conversation) = called(&desk, 1 << 16);
    say(&mut host, &request(Command::Shutdown)).await;
    drop(host);
    clock::within(IDLE, desk.stop_requested()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_is_not_the_host_is_hung_up_on_unheard() {
    let (_dir, desk) = desk();
    let mut stranger = TcpStream::connect(served(&desk, "127.0.0.9").await)
        .await
        .unwrap();
    // The write may fail already: the machine hangs up without reading.
    let asked = stranger
        .write_all(&prefix::encode(&request(Command::Shutdown)).unwrap())
        .await;
    let mut bytes = Vec::new();
    let read = stranger.read_to_end(&mut bytes).await;
    assert!(
        bytes.is_empty(),
        "an answer came: {bytes:?} ({asked:?}, {read:?})"
    );
    let stopped = clock::within(Duration::from_millis(50), desk.stop_requested()).await;
    assert!(stopped.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_oversized_request_ends_the_conversation_by_its_length_alone() {
    let (_dir, desk) = desk();
    let (mut host, conversation) = called(&desk, 1 << 16);
    let length = u32::try_from(BODY_LIMIT).unwrap() + 1;
    host.write_all(&length.to_be_bytes()).await.unwrap();
    let ended = conversation.await.unwrap();
    assert!(matches!(ended, Err(CallError::Prefix(_))), "{ended:?}");
    let mut bytes = Vec::new();
    host.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_waited_for_until_the_idle_deadline_and_no_longer() {
    let (_dir, desk) = desk();
    let packed = prefix::encode(&request(Command::Health)).unwrap();
    let (mut host, conversation) = called(&desk, 1 << 16);
    // A byte now and then does not buy more time.
    for byte in &packed[..3] {
        host.write_all(&[*byte]).await.unwrap();
        clock::pause(IDLE / 4).await;
    }
    assert!(!conversation.is_finished());
    let ended = conversation.await.unwrap();
    assert!(matches!(ended, Err(CallError::Idle)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_take_its_answer_is_hung_up_on() {
    let (_dir, desk) = desk();
    let (mut host, conversation) = called(&desk, 32);
    say(&mut host, &request(Command::Capabilities)).await;
    let ended = conversation.await.unwrap();
    assert!(matches!(ended, Err(CallError::NotTaken)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn many_callers_hear_of_the_health_while_a_command_is_under_way() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    let under_way = desk.work.acquire().await.unwrap();
    let (mut waiting, conversation) = called(&desk, 1 << 16);
    say(&mut waiting, &request(Command::Checkpoint)).await;
    for _ in 0..16 {
        let (mut host, _conversation) = called(&desk, 1 << 16);
        assert!(ask(&mut host, &request(Command::Health)).await.ok);
    }
    assert!(!conversation.is_finished());
    drop(under_way);
    // Its turn has come; there is no Postgres here.
    assert!(!hear(&mut waiting).await.ok);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_gives_its_turn_to_the_next() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    let under_way = desk.work.acquire().await.unwrap();
    let (mut gone, conversation) = called(&desk, 1 << 16);
    say(&mut gone, &request(Command::PrepareFork)).await;
    let (mut next, _conversation) = called(&desk, 1 << 16);
    say(&mut next, &request(Command::Checkpoint)).await;
    drop(gone);
    conversation.await.unwrap().unwrap();
    drop(under_way);
    assert!(!hear(&mut next).await.ok);
    assert_eq!(desk.work.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_is_given_up_in_words() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    let _under_way = desk.work.acquire().await.unwrap();
    let (mut host, _conversation) = called(&desk, 1 << 16);
    let error = ask(&mut host, &request(Command::Checkpoint)).await.error;
    let words = "checkpoint was given up after 600 s\nHINT: ";
    assert!(error.as_ref().unwrap().starts_with(words), "{error:?}");
    let error = ask(&mut host, &request(Command::ArchiveNow)).await.error;
    let words = "archive_now has waited 30 s for a command that is under way; nothing was done";
    assert!(error.as_ref().unwrap().starts_with(words), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_in_one_piece_are_answered_in_their_order() {
    let (_dir, desk) = desk();
    let (mut host, _conversation) = called(&desk, 1 << 16);
    let both = [Command::Promote, Command::Capabilities].map(request);
    let both = both.map(|body| prefix::encode(&body).unwrap()).concat();
    host.write_all(&both).await.unwrap();
    assert!(hear(&mut host).await.error.unwrap().contains("promote"));
    assert!(hear(&mut host).await.commands.is_some());
}
