//! The socket and the bytes; what needs a real Postgres is a scenario.

use tokio::net::TcpStream;
use wire::rpc::Command;

use super::*;

/// A server on loopback, where 127.0.0.1 plays the host.
async fn served(desk: &Arc<Desk>, host: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (desk, host) = (Arc::clone(desk), host.parse().unwrap());
    tokio::spawn(async move { serve_tcp(&desk, &listener, host).await });
    address
}

fn desk() -> (tempfile::TempDir, Arc<Desk>) {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::new(Layout::new(dir.path()));
    (dir, desk)
}

async fn ask(stream: &mut TcpStream, body: &[u8]) -> Response {
    stream
        .write_all(&prefix::encode(body).unwrap())
        .await
        .unwrap();
    let mut decoder = Decoder::new();
    loop {
        if let Some(body) = decoder.next_body().unwrap() {
            return Response::decode(&body).unwrap();
        }
        let mut bytes = [0; 512];
        let read = stream.read(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "the machine hung up instead of answering");
        decoder.push(&bytes[..read]);
    }
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
    assert!(known.contains(&"health".to_owned()) && !known.contains(&"promote".to_owned()));
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

#[tokio::test]
async fn an_oversized_request_ends_the_conversation() {
    let (_dir, desk) = desk();
    let mut host = TcpStream::connect(served(&desk, "127.0.0.1").await)
        .await
        .unwrap();
    host.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _broken_or_closed = host.read_to_end(&mut bytes).await.is_err();
    assert!(bytes.is_empty());
}

#[test]
fn being_ready_again_has_a_time_of_its_own() {
    let (_dir, desk) = desk();
    desk.tell(Lifecycle::Ready);
    assert!(desk.state.borrow().ready_at.is_some());
    desk.tell(Lifecycle::Starting);
    assert_eq!(desk.state.borrow().ready_at, None);
}
