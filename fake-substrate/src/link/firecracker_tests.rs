//! Byte for byte what a host tool sends and gets, over a real socket with a real guest behind it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fault::Faults;

use super::*;

struct Bridge {
    guest: TcpListener,
    path: PathBuf,
    machine: Arc<Machine>,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Bridge {
    async fn start() -> Self {
        let guest = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("vsock-db.sock");
        // What an earlier process left there.
        drop(UnixListener::bind(&path).expect("a socket"));
        let machine = Arc::new(Machine::new("db", Ipv4Addr::LOCALHOST));
        let host = Host {
            address: None,
            ..Host::new(dir.path().to_owned(), || 7, Arc::new(Faults::new(|| 7)))
        };
        let serving = tokio::spawn(serve(Arc::clone(&machine), path.clone(), host));
        Self {
            guest,
            path,
            machine,
            serving,
            _dir: dir,
        }
    }

    fn port(&self) -> u16 {
        self.guest.local_addr().expect("an address").port()
    }

    async fn tool(&self, says: &[u8]) -> UnixStream {
        let mut tool = connect(&self.path).await;
        tool.write_all(says).await.expect("taken");
        tool
    }

    async fn connected(&self, says: &str, answer: &str) -> (UnixStream, TcpStream) {
        let (mut tool, (guest, _host)) = tokio::join!(self.tool(says.as_bytes()), async {
            self.guest.accept().await.expect("the tool comes through")
        });
        let mut read = vec![0; answer.len()];
        tool.read_exact(&mut read).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&read), answer);
        (tool, guest)
    }
}

/// The listener takes the place of the stale file in its own time.
async fn connect(path: &Path) -> UnixStream {
    loop {
        if let Ok(tool) = UnixStream::connect(path).await {
            return tool;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tool_is_connected_and_host_ports_count_from_two_to_the_thirtieth() {
    let bridge = Bridge::start().await;
    let connect = format!("CONNECT {}\n", bridge.port());
    let (mut tool, mut guest) = bridge.connected(&connect, "OK 1073741824\n").await;
    tool.write_all(b"ask").await.expect("taken");
    let mut read = [0; 3];
    guest.read_exact(&mut read).await.expect("it comes through");
    assert_eq!(&read, b"ask");
    guest.write_all(b"answer").await.expect("taken");
    let mut read = [0; 6];
    tool.read_exact(&mut read).await.expect("it comes through");
    assert_eq!(&read, b"answer");

    let connect = format!("connect\t{} and more\n", bridge.port());
    bridge.connected(&connect, "OK 1073741825\n").await;
}

/// Patience ends with the first byte, and not before it.
#[tokio::test]
async fn a_tool_may_think_before_it_speaks() {
    let bridge = Bridge::start().await;
    let connect = format!("CONNECT {}\n", bridge.port());
    let mut slow = bridge.tool(b"").await;
    // Connections are taken in their order: the slow one has been looked at by now.
    bridge.connected(&connect, "OK 1073741824\n").await;
    slow.write_all(connect.as_bytes()).await.expect("taken");
    let mut answer = [0; 14];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"OK 1073741825\n");
}

#[tokio::test]
async fn what_follows_the_command_is_for_the_guest() {
    let bridge = Bridge::start().await;
    let at_once = format!("CONNECT {}\nhello", bridge.port());
    let (_tool, mut guest) = bridge.connected(&at_once, "OK 1073741824\n").await;
    let mut read = [0; 5];
    guest.read_exact(&mut read).await.expect("it comes through");
    assert_eq!(&read, b"hello");

    let unended = format!("CONNECT {} {}", bridge.port(), "x".repeat(COMMAND_LIMIT));
    let (_tool, mut guest) = bridge.connected(&unended, "OK 1073741825\n").await;
    let mut read = vec![0; unended.len() - COMMAND_LIMIT];
    guest.read_exact(&mut read).await.expect("it comes through");
    assert_eq!(read, &unended.as_bytes()[COMMAND_LIMIT..]);
}

#[tokio::test]
async fn whatever_is_wrong_is_answered_with_silence_and_an_end() {
    let bridge = Bridge::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let free = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let (port, closed) = (bridge.port(), format!("CONNECT {free}\n"));
    for wrong in [
        &b"CONNECT 1"[..],
        b"CONNECT 12345",
        b"CONNECT  \n         \n",
        b"CONNECT -1\n",
        b"CONNECT 65536\n",
        b"CONNECT 4294967296\n",
        b"\xffONNECT 5430\n",
        format!("CONNEXT {port}\n").as_bytes(),
        closed.as_bytes(),
    ] {
        let mut tool = bridge.tool(wrong).await;
        let mut answer = Vec::new();
        // Bytes that nobody read make it a reset: an end as well.
        drop(tool.read_to_end(&mut answer).await);
        assert_eq!(answer, b"", "{}", String::from_utf8_lossy(wrong));
    }
}

#[tokio::test]
async fn a_tool_that_closes_its_half_closes_both() {
    let bridge = Bridge::start().await;
    let connect = format!("CONNECT {}\n", bridge.port());
    let (mut tool, mut guest) = bridge.connected(&connect, "OK 1073741824\n").await;
    tool.shutdown().await.expect("half closed");
    let mut read = Vec::new();
    let both = async {
        guest.read_to_end(&mut read).await.expect("an end");
        // The guest closed nothing.
        tool.read_to_end(&mut read).await.expect("an end");
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
    ended.expect("one half stays open");
    assert_eq!(read, b"");
}

#[tokio::test]
async fn a_removed_machine_is_reached_no_more() {
    let bridge = Bridge::start().await;
    let connect = format!("CONNECT {}\n", bridge.port());
    let (mut tool, _guest) = bridge.connected(&connect, "OK 1073741824\n").await;
    bridge.machine.remove();
    bridge.serving.await.expect("it ends by itself");
    let mut read = Vec::new();
    tool.read_to_end(&mut read).await.expect("an end");
    UnixStream::connect(&bridge.path)
        .await
        .expect_err("nobody listens");
}

#[test]
fn host_ports_stay_between_two_to_the_thirtieth_and_the_thirty_first() {
    let ports = HostPorts(AtomicU32::new(FIRST_HOST_PORT - 1));
    assert_eq!(
        [ports.allocate(), ports.allocate()],
        [(1 << 31) - 1, 1 << 30]
    );
    let ports = HostPorts(AtomicU32::new(u32::MAX));
    assert_eq!(
        [ports.allocate(), ports.allocate()],
        [(1 << 31) - 1, 1 << 30]
    );
}
