//! Timeouts for stalled peers: one that does not read our response, one that does not send the body it announced.
//!
//! A slow peer is fine, a stalled one is not: every byte that moves restarts the timer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A timer that runs only while an operation is pending.
#[derive(Debug)]
struct StallTimer {
    idle_timeout: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, waiting: None }
    }

    /// Passes an outcome on. One that is pending for the whole idle timeout becomes an error.
    fn watch<T, E: From<io::Error>>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<Result<T, E>>,
    ) -> Poll<Result<T, E>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.idle_timeout)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(E::from(io::Error::from(io::ErrorKind::TimedOut))))
    }
}

/// A byte stream whose writes fail once the peer has read nothing for a while.
#[derive(Debug)]
pub(super) struct Progressing<S> {
    stream: S,
    writing: StallTimer,
}

impl<S> Progressing<S> {
    pub(super) fn new(stream: S, stall: Duration) -> Self {
        Self { stream, writing: StallTimer::new(stall) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progressing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progressing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.writing.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.writing.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.writing.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.writing.watch(cx, outcome)
    }
}

/// A request body that fails once the client has sent nothing of it for a while.
#[derive(Debug)]
pub(super) struct ProgressingBody<B> {
    body: B,
    reading: StallTimer,
}

impl<B> ProgressingBody<B> {
    pub(super) fn new(body: B, stall: Duration) -> Self {
        Self { body, reading: StallTimer::new(stall) }
    }
}

impl<B> HttpBody for ProgressingBody<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => Poll::Ready(frame.map_err(Into::into)),
            Poll::Pending => Poll::Pending,
        };
        self.reading.watch(cx, frame).map(Some)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Wraps a body in its timeout, as handlers take it.
pub(super) fn limited<B>(body: B, stall: Duration) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    Body::new(ProgressingBody::new(body, stall))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_kept_and_one_that_stops_is_cut() {
        let (mut peer, ours) = tokio::io::duplex(1);
        let mut ours = Progressing::new(ours, STALL);
        tokio::spawn(async move {
            for _ in 0..4 {
                sleep(STALL.mul_f64(0.9)).await;
                peer.read_u8().await.expect("a byte");
            }
            std::future::pending::<()>().await;
        });
        let error = ours.write_all(&[0; 100]).await.expect_err("the peer stopped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_half_way_is_an_error() {
        let pieces = futures::stream::iter([Ok::<_, BoxError>(Bytes::from_static(b"half"))]);
        let stuck = futures::StreamExt::chain(pieces, futures::stream::pending());
        let body = limited(Body::from_stream(stuck), STALL);
        let error = axum::body::to_bytes(body, 100).await.expect_err("it never ends");
        assert!(error.to_string().contains("timed out"), "{error}");
        let body = limited(Body::from("whole"), STALL);
        assert_eq!(axum::body::to_bytes(body, 100).await.expect("it ends"), "whole");
    }
}
