//! What a machine and its host say to each other over the one connection to port 52: that the
//! machine is there and ready, that both still live, and every log line (H-001, contract 9).
//!
//! ```text
//!  type  from   meaning        payload
//!  0x81  guest  Ready          {reconnect}
//!  0x02  host   Heartbeat      {}
//!  0x82  guest  HeartbeatAck   {}
//!  0x04  host   Shutdown       {}
//!  0x20  guest  AppMessage     {bytes}, bytes being one of
//!                                [46]{stream, line, truncated, execution_id}   a log line
//!                                [12]{}                                        service ready
//! ```
//!
//! The host drops types it does not know without a word: logs sent as 0xA1 were lost that way
//! (facts 52). So there is no way to send one from here, and reading one is an error.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::frame::Frame;
use crate::message_pack::{self, MessagePackError};

/// The longest line that is sent; a longer one is cut on a character boundary and says so.
pub const LINE_LIMIT: usize = 256 * 1024;
/// Lines a machine may send, sustained.
pub const LINES_PER_SECOND: u32 = 500;
/// Lines a machine may send at once.
pub const LINE_BURST: u32 = 1000;
/// How often the host sends a heartbeat (facts 54).
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// After so long without an answer the host takes the machine off its network.
pub const DEGRADED_AFTER: Duration = Duration::from_secs(30);

const READY: u8 = 0x81;
const HEARTBEAT: u8 = 0x02;
const HEARTBEAT_ACK: u8 = 0x82;
const SHUTDOWN: u8 = 0x04;
const APP_MESSAGE: u8 = 0x20;

const APP_LOG_LINE: u8 = 46;
const APP_SERVICE_READY: u8 = 12;

/// One message of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The guest's first frame on every connection.
    Ready {
        /// Whether this machine was connected before: the end of a connection is not the end
        /// of a machine.
        reconnect: bool,
    },
    /// The host asks whether the guest lives.
    Heartbeat,
    /// It does.
    HeartbeatAck,
    /// The host asks the guest to stop.
    Shutdown,
    /// The database answers clients.
    ServiceReady,
    /// One line of one child.
    LogLine(LogLine),
}

/// A line as the host stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where the child wrote it.
    pub stream: Stream,
    /// The text, without its line end.
    pub line: String,
    /// Whether the end was cut off at [`LINE_LIMIT`].
    pub truncated: bool,
    /// Which run of which child wrote it.
    pub execution_id: String,
}

/// The two streams of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A frame that is no message of the link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A type nobody sends.
    #[error("frame type {0:#04x} is not one of the host link")]
    UnknownType(u8),
    /// An application message nobody sends.
    #[error("application message {0} is not one of the host link")]
    UnknownAppMessage(u8),
    /// An application message of no bytes.
    #[error("an application message of no bytes has no kind")]
    EmptyAppMessage,
    /// The payload is not what the type promises.
    #[error(transparent)]
    Payload(#[from] MessagePackError),
}

#[derive(Serialize, Deserialize)]
struct Ready {
    #[serde(default)]
    reconnect: bool,
}

#[derive(Serialize, Deserialize)]
struct Nothing {}

#[derive(Serialize, Deserialize)]
struct AppMessage {
    bytes: ByteBuf,
}

impl Message {
    /// The frame that carries the message.
    pub fn to_frame(&self) -> Result<Frame, LinkError> {
        let (kind, payload) = match self {
            Self::Ready { reconnect } => {
                let ready = Ready {
                    reconnect: *reconnect,
                };
                (READY, message_pack::encode("a Ready", &ready)?)
            }
            Self::Heartbeat => (HEARTBEAT, nothing()?),
            Self::HeartbeatAck => (HEARTBEAT_ACK, nothing()?),
            Self::Shutdown => (SHUTDOWN, nothing()?),
            Self::ServiceReady => (APP_MESSAGE, app(APP_SERVICE_READY, nothing()?)?),
            Self::LogLine(line) => {
                let line = message_pack::encode("a log line", line)?;
                (APP_MESSAGE, app(APP_LOG_LINE, line)?)
            }
        };
        Ok(Frame { kind, payload })
    }

