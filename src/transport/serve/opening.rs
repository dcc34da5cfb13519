//! Protocol detection: the first bytes of a connection, read under a deadline and put back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::timeout,
};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A byte stream that first returns the bytes that were read ahead.
#[derive(Debug)]
pub(super) struct Reopened<S> {
    head: [u8; PREFACE.len()],
    given: usize,
    filled: usize,
    stream: S,
}

/// Reads as few bytes as identify the protocol. `None`: the client sent nothing, disconnected, or stopped inside the
/// preface.
pub(super) async fn open<S>(mut stream: S, limit: Duration) -> Option<(Protocol, Reopened<S>)>
where
    S: AsyncRead + Unpin,
{
    let mut head = [0; PREFACE.len()];
    let mut filled = 0;
    let reading = async {
        loop {
            match stream.read(&mut head[filled..]).await {
                Ok(0) | Err(_) => return None,
                Ok(more) => filled += more,
            }
            if head[..filled] != PREFACE[..filled] {
                return Some(Protocol::Http1);
            }
            if filled == PREFACE.len() {
                return Some(Protocol::Http2);
            }
        }
    };
    let protocol = timeout(limit, reading).await.ok().flatten()?;
    Some((protocol, Reopened { head, given: 0, filled, stream }))
}

impl<S: AsyncRead + Unpin> AsyncRead for Reopened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given < this.filled {
            let end = this.filled.min(this.given + buf.remaining());
            buf.put_slice(&this.head[this.given..end]);
            this.given = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reopened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Sends `bytes` in pieces of `piece`; returns the detected protocol and all bytes read back.
    async fn detect(bytes: &'static [u8], piece: usize) -> Option<(Protocol, Vec<u8>)> {
        let (mut client, server) = tokio::io::duplex(piece);
        tokio::spawn(async move {
            client.write_all(bytes).await.expect("the server reads on");
        });
        let (protocol, mut stream) = open(server, LIMIT).await?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.expect("a memory stream");
        Some((protocol, back))
    }

    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn the_preface_identifies_the_protocol_and_no_byte_is_lost() {
        for piece in [1, 3, 24, 100] {
            let h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest of it";
            assert_eq!(detect(h2, piece).await, Some((Protocol::Http2, h2.to_vec())));
            let post = b"PRIVATE /x HTTP/1.1\r\n\r\n";
            assert_eq!(detect(post, piece).await, Some((Protocol::Http1, post.to_vec())));
            assert_eq!(detect(b"G", piece).await, Some((Protocol::Http1, b"G".to_vec())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_or_stalls_inside_the_preface_is_dropped() {
        assert_eq!(detect(b"", 1).await, None);
        assert_eq!(detect(b"PRI * HT", 1).await, None);
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PRI * HT").await.expect("there is room");
        assert!(open(server, LIMIT).await.is_none());
    }
}
