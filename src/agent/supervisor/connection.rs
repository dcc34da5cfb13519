//! Agents' connections to a supervisor: a thread reads each, another writes events.
//!
//! A reader reads no more requests while too many starts are queued, which bounds the supervisor's queues. The core
//! thread writes all events of a batch in one call, as far as the socket accepts them without blocking. A writer thread
//! sends the rest. No request of a connection is forwarded before its `Hello` carries the token.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use rustix::net::SendFlags;

use super::{frame, queue::Queue};
use crate::proto::internal::{
    SupervisorEvent, SupervisorHello, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request::Kind,
};

/// How long a peer may take to send its `Hello`.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a write to an agent may block. An agent whose connection was closed reconnects.
const LONGEST_WRITE: Duration = Duration::from_mins(1);
const READ_BYTES: usize = 64 << 10;

/// The sending half of an agent's connection. When it is dropped, queued events are still sent, and then the connection
/// is closed.
#[derive(Debug)]
pub(super) struct Outbox {
    rest: Arc<Rest>,
    stream: Arc<UnixStream>,
}

/// Events that the socket did not accept at once.
#[derive(Debug)]
struct Rest {
    pieces: Queue<BytesMut>,
    /// Pieces that are queued or being written. Only the core thread adds to it.
    count: AtomicUsize,
}

impl Outbox {
    /// Sends events in this order.
    pub(super) fn send(&self, events: &[SupervisorEvent]) {
        let mut buffer = BytesMut::new();
        for event in events {
            if let Err(error) = frame::put(event, &mut buffer) {
                tracing::error!(%error, "an event that is too large is left out");
            }
        }
        if self.rest.count.load(Ordering::Acquire) == 0 {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // The writer thread meets the same error and handles it.
            let sent = rustix::net::send(&*self.stream, &buffer, flags).unwrap_or(0);
            buffer.advance(sent);
        }
        if !buffer.is_empty() {
            self.rest.count.fetch_add(1, Ordering::AcqRel);
            self.rest.pieces.extend([buffer]);
        }
    }

    /// Closes the connection at once: a newer one replaces it.
    pub(super) fn cut(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.rest.pieces.close();
    }
}

/// A connection that a writer thread writes to.
#[derive(Debug)]
pub(super) struct Written {
    stream: Arc<UnixStream>,
    rest: Arc<Rest>,
}

/// A connection that is read.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Arc<UnixStream>,
    buffer: BytesMut,
    chunk: Vec<u8>,
}

impl Reader {
    pub(super) fn new(stream: Arc<UnixStream>) -> Self {
        Self { stream, buffer: BytesMut::new(), chunk: vec![0; READ_BYTES] }
    }

    /// Receives the `Hello` of a peer; `None` if it does not carry `token`. A peer that is too old to send any token
    /// receives a `Welcome` without a version.
    ///
    /// # Errors
    /// The peer sends no `Hello` in time, or something else first.
    pub(super) fn receive_hello(&mut self, token: Option<&str>) -> io::Result<Option<SupervisorHello>> {
        self.stream.set_read_timeout(token.map(|_| HELLO_TIMEOUT))?;
        self.stream.set_write_timeout(Some(LONGEST_WRITE))?;
        let hello = match self.next()? {
            Some(SupervisorRequest { kind: Some(Kind::Hello(hello)) }) => hello,
            Some(_) => return Err(io::Error::other("the first message is not a hello")),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        self.stream.set_read_timeout(None)?;
        match token {
            Some(token) if !is_equal(token, &hello.token) => {
                if hello.token.is_empty() {
                    self.reject_version()?;
                }
                Ok(None)
            }
            Some(_) | None => Ok(Some(hello)),
        }
    }

    fn reject_version(&self) -> io::Result<()> {
        let kind = Some(supervisor_event::Kind::Welcome(SupervisorWelcome::default()));
        let mut buffer = BytesMut::new();
        frame::put(&SupervisorEvent { kind }, &mut buffer).map_err(io::Error::other)?;
        (&*self.stream).write_all(&buffer)
    }

    /// Creates the sending half, whose events `writers` write to the connection.
    pub(super) fn outbox(&self, writers: &Queue<Written>) -> Outbox {
        let rest = Arc::new(Rest { pieces: Queue::new(), count: AtomicUsize::new(0) });
        writers.extend([Written { stream: Arc::clone(&self.stream), rest: Arc::clone(&rest) }]);
        Outbox { rest, stream: Arc::clone(&self.stream) }
    }

    /// Forwards requests, in batches as they arrive, until the connection ends or `requests` returns false.
    pub(super) fn read(&mut self, mut requests: impl FnMut(Vec<SupervisorRequest>) -> bool) -> io::Result<()> {
        while let Some(first) = self.next()? {
            let mut batch = vec![first];
            while let Some(more) = frame::take(&mut self.buffer).map_err(io::Error::other)? {
                batch.push(more);
            }
            if !requests(batch) {
                break;
            }
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<SupervisorRequest>> {
        loop {
            if let Some(message) = frame::take(&mut self.buffer).map_err(io::Error::other)? {
                return Ok(Some(message));
            }
            match (&*self.stream).read(&mut self.chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => self.buffer.extend_from_slice(&self.chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Compares in a time that does not depend on where two texts of one length differ.
fn is_equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Writes to one connection after the other, until `writers` is closed. A replaced connection is closed, so it does not
/// block the next.
pub(super) fn write_all(writers: &Queue<Written>) {
    while let Some(Written { stream, rest }) = writers.pop() {
        if let Err(error) = write(&stream, &rest) {
            tracing::debug!(%error, "an agent's connection broke");
        }
        // Ends the reader thread too.
        let _ = stream.shutdown(Shutdown::Both);
        rest.pieces.close();
    }
}

fn write(mut stream: &UnixStream, rest: &Rest) -> io::Result<()> {
    while let Some(piece) = rest.pieces.pop() {
        stream.write_all(&piece)?;
        rest.count.fetch_sub(1, Ordering::AcqRel);
    }
    Ok(())
}
