//! Memory limits of the encoder of a response's messages.
//!
//! An encoder splits each piece of a body off one buffer and reuses the buffer once the piece was sent. So a stream
//! that sent a large message would keep its memory until it ends. If a piece is still held, the encoder allocates a new
//! buffer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// A body that holds its last piece until the next one is made, so that its memory is that of its last message.
#[derive(Debug)]
pub(super) struct Lean<B> {
    body: B,
    last: Bytes,
}

impl<B> Lean<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, last: Bytes::new() }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Lean<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(piece) = frame.data_ref()
        {
            this.last = piece.clone();
        }
        Poll::Ready(frame)
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
    use futures::{StreamExt as _, stream};
    use tonic::codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride};

    use super::*;
    use crate::proto::{codec::Codec, ext::BackupChunk};

    fn chunk(bytes: usize) -> BackupChunk {
        BackupChunk { data: vec![7; bytes].into() }
    }

    #[tokio::test]
    async fn a_large_message_takes_memory_only_until_the_next() {
        let messages = [chunk(100_000), chunk(1)].map(Ok);
        // Each is there only when the one before was sent.
        let source = stream::iter(messages).flat_map(|message| stream::iter([message]).chain(pause()));
        let encoder = Codec::<BackupChunk, BackupChunk>::default().encoder();
        let unchanged = SingleMessageCompressionOverride::default();
        let mut body = Lean::new(Box::pin(EncodeBody::new_server(encoder, source, None, unchanged, None)));
        let mut pieces = Vec::new();
        for _ in 0..2 {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let piece = frame.expect("a piece").expect("no error").into_data().expect("data");
            pieces.push(piece.as_ptr_range());
        }
        assert!(pieces[0].end.addr() - pieces[0].start.addr() > 100_000);
        assert!(!pieces[0].contains(&pieces[1].start), "the buffer of the first serves the second");
    }

    /// Nothing, but not at once.
    fn pause<T>() -> impl stream::Stream<Item = T> {
        stream::once(tokio::task::yield_now()).filter_map(|()| std::future::ready(None))
    }
}
