//! Bodies that are cut, or slow.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};

use crate::serve::clock;

use super::line::Shears;

type Piece = Result<Bytes, StdError>;

/// A body that ends in a reset once so many bytes of it have passed.
pub(super) fn cut(body: Body, after: u64, shears: Shears) -> Body {
    let state = (body, after);
    pieces(stream::unfold(state, move |(mut body, left)| {
        let shears = shears.clone();
        async move {
            if left == 0 {
                shears.cut();
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                return Some((Err(reset.into()), (body, 0)));
            }
            let piece = match body.next().await? {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (body, left))),
            };
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            Some((Ok(piece.slice(..some)), (body, left - some as u64)))
        }
    }))
}

/// A body of which so many bytes pass in a second.
pub(super) fn slowed(body: Body, rate: u64) -> Body {
    const BEATS: u64 = 10;
    let step = usize::try_from(rate / BEATS).unwrap_or(usize::MAX).max(1);
    let state = (body, Bytes::new());
    pieces(stream::unfold(
        state,
        move |(mut body, mut rest)| async move {
            while rest.is_empty() {
                rest = match body.next().await? {
                    Ok(piece) => piece,
                    Err(error) => return Some((Err(error), (body, rest))),
                };
            }
            clock::passes(Duration::from_millis(1000 / BEATS)).await;
            let piece = rest.split_to(step.min(rest.len()));
            Some((Ok(piece), (body, rest)))
        },
    ))
}

/// A body for the service, and what the service leaves of it.
pub(super) fn shared(body: Body) -> (Body, Rest) {
    let body = Arc::new(Mutex::new(body));
    let dynamic: DynByteStream = Box::pin(Shared(Arc::clone(&body)));
    (Body::from(dynamic), Rest(body))
}

/// What the service did not read.
pub(super) struct Rest(Arc<Mutex<Body>>);

impl Rest {
    /// Reads it to its end and forgets it. An answer that comes while the client still sends makes
    /// hyper close the connection: the client sees a broken pipe, no reason, and sends it all again.
    pub(super) async fn drain(self) {
        let mut rest = Shared(self.0);
        while let Some(Ok(_piece)) = rest.next().await {}
    }
}

struct Shared(Arc<Mutex<Body>>);

impl Stream for Shared {
    type Item = Piece;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.poll_next_unpin(context)
    }
}

impl ByteStream for Shared {
    fn remaining_length(&self) -> RemainingLength {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.remaining_length()
    }
}

fn pieces(stream: impl Stream<Item = Piece> + Send + Sync + 'static) -> Body {
    let dynamic: DynByteStream = Box::pin(Pieces(Box::pin(stream.fuse())));
    Body::from(dynamic)
}

struct Pieces(Pin<Box<dyn Stream<Item = Piece> + Send + Sync>>);

impl Stream for Pieces {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.as_mut().poll_next(context)
    }
}

impl ByteStream for Pieces {}
