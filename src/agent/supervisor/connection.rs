//! One agent's connection to a supervisor: one thread reads requests, another writes events.
//!
//! The reader takes no more requests while too many starts are waiting, which is what bounds the supervisor's queues.
//! The writer sends all that is there at once. Nobody who decides ever waits for the socket. Both threads serve one
//! connection after the other, so that an agent can come also when the host has no threads left to give.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::Arc,
};

use bytes::BytesMut;

use super::{frame, queue::Queue};
use crate::proto::internal::{SupervisorEvent, SupervisorRequest};

/// Where to say what the agent is to hear. Dropped, what was said is still sent, and then the connection ends.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Queue<SupervisorEvent>>);

impl Outbox {
    pub(super) fn send(&self, events: impl IntoIterator<Item = SupervisorEvent>) {
        self.0.extend(events);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.close();
    }
}

const READ_BYTES: usize = 64 << 10;

/// A connection to be written to.
#[derive(Debug)]
pub(super) struct Hearer {
    stream: Arc<UnixStream>,
    events: Arc<Queue<SupervisorEvent>>,
}

/// Reads one connection until either side ends it, and has `hearers` write to it. `attached` is given the way to
/// answer; `request` takes one request and says whether to go on; `detached` is told when the agent says no more.
pub(super) fn serve(
    stream: &Arc<UnixStream>,
    hearers: &Queue<Hearer>,
    attached: impl FnOnce(Outbox),
    request: impl FnMut(SupervisorRequest) -> bool,
    detached: impl FnOnce(),
) {
    let events = Arc::new(Queue::new());
    hearers.extend([Hearer { stream: Arc::clone(stream), events: Arc::clone(&events) }]);
    attached(Outbox(events));
    if let Err(error) = read(stream, request) {
        tracing::warn!(%error, "an agent's connection cannot be read on");
    }
    detached();
}

/// Writes to one connection after the other, until `hearers` is closed.
pub(super) fn write_all(hearers: &Queue<Hearer>) {
    while let Some(Hearer { stream, events }) = hearers.pop() {
        if let Err(error) = write(&stream, &events) {
            tracing::debug!(%error, "an agent's connection broke");
        }
        // Ends the reader too.
        let _ = stream.shutdown(Shutdown::Both);
        events.close();
    }
}

fn read(mut stream: &UnixStream, mut request: impl FnMut(SupervisorRequest) -> bool) -> io::Result<()> {
    let (mut buffer, mut chunk) = (BytesMut::new(), vec![0; READ_BYTES]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        while let Some(message) = frame::take(&mut buffer).map_err(io::Error::other)? {
            if !request(message) {
                return Ok(());
            }
        }
    }
}

fn write(mut stream: &UnixStream, outbox: &Queue<SupervisorEvent>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(events) = outbox.pop_all() {
        for event in &events {
            frame::put(event, &mut buffer).map_err(io::Error::other)?;
        }
        stream.write_all(&buffer)?;
        buffer.clear();
    }
    Ok(())
}
