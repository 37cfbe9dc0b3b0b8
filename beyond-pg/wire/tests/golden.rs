//! The bytes of `golden/*.hex`, in both directions. They were written by hand from the
//! contract; a machine and a host of different ages meet over them, so one changes only with a
//! decision.

use std::fs;
use std::path::{Path, PathBuf};

use wire::frame::{self, FrameError};
use wire::log::{LogLine, Message, Stream};
use wire::lsn::Lsn;
use wire::prefix::{self, PrefixError};
use wire::rpc::{Command, Configuration, Disk, Health, Request, Response, Server, Versions, Wal};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The bytes of a file, without its remarks.
fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(name).with_extension("hex");
    let text = fs::read_to_string(&path).expect("the golden is a file");
    let digits = text.lines().filter_map(|line| line.split('#').next());
    let pairs = digits.flat_map(str::split_whitespace);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("pairs of hexadecimal digits"))
        .collect()
}

fn messages() -> Vec<(&'static str, Message)> {
    let line = LogLine {
        stream: Stream::Stderr,
        line: "Über".to_owned(),
        truncated: false,
        execution_id: "postgres1".to_owned(),
    };
    vec![
        ("ready", Message::Ready { reconnect: false }),
        ("ready-again", Message::Ready { reconnect: true }),
        ("heartbeat", Message::Heartbeat),
        ("heartbeat-ack", Message::HeartbeatAck),
        ("shutdown", Message::Shutdown),
        ("service-ready", Message::ServiceReady),
        ("log-line", Message::LogLine(line)),
    ]
}

fn requests() -> Vec<(&'static str, Request)> {
    let names = vec!["sink".to_owned(), "rep1".to_owned()];
    vec![
        ("rpc-checkpoint", Request::Known(Command::Checkpoint)),
        (
            "rpc-set-sync-standbys",
            Request::Known(Command::SetSyncStandbys { names }),
        ),
    ]
}

fn answers() -> Vec<(&'static str, Response)> {
    let lsn = Lsn::new(0x16_B374_D848);
    let health = Health {
        state: "ready".to_owned(),
        ready_since: Some(1_772_204_736),
        postgres: Server {
            up: true,
            pid: Some(17),
            starts: 1,
            ..Server::default()
        },
        in_recovery: Some(false),
        timeline: Some(1),
        wal: Wal {
            flush_lsn: Some(lsn),
            ..Wal::default()
        },
        disk: Disk {
            bytes: Some(1_073_741_824),
            ..Disk::default()
        },
        configuration: Configuration {
            objections: vec!["bad".to_owned()],
            ..Configuration::default()
        },
        versions: Versions {
            beyond_pg: "1".to_owned(),
            postgres: None,
        },
        boot: Some(serde_json::Map::from_iter([(
            "total_ms".to_owned(),
            7.into(),
        )])),
        ..Health::default()
    };
    let healthy = Response {
        health: Some(health),
        ..Response::done_at(lsn)
    };
    let not_archived = Response {
        lsn: Some(lsn),
        segment: Some("000000010000001600000002".to_owned()),
        ..Response::refused("no room")
    };
    vec![
        ("rpc-health", healthy),
        ("rpc-done-at", Response::done_at(lsn)),
        ("rpc-refused", Response::refused("no room")),
        ("rpc-not-archived", not_archived),
    ]
}

fn body(name: &str) -> Vec<u8> {
    let mut decoder = prefix::Decoder::new();
    decoder.push(&golden(name));
    let body = decoder.next_body().expect(name).expect(name);
    assert_eq!(decoder.finish(), Ok(()), "{name}: one body and no more");
    body
}

#[test]
fn every_message_of_the_link_has_its_bytes() {
    for (name, message) in messages() {
        let frame = message.to_frame().expect(name);
        assert_eq!(frame.encode().expect(name), golden(name), "{name}: written");

        let mut decoder = frame::Decoder::new();
        decoder.push(&golden(name));
        let frame = decoder.next_frame().expect(name).expect(name);
        assert_eq!(
            Message::from_frame(&frame).expect(name),
            message,
            "{name}: read"
        );
        assert_eq!(decoder.finish(), Ok(()), "{name}: one frame and no more");
    }
}

#[test]
fn every_request_and_answer_has_its_bytes() {
    for (name, request) in requests() {
        let written = prefix::encode(&request.encode().expect(name)).expect(name);
        assert_eq!(written, golden(name), "{name}: written");
        assert_eq!(
            Request::decode(&body(name)).expect(name),
            request,
            "{name}: read"
        );
    }
    for (name, answer) in answers() {
        let written = prefix::encode(&answer.encode().expect(name)).expect(name);
        assert_eq!(written, golden(name), "{name}: written");
        assert_eq!(
            Response::decode(&body(name)).expect(name),
            answer,
            "{name}: read"
        );
    }
}

#[test]
fn a_frame_cut_anywhere_is_awaited_and_then_missed() {
    for (name, _) in messages() {
        let bytes = golden(name);
        for cut in 1..bytes.len() {
            let mut decoder = frame::Decoder::new();
            decoder.push(&bytes[..cut]);
            assert_eq!(decoder.next_frame(), Ok(None), "{name} cut at {cut}");
            let truncated = matches!(
                decoder.finish(),
                Err(FrameError::Prefix(PrefixError::Truncated { .. }))
            );
            assert!(truncated, "{name} cut at {cut}");
        }
    }
}

#[test]
fn every_golden_is_tested() {
    let mut tested: Vec<_> = messages().iter().map(|(name, _)| *name).collect();
    tested.extend(requests().iter().map(|(name, _)| *name));
    tested.extend(answers().iter().map(|(name, _)| *name));
    tested.sort_unstable();
    let mut stored: Vec<_> = fs::read_dir(folder())
        .expect("the goldens are a folder")
        .map(|entry| entry.expect("a readable entry").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    stored.sort();
    assert_eq!(tested, stored);
}
