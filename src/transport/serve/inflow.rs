//! What one connection may make this end hold: messages that are not complete, one that is decoded, inputs not yet handled.
//!
//! A stream is charged for the longest message that it announced, for as long as it is open: that much room its buffer has,
//! and keeps. A stream that would bring its connection over the limit ends with that reason; the others go on.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::types::limits::CONNECTION_BYTES;

/// Inputs of one connection that the core has not handled, each of at most [`INPUT_BYTES`] or counted as several.
pub(crate) const INPUTS: usize = 64;
/// What counts as one input, in bytes: a heavier one counts as several, so that [`INPUTS`] are at most 8 MiB.
pub(crate) const INPUT_BYTES: usize = 128 << 10;

/// What all streams of one connection share; in every request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Inflow {
    unfinished: Arc<AtomicUsize>,
    turn: Arc<Semaphore>,
    inputs: Arc<Semaphore>,
}

impl Default for Inflow {
    fn default() -> Self {
        Self { unfinished: Arc::default(), turn: Arc::new(Semaphore::new(1)), inputs: Arc::new(Semaphore::new(INPUTS)) }
    }
}

impl Inflow {
    /// The one permit to hold a decoded message: a stream decodes its next when those of the others are handed on.
    pub(crate) fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }

    /// The permits of inputs that are not handled yet.
    pub(crate) fn inputs(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inputs)
    }

    fn charge(&self, bytes: usize) -> Result<(), Status> {
        let before = self.unfinished.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= CONNECTION_BYTES {
            return Ok(());
        }
        self.unfinished.fetch_sub(bytes, Ordering::Relaxed);
        Err(Status::resource_exhausted(format!(
            "a message of {bytes} bytes would bring what the streams of this connection announced to {}; at most \
             {CONNECTION_BYTES} are accepted, open another connection",
            before.saturating_add(bytes)
        )))
    }
}

/// A request's body that charges its connection for the messages in it.
#[derive(Debug)]
pub(super) struct Metered<B> {
    body: B,
    inflow: Inflow,
    charged: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the message that are still to come.
    missing: usize,
}

/// A flag and the length, big end first.
const HEADER: usize = 5;

impl<B> Metered<B> {
    pub(super) fn new(body: B, inflow: Inflow) -> Self {
        Self { body, inflow, charged: 0, header: [0; HEADER], filled: 0, missing: 0 }
    }

    /// Follows the messages through a piece of the body.
    fn scan(&mut self, mut piece: &[u8]) -> Result<(), Status> {
        while !piece.is_empty() {
            if self.missing > 0 {
                let skipped = self.missing.min(piece.len());
                self.missing -= skipped;
                piece = &piece[skipped..];
                continue;
            }
            self.header[self.filled] = piece[0];
            self.filled += 1;
            piece = &piece[1..];
            if self.filled == HEADER {
                let [_, length @ ..] = self.header;
                self.filled = 0;
                self.begin(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize) -> Result<(), Status> {
        self.missing = length;
        // One that no stream takes is refused where its limit is known, before there is room for it.
        if length > self.charged && length <= CONNECTION_BYTES {
            self.inflow.charge(length - self.charged)?;
            self.charged = length;
        }
        Ok(())
    }
}

impl<B> Drop for Metered<B> {
    fn drop(&mut self) {
        self.inflow.unfinished.fetch_sub(self.charged, Ordering::Relaxed);
    }
}

impl<B> HttpBody for Metered<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(frame) => frame.map_err(Into::into)?,
            None => return Poll::Ready(None),
        };
        if let Some(piece) = frame.data_ref() {
            this.scan(piece)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn body(inflow: &Inflow) -> Metered<Body> {
        Metered::new(Body::empty(), inflow.clone())
    }

    fn announced(length: usize) -> Vec<u8> {
        let mut header = vec![0];
        header.extend(u32::try_from(length).expect("a length").to_be_bytes());
        header
    }

    fn held(inflow: &Inflow) -> usize {
        inflow.unfinished.load(Ordering::Relaxed)
    }

    #[test]
    fn a_connection_is_charged_for_the_longest_message_of_each_stream_while_it_is_open() {
        let inflow = Inflow::default();
        let (mut one, mut other) = (body(&inflow), body(&inflow));
        // Two messages, the header of the second cut in two.
        let mut wire = announced(3);
        wire.extend([7; 3]);
        wire.extend(announced(2));
        wire.extend([7; 2]);
        for piece in wire.chunks(10) {
            one.scan(piece).expect("small");
        }
        assert_eq!(held(&inflow), 3);
        other.scan(&announced(1_000)).expect("small");
        assert_eq!(held(&inflow), 1_003);
        drop(other);
        assert_eq!(held(&inflow), 3);
        drop(one);
        assert_eq!(held(&inflow), 0);
    }

    #[test]
    fn the_stream_that_exceeds_what_its_connection_may_hold_ends_and_the_others_stay() {
        let inflow = Inflow::default();
        let message = CONNECTION_BYTES / 4;
        let mut streams: Vec<Metered<Body>> = (0..4).map(|_| body(&inflow)).collect();
        for stream in &mut streams {
            stream.scan(&announced(message)).expect("within the limit");
        }
        let mut last = body(&inflow);
        let status = last.scan(&announced(1)).expect_err("one byte too many");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(held(&inflow), CONNECTION_BYTES);
        streams.pop();
        last = body(&inflow);
        last.scan(&announced(message)).expect("there is room again");
    }

    #[test]
    fn a_length_that_no_message_has_takes_nothing() {
        let inflow = Inflow::default();
        body(&inflow).scan(&announced(u32::MAX as usize)).expect("refused by whoever reads it");
        assert_eq!(held(&inflow), 0);
    }
}
