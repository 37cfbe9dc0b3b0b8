//! Frames of the host link: a body whose first byte says what the rest is.
//!
//! ```text
//!  0        4      5                4 + length
//!  | length | type | payload ...    | next
//!    u32 BE   u8     MessagePack
//! ```
//!
//! `length` counts the type and the payload.

use crate::prefix::{self, PrefixError};

/// A frame, its payload still packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: u8,
    /// The packed payload.
    pub payload: Vec<u8>,
}

/// The stream is not one of frames. Nothing after the error can be trusted: close the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is wrong.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A frame of no bytes has no type.
    #[error("a frame of no bytes has no type")]
    Empty,
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let body = [&[self.kind], self.payload.as_slice()].concat();
        Ok(prefix::encode(&body)?)
    }
}

/// Cuts frames out of a stream, whatever the pieces it arrives in.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    bodies: prefix::Decoder,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bodies.push(bytes);
    }

    /// The next whole frame, or `None` until more has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(body) = self.bodies.next_body()? else {
            return Ok(None);
        };
        let (&kind, payload) = body.split_first().ok_or(FrameError::Empty)?;
        Ok(Some(Frame {
            kind,
            payload: payload.to_vec(),
        }))
    }

    /// Call at the end of the stream: it must have ended between two frames.
    pub fn finish(&self) -> Result<(), FrameError> {
        Ok(self.bodies.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_type_is_refused() {
        let mut decoder = Decoder::new();
        decoder.push(&[0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
    }

    #[test]
    fn a_frame_may_be_its_type_alone() {
        let frame = Frame {
            kind: 0x04,
            payload: Vec::new(),
        };
        let bytes = frame.encode().expect("short");
        assert_eq!(bytes, [0, 0, 0, 1, 0x04]);
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
    }
}
