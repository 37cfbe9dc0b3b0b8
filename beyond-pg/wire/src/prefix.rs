//! Bodies behind their length: the outer layer of the host link and of the control RPC.
//!
//! ```text
//!  0        4                  4 + length
//!  | length | body ...         | next
//!    u32 BE
//! ```
//!
//! The end of a message is never signalled by closing half of the connection: Firecracker's
//! vsock turns that into a full close in one direction and into nothing in the other (facts
//! 5.7).

/// The longest body either side accepts: what the contract gives a control request, and room
/// for the longest log line in its envelopes.
pub const BODY_LIMIT: usize = 1 << 20;

const LENGTH: usize = size_of::<u32>();

/// The stream is not one of bodies behind their lengths. Nothing after the error can be
/// trusted: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// A body is longer than is accepted.
    #[error("a body of {length} bytes is over the limit of {BODY_LIMIT}")]
    TooLong {
        /// The length it has, or announces.
        length: usize,
    },
    /// The stream ended inside a body or its length.
    #[error("the stream ended {missing} bytes before the end of a body")]
    Truncated {
        /// At least so many bytes are missing.
        missing: usize,
    },
}

/// A body behind its length.
pub fn encode(body: &[u8]) -> Result<Vec<u8>, PrefixError> {
    let too_long = PrefixError::TooLong { length: body.len() };
    if body.len() > BODY_LIMIT {
        return Err(too_long);
    }
    let length = u32::try_from(body.len()).ok().ok_or(too_long)?;
    Ok([&length.to_be_bytes(), body].concat())
}

/// Cuts bodies out of a stream, whatever the pieces it arrives in.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait here for the rest of their body.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole body, or `None` until more has arrived. An oversized one is refused by
    /// its length alone, before anybody waits for it or makes room.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, PrefixError> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > BODY_LIMIT {
            return Err(PrefixError::TooLong { length });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let body = body.to_vec();
        self.buffer.drain(..LENGTH + length);
        Ok(Some(body))
    }

    /// Call when the stream has ended and [`Decoder::next_body`] has nothing more: it must have
    /// ended between two bodies.
    pub fn finish(&self) -> Result<(), PrefixError> {
        let missing = match self.buffer.split_first_chunk::<LENGTH>() {
            None if self.buffer.is_empty() => return Ok(()),
            None => LENGTH - self.buffer.len(),
            Some((length, rest)) => usize::try_from(u32::from_be_bytes(*length))
                .unwrap_or(usize::MAX)
                .saturating_sub(rest.len()),
        };
        Err(PrefixError::Truncated { missing })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
        let longest = vec![7; BODY_LIMIT];
        let mut decoder = Decoder::new();
        decoder.push(&encode(&longest).expect("the limit is allowed"));
        assert_eq!(decoder.next_body(), Ok(Some(longest)));

        let length = BODY_LIMIT + 1;
        let too_long = PrefixError::TooLong { length };
        assert_eq!(encode(&vec![7; length]), Err(too_long));
        let announced = u32::try_from(length).expect("it fits").to_be_bytes();
        decoder.push(&announced);
        assert_eq!(decoder.next_body(), Err(too_long), "refused unread");
    }

    #[test]
    fn an_end_inside_a_body_says_how_much_is_missing() {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.finish(), Ok(()));
        decoder.push(&[0, 0]);
        assert_eq!(decoder.next_body(), Ok(None));
        assert_eq!(decoder.finish(), Err(PrefixError::Truncated { missing: 2 }));
        decoder.push(&[0, 3, b'a']);
        assert_eq!(decoder.next_body(), Ok(None));
        assert_eq!(decoder.finish(), Err(PrefixError::Truncated { missing: 2 }));
        decoder.push(b"bc");
        assert_eq!(decoder.next_body(), Ok(Some(b"abc".to_vec())));
        assert_eq!(decoder.finish(), Ok(()));
    }

    proptest! {
        #[test]
        fn bodies_survive_any_cut_of_the_stream(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1usize..9,
        ) {
            let stream: Vec<u8> = bodies
                .iter()
                .flat_map(|body| encode(body).expect("short"))
                .collect();
            let mut decoder = Decoder::new();
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(body) = decoder.next_body().expect("short") {
                    read.push(body);
                }
            }
            prop_assert_eq!(read, bodies);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn no_stream_makes_it_panic(stream in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = Decoder::new();
            decoder.push(&stream);
            while let Ok(Some(_)) = decoder.next_body() {}
            let _either = decoder.finish();
        }
    }
}
