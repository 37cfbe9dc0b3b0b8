//! What crosses between the machine and its host.

use wire::frame::{Decoder, Frame, FrameError};
use wire::log::{LINE_LIMIT, Message};
use wire::prefix::BODY_LIMIT;
use wire::rpc::{Request, Response};

use super::{block_on, chosen};
use crate::logs::Dialect;
use crate::logs::forward;
use crate::logs::lines::{Line, Lines};
use crate::logs::severity;

/// A byte that says how long the pieces are, then a stream of frames. However it is cut the frames
/// are the same, their bytes are those that arrived, and none is longer than the limit.
pub fn link_stream(input: &[u8]) {
    let Some((piece, stream)) = chosen(input) else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(
        whole,
        frames(stream, piece.max(1)),
        "the cut changes nothing"
    );

    let (frames, end) = whole;
    let mut read = Vec::new();
    for frame in &frames {
        assert!(frame.payload.len() < BODY_LIMIT, "longer than the limit");
        read.extend(frame.encode().expect("what was read can be written"));
        // A frame that is none of the link's is an error, never a panic.
        let _either = Message::from_frame(frame).is_ok();
    }
    assert!(
        stream.starts_with(&read),
        "frames are the bytes that arrived"
    );
    if end.is_ok() {
        assert_eq!(
            stream, read,
            "an end between two frames leaves nothing over"
        );
    }
}

fn frames(stream: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for bytes in stream.chunks(piece) {
        decoder.push(bytes);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (frames, end)
}

/// A frame: its type, then its payload. A message that is understood survives being sent.
pub fn link_message(input: &[u8]) {
    let Some((&kind, payload)) = input.split_first() else {
        return;
    };
    let payload = payload.to_vec();
    if let Ok(message) = Message::from_frame(&Frame { kind, payload }) {
        let frame = message.to_frame().expect("what was read can be written");
        assert_eq!(frame.kind, kind);
        assert_eq!(Message::from_frame(&frame).expect("and read"), message);
    }
}

/// The body of a control request, or of an answer: both are tried.
pub fn control_rpc(input: &[u8]) {
    if let Ok(request) = Request::decode(input) {
        let body = request.encode().expect("what was read can be written");
        assert_eq!(Request::decode(&body).expect("and read"), request);
    }
    if let Ok(answer) = Response::decode(input) {
        let body = answer.encode().expect("what was read can be written");
        assert_eq!(Response::decode(&body).expect("and read"), answer);
    }
}

/// A byte that says how the pipe is read, then what a child writes to it. Lines are the same however
/// they arrive and keep to the limit; and behind the queue every line is there or counted as missing.
pub fn log_lines(input: &[u8]) {
    let Some((choice, text)) = chosen(input) else {
        return;
    };
    let lines = lines(text, text.len().max(1));
    assert_eq!(
        lines,
        self::lines(text, choice.max(1)),
        "the cut changes nothing"
    );
    for line in &lines {
        assert!(line.text.len() <= LINE_LIMIT && !line.text.contains('\n'));
        for dialect in [Dialect::Postgres, Dialect::PgBouncer] {
            severity::place(dialect, &line.text);
        }
    }

    // What looks like our notice cannot be counted as a line.
    if lines.iter().any(|line| dropped(&line.text).is_some()) {
        return;
    }
    let capacity = 256 << (choice % 8);
    let shipped = block_on(forward::shipped(Dialect::Postgres, text, capacity));
    let missing: usize = shipped.iter().filter_map(|line| dropped(&line.line)).sum();
    let sent = shipped.iter().filter(|line| dropped(&line.line).is_none());
    assert_eq!(
        sent.count() + missing,
        lines.len(),
        "sent and dropped are all"
    );
}

fn lines(text: &[u8], piece: usize) -> Vec<Line> {
    let mut lines = Lines::default();
    let mut seen = Vec::new();
    for bytes in text.chunks(piece) {
        lines.push(bytes, |line| seen.push(line));
    }
    seen.extend(lines.finish());
    seen
}

/// N of `[beyond-pg: dropped N log lines]`.
fn dropped(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("[beyond-pg: dropped ")?;
    rest.strip_suffix(" log lines]")?.parse().ok()
}