    /// The message that a frame carries. Fields that are not known are ignored, so that either
    /// side may learn to say more.
    pub fn from_frame(frame: &Frame) -> Result<Self, LinkError> {
        let payload = &frame.payload;
        match frame.kind {
            READY => {
                let Ready { reconnect } = message_pack::decode("a Ready", payload)?;
                Ok(Self::Ready { reconnect })
            }
            HEARTBEAT => empty(payload, Self::Heartbeat),
            HEARTBEAT_ACK => empty(payload, Self::HeartbeatAck),
            SHUTDOWN => empty(payload, Self::Shutdown),
            APP_MESSAGE => {
                let app: AppMessage = message_pack::decode("an application message", payload)?;
                Self::from_app_message(&app.bytes)
            }
            unknown => Err(LinkError::UnknownType(unknown)),
        }
    }

    fn from_app_message(bytes: &[u8]) -> Result<Self, LinkError> {
        match bytes.split_first() {
            None => Err(LinkError::EmptyAppMessage),
            Some((&APP_LOG_LINE, line)) => {
                Ok(Self::LogLine(message_pack::decode("a log line", line)?))
            }
            Some((&APP_SERVICE_READY, payload)) => empty(payload, Self::ServiceReady),
            Some((&unknown, _)) => Err(LinkError::UnknownAppMessage(unknown)),
        }
    }
}

fn app(kind: u8, payload: Vec<u8>) -> Result<Vec<u8>, MessagePackError> {
    let mut bytes = vec![kind];
    bytes.extend(payload);
    let bytes = ByteBuf::from(bytes);
    message_pack::encode("an application message", &AppMessage { bytes })
}

fn nothing() -> Result<Vec<u8>, MessagePackError> {
    message_pack::encode("an empty payload", &Nothing {})
}

/// A message without fields still has its map, which may hold what a newer sender added.
fn empty(payload: &[u8], message: Message) -> Result<Message, LinkError> {
    let Nothing {} = message_pack::decode("an empty payload", payload)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::BODY_LIMIT;

    #[test]
    fn the_longest_line_fits_a_frame() {
        let line = Message::LogLine(LogLine {
            stream: Stream::Stderr,
            line: "x".repeat(LINE_LIMIT),
            truncated: true,
            execution_id: "postgres-1".to_owned(),
        });
        let frame = line.to_frame().expect("it packs");
        assert!(frame.encode().expect("it fits").len() < BODY_LIMIT);
    }

    #[test]
    fn what_the_host_would_drop_is_an_error_here() {
        let frame = |kind, payload: &[u8]| Frame {
            kind,
            payload: payload.to_vec(),
        };
        for (frame, words) in [
            (
                frame(0xa1, &[0x80]),
                "frame type 0xa1 is not one of the host link",
            ),
            (
                frame(0x20, b"\x81\xa5bytes\xc4\x02\x2f\x80"),
                "application message 47 is not one of the host link",
            ),
            (
                frame(0x20, b"\x81\xa5bytes\xc4\x00"),
                "an application message of no bytes has no kind",
            ),
            (frame(0x81, b""), "a Ready is not a MessagePack map"),
            (frame(0x81, b"\x91\xc3"), "a Ready is not a MessagePack map"),
            (
                frame(0x02, b"\x80\x80"),
                "an empty payload has 1 bytes after its MessagePack map",
            ),
            (
                frame(0x20, b"\x81\xa5bytes\xc4\x02\x2e\x80"),
                "a log line has other fields than it should, or ends early",
            ),
        ] {
            let error = Message::from_frame(&frame).expect_err(words);
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn a_newer_sender_may_say_more() {
        let frame = Frame {
            kind: 0x81,
            payload: b"\x82\xa9reconnect\xc3\xa3new\x01".to_vec(),
        };
        let ready = Message::from_frame(&frame).expect("unknown fields are ignored");
        assert_eq!(ready, Message::Ready { reconnect: true });
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
        let line = (stream, any::<String>(), any::<bool>(), any::<String>()).prop_map(
            |(stream, line, truncated, execution_id)| {
                Message::LogLine(LogLine {
                    stream,
                    line,
                    truncated,
                    execution_id,
                })
            },
        );
        prop_oneof![
            any::<bool>().prop_map(|reconnect| Message::Ready { reconnect }),
            Just(Message::Heartbeat),
            Just(Message::HeartbeatAck),
            Just(Message::Shutdown),
            Just(Message::ServiceReady),
            line,
        ]
    }

    proptest! {
        #[test]
        fn every_message_survives_its_frame(message in any_message()) {
            let frame = message.to_frame().expect("it packs");
            prop_assert_eq!(Message::from_frame(&frame).expect("it unpacks"), message);
        }

        #[test]
        fn no_payload_makes_it_panic(
            kind in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _either = Message::from_frame(&Frame { kind, payload });
        }
    }
}
