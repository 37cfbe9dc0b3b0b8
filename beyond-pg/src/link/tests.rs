//! The link over a real TCP pair on the loopback: the test plays the host.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wire::log::{LINE_BURST, Stream};

use super::*;
use crate::logs::{Dialect, Source, forward};

/// The host's side of one connection.
struct Host {
    stream: TcpStream,
    decoder: frame::Decoder,
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Connects to the test.
struct ToTest(SocketAddr);

impl Dial for ToTest {
    async fn dial(&mut self) -> Result<Connection, DialError> {
        match TcpStream::connect(self.0).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(source) => Err(DialError::Unanswered {
                host: self.0.to_string(),
                source,
            }),
        }
    }
}

fn link_to(address: SocketAddr) -> (Link, Logs) {
    let logs = Logs::new();
    let link = Link::open_by(logs.clone(), ToTest(address));
    (link, logs)
}

impl Host {
    async fn accept(listener: &TcpListener) -> Host {
        let (stream, _guest) = listener.accept().await.unwrap();
        Host {
            stream,
            decoder: frame::Decoder::new(),
        }
    }

    async fn expect_bytes(&mut self, golden: &str) {
        let expected = bytes_of(golden);
        let mut read = vec![0; expected.len()];
        self.stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, expected, "{golden}");
    }

    async fn send(&mut self, golden: &str) {
        self.stream.write_all(&bytes_of(golden)).await.unwrap();
    }

    /// `None` at the end of the connection.
    async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(Message::from_frame(&frame).unwrap());
            }
            let mut bytes = vec![0; 1 << 16];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.decoder.push(&bytes[..read]),
            }
        }
    }

    /// The next line that a child wrote, or a notice about such lines; PID 1's own are passed over.
    async fn line(&mut self) -> String {
        loop {
            match self.message().await.expect("the link holds") {
                Message::LogLine(line) if line.execution_id != "beyond-pg" => return line.line,
                _ => {}
            }
        }
    }
}

fn bytes_of(golden: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("wire/golden/{golden}.hex"));
    let text = std::fs::read_to_string(path).unwrap();
    let digits = text.lines().filter_map(|line| line.split('#').next());
    digits
        .flat_map(str::split_whitespace)
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn postgres() -> Source {
    Source {
        stream: Stream::Stderr,
        execution_id: "postgres1".to_owned(),
    }
}

#[tokio::test]
async fn what_the_host_reads_are_the_goldens() {
    let (listener, address) = listen().await;
    let (link, logs) = link_to(address);
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready").await;
    host.send("heartbeat").await;
    host.expect_bytes("heartbeat-ack").await;
    link.announce(true);
    host.expect_bytes("service-ready").await;
    forward(&logs, Dialect::Postgres, postgres(), "Über\n".as_bytes());
    host.expect_bytes("log-line").await;
}

#[tokio::test]
async fn a_host_that_died_is_dialled_again_and_told_so() {
    let (listener, address) = listen().await;
    let (link, _logs) = link_to(address);
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready").await;
    link.announce(true);
    host.expect_bytes("service-ready").await;
    drop(host);
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready-again").await;
    host.expect_bytes("service-ready").await;
}

#[tokio::test]
async fn a_host_that_comes_late_is_met_and_no_boot_waits_for_it() {
    let (listener, address) = listen().await;
    drop(listener);
    let (link, _logs) = link_to(address);
    link.first_dial().await;
    assert!(link.lines().is_none(), "lines go to our own stderr");
    let listener = TcpListener::bind(address).await.unwrap();
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready").await;
    assert!(link.lines().is_some());
}

struct Nowhere;

impl Dial for Nowhere {
    async fn dial(&mut self) -> Result<Connection, DialError> {
        Err(DialError::NoHost)
    }
}

#[tokio::test]
async fn a_machine_without_a_host_boots_without_one() {
    let link = Link::open_by(Logs::new(), Nowhere);
    link.first_dial().await;
    assert!(link.lines().is_none());
    link.flush().await;
}

#[tokio::test]
async fn a_shutdown_asks_this_machine_to_stop() {
    let (listener, address) = listen().await;
    let (link, _logs) = link_to(address);
    let mut host = Host::accept(&listener).await;
    host.send("shutdown").await;
    link.stop_requested().await;
}

#[tokio::test]
async fn a_frame_of_a_newer_host_is_passed_over_and_a_broken_one_ends_the_connection() {
    let (listener, address) = listen().await;
    let (_link, _logs) = link_to(address);
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready").await;
    host.stream
        .write_all(&[0, 0, 0, 2, 0x7f, 0x80])
        .await
        .unwrap();
    host.send("heartbeat").await;
    assert_eq!(host.message().await, Some(Message::HeartbeatAck));
    host.stream.write_all(&[0xff; 4]).await.unwrap();
    assert_eq!(host.message().await, None);
    Host::accept(&listener)
        .await
        .expect_bytes("ready-again")
        .await;
}

