//! Limits on what one connection makes the server hold: incomplete messages, one decoded message, unhandled inputs.
//!
//! A stream is charged for the longest message that it announced, for as long as it is open. A stream that would exceed
//! its connection's limit ends with that reason; the others continue.
//!
//! A body is passed on in pieces that end where a message's header or the message ends. A decoder whose buffer is used
//! up takes the memory of the next header's piece. So a stream keeps memory for its last message between two messages,
//! and not for its longest.

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
/// The bytes that count as one input. A larger one counts as several, so that [`INPUTS`] are at most 8 MiB.
pub(crate) const INPUT_BYTES: usize = 128 << 10;

/// State shared by all streams of one connection; in every request's extensions.
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
    /// Returns the one permit to hold a decoded message: a stream decodes its next once the others' are passed on.
    pub(crate) fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }

    /// Returns the permits for unhandled inputs.
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

/// A request body that charges its connection for the messages in it.
#[derive(Debug)]
pub(super) struct Metered<B> {
    body: B,
    inflow: Inflow,
    charged: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the current message that have not arrived.
    missing: usize,
    /// Received bytes that have not been passed on.
    rest: Bytes,
}

/// A flag and the length in big-endian order.
const HEADER: usize = 5;

impl<B> Metered<B> {
    pub(super) fn new(body: B, inflow: Inflow) -> Self {
        Self { body, inflow, charged: 0, header: [0; HEADER], filled: 0, missing: 0, rest: Bytes::new() }
    }

    /// Returns the next piece of what was received: a part of a message, or a complete header.
    fn next_piece(&mut self) -> Result<Option<Bytes>, Status> {
        if self.missing > 0 && !self.rest.is_empty() {
            let piece = self.rest.split_to(self.missing.min(self.rest.len()));
            self.missing -= piece.len();
            return Ok(Some(piece));
        }
        let given = self.rest.split_to(self.rest.len().min(HEADER - self.filled));
        self.header[self.filled..][..given.len()].copy_from_slice(&given);
        self.filled += given.len();
        if self.filled < HEADER {
            return Ok(None);
        }
        let [_, length @ ..] = self.header;
        self.filled = 0;
        self.begin(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))?;
        Ok(Some(Bytes::copy_from_slice(&self.header)))
    }

    /// Returns the incomplete header when the body ends.
    fn cut_off(&mut self) -> Option<Bytes> {
        let filled = std::mem::take(&mut self.filled);
        (filled > 0).then(|| Bytes::copy_from_slice(&self.header[..filled]))
    }

    fn begin(&mut self, length: usize) -> Result<(), Status> {
        self.missing = length;
        // A message over every stream's limit is refused by the decoder, before there is memory for it.
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
        loop {
            if let Some(piece) = this.next_piece()? {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(Into::into)?,
                None => return Poll::Ready(this.cut_off().map(|piece| Ok(Frame::data(piece)))),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                // A truncated message must be visible to the decoder. Trailers of a request are not used.
                Err(trailers) => {
                    let frame = this.cut_off().map_or(trailers, Frame::data);
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.filled == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (waiting, hint) = ((self.rest.len() + self.filled) as u64, self.body.size_hint());
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + waiting);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + waiting);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::stream;
    use prost::Message as _;
    use tonic::{Streaming, codec::Codec as _};

    use super::*;
    use crate::proto::{codec::Codec, ext::BackupChunk};

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

    /// Returns the pieces that a body passes on.
    fn receive(body: &mut Metered<Body>, bytes: &[u8]) -> Result<Vec<Bytes>, Status> {
        body.rest = Bytes::copy_from_slice(bytes);
        std::iter::from_fn(|| body.next_piece().transpose()).collect()
    }

    #[test]
    fn a_connection_is_charged_for_the_longest_message_of_each_stream_while_it_is_open() {
        let inflow = Inflow::default();
        let (mut one, mut other) = (body(&inflow), body(&inflow));
        // Two messages, the header of the second cut in two.
        let wire = [announced(3), vec![7; 3], announced(2), vec![7; 2]].concat();
        for piece in wire.chunks(10) {
            receive(&mut one, piece).expect("small");
        }
        assert_eq!(held(&inflow), 3);
        receive(&mut other, &announced(1_000)).expect("small");
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
            receive(stream, &announced(message)).expect("within the limit");
        }
        let mut last = body(&inflow);
        let status = receive(&mut last, &announced(1)).expect_err("one byte too many");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(held(&inflow), CONNECTION_BYTES);
        streams.pop();
        last = body(&inflow);
        receive(&mut last, &announced(message)).expect("there is room again");
    }

    #[test]
    fn a_length_that_no_message_has_takes_nothing() {
        let inflow = Inflow::default();
        receive(&mut body(&inflow), &announced(u32::MAX as usize)).expect("the decoder refuses it");
        assert_eq!(held(&inflow), 0);
    }

    #[test]
    fn headers_and_messages_are_handed_on_apart_however_they_arrive() {
        let messages = [announced(3), vec![1; 3], announced(0), announced(2), vec![2; 2]];
        let wire = messages.concat();
        let whole: Vec<Vec<u8>> =
            receive(&mut body(&Inflow::default()), &wire).unwrap().into_iter().map(Into::into).collect();
        assert_eq!(whole, messages);
        for size in 1..wire.len() {
            let mut body = body(&Inflow::default());
            let pieces: Vec<Bytes> = wire.chunks(size).flat_map(|piece| receive(&mut body, piece).unwrap()).collect();
            assert_eq!(pieces.concat(), wire, "in pieces of {size}");
            assert!(pieces.iter().all(|piece| piece.len() <= HEADER));
        }
    }

    #[tokio::test]
    async fn what_a_body_ends_within_is_not_lost() {
        for wire in [&[0, 0][..], &[0, 0, 0, 0, 3, 7]] {
            let metered = Metered::new(Body::from(wire), Inflow::default());
            let read = axum::body::to_bytes(Body::new(metered), usize::MAX).await.unwrap();
            assert_eq!(read, wire);
        }
    }

    #[tokio::test]
    async fn a_large_message_takes_memory_only_until_the_next() {
        let framed = |bytes: usize| {
            let message = BackupChunk { data: vec![7; bytes].into() }.encode_to_vec();
            [announced(message.len()), message].concat()
        };
        let wire = Bytes::from([framed(100_000), framed(1)].concat());
        // As a connection gives them: parts of what it read, of which it has others.
        let pieces = [(0, 50_000), (50_000, 100_000), (100_000, wire.len())].map(|(from, to)| wire.slice(from..to));
        let source = Body::from_stream(stream::iter(pieces.map(Ok::<_, std::convert::Infallible>)));
        let decoder = Codec::<BackupChunk, BackupChunk>::default().decoder();
        let mut messages = Streaming::new_request(decoder, Metered::new(source, Inflow::default()), None, None);
        let large = messages.message().await.unwrap().unwrap().data;
        assert_eq!(large.len(), 100_000);
        assert!(messages.message().await.unwrap().is_some());
        assert!(large.is_unique(), "the stream keeps the buffer of the large message");
    }
}