/// Far more than sockets and the outbox hold.
const FLOOD: usize = 1000;
const LONG: usize = 64 * 1024;

#[tokio::test]
async fn a_stalled_host_never_holds_up_the_reader_and_then_learns_what_was_lost() {
    let (listener, address) = listen().await;
    let (link, logs) = link_to(address);
    let mut host = Host::accept(&listener).await;

    // The writer of a pipe of 4 KiB: were the reader held up, this would never end.
    let (mut child, pipe) = tokio::io::duplex(4096);
    forward(&logs, Dialect::Postgres, postgres(), pipe);
    let line = format!("{}\n", "x".repeat(LONG));
    for _ in 0..FLOOD {
        child.write_all(line.as_bytes()).await.unwrap();
    }
    child.write_all(b"the last\n").await.unwrap();
    drop(child);

    let mut delivered = 0;
    let mut counted = 0;
    loop {
        let line = host.line().await;
        if line == "the last" {
            break;
        }
        match line.strip_prefix("[beyond-pg: dropped ") {
            Some(rest) => counted += rest.split(' ').next().unwrap().parse::<usize>().unwrap(),
            None => delivered += 1,
        }
    }
    assert_eq!(delivered + counted, FLOOD);
    assert!(delivered > 0 && counted > 0, "{delivered} and {counted}");
    link.flush().await;
}

/// Hands out the ends of pipes so small that a line never fits.
struct Narrow(mpsc::UnboundedSender<DuplexStream>);

impl Dial for Narrow {
    async fn dial(&mut self) -> Result<Connection, DialError> {
        let (guest, host) = tokio::io::duplex(16);
        match self.0.send(host) {
            Ok(()) => Ok(Box::new(guest)),
            Err(_test_is_over) => Err(DialError::NoHost),
        }
    }
}

#[tokio::test]
async fn a_line_that_broke_in_the_middle_is_sent_again_whole_after_the_greeting() {
    let (dialled, mut hosts) = mpsc::unbounded_channel();
    let logs = Logs::new();
    let _link = Link::open_by(logs.clone(), Narrow(dialled));
    forward(&logs, Dialect::Postgres, postgres(), "Über\n".as_bytes());

    let mut host = hosts.recv().await.unwrap();
    let mut read = bytes_of("ready");
    host.read_exact(&mut read).await.unwrap();
    host.read_exact(&mut read[..7]).await.unwrap();
    assert_eq!(read[..7], bytes_of("log-line")[..7]);
    drop(host);

    let mut host = hosts.recv().await.unwrap();
    for golden in ["ready-again", "log-line"] {
        let expected = bytes_of(golden);
        let mut read = vec![0; expected.len()];
        host.read_exact(&mut read).await.unwrap();
        assert_eq!(read, expected, "{golden}");
    }
}

#[tokio::test]
async fn the_end_waits_for_the_last_lines() {
    let (listener, address) = listen().await;
    let (link, logs) = link_to(address);
    let mut host = Host::accept(&listener).await;
    link.first_dial().await;
    forward(&logs, Dialect::Postgres, postgres(), &b"goodbye"[..]);
    link.flush().await;
    drop(link);
    assert_eq!(host.line().await, "goodbye");
}

#[tokio::test]
async fn what_was_dropped_at_the_very_end_is_told_although_no_line_follows() {
    let (listener, address) = listen().await;
    let logs = Logs::at_one_instant();
    let link = Link::open_by(logs.clone(), ToTest(address));
    let mut host = Host::accept(&listener).await;
    link.first_dial().await;
    let burst = usize::try_from(LINE_BURST).unwrap();
    let lines = "2026-11-22 09:49:09.977 UTC [41] LOG:  x\n".repeat(burst + 7);
    let pipe = std::io::Cursor::new(lines.into_bytes());
    forward(&logs, Dialect::Postgres, postgres(), pipe);
    link.flush().await;
    for _ in 0..burst {
        assert!(host.line().await.ends_with("LOG:  x"));
    }
    let notice = host.message().await;
    let Some(Message::LogLine(notice)) = notice else {
        panic!("{notice:?}");
    };
    assert_eq!(notice.line, "[beyond-pg: dropped 7 log lines]");
}

#[tokio::test]
async fn lines_that_the_settings_keep_are_not_sent_and_readiness_is() {
    let (listener, address) = listen().await;
    let (link, logs) = link_to(address);
    link.pass_lines_through();
    let mut host = Host::accept(&listener).await;
    host.expect_bytes("ready").await;
    forward(&logs, Dialect::Postgres, postgres(), &b"kept\n"[..]);
    link.announce(true);
    host.expect_bytes("service-ready").await;
    assert!(link.lines().is_none());
}
