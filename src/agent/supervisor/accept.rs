//! Accepts the connections of agents, checks their peers, and has a thread read each.
//!
//! A few reader threads are started in advance, so that an agent is served even when the host has no threads left. More
//! are started while all are busy: an idle connection does not block the next one.

use std::{
    collections::BTreeMap,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicIsize, Ordering},
    },
    thread::{Builder, Scope},
};

use rustix::io::Errno;

use super::{
    connection::{Outbox, Reader, Written},
    core::Input,
    decider::Mail,
    peer,
    queue::Queue,
    service::{SHORTAGE_PAUSE, STACK_BYTES, Shared},
};
use crate::proto::internal::{SupervisorRequest, supervisor_request::Kind};

/// Reader threads that are started in advance.
pub(super) const READERS: usize = 2;
/// Connections served at once, with or without a `Hello`.
const MAX_CONNECTIONS: usize = 32;
/// How many starts may be queued before no more requests are read.
const MAX_WAITING_STARTS: usize = 1024;

/// Where a service accepts agents.
#[derive(Debug)]
pub(super) enum Endpoint {
    /// Every connection that sends the token.
    Listener { listener: UnixListener, token: Option<String> },
    /// The other end of this stream, and no other.
    Stream(Arc<UnixStream>),
}

/// Identifies a connection.
pub(super) type ConnectionId = u64;

/// Connections that were accepted.
#[derive(Debug)]
pub(super) struct Connections {
    accepted: Queue<(ConnectionId, Arc<UnixStream>)>,
    /// Idle reader threads, less the connections that no thread has taken yet.
    free: AtomicIsize,
    open: Mutex<OpenConnections>,
    pub(super) writers: Queue<Written>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    streams: BTreeMap<ConnectionId, Arc<UnixStream>>,
    next: ConnectionId,
    closed: bool,
}

impl Connections {
    pub(super) fn new() -> Self {
        let free = AtomicIsize::new(READERS.cast_signed());
        Self { accepted: Queue::new(), free, open: Mutex::default(), writers: Queue::new() }
    }

    /// Closes them all; what is queued for an agent is still sent.
    pub(super) fn close(&self) {
        self.accepted.close();
        self.writers.close();
        let mut open = self.lock();
        open.closed = true;
        for stream in open.streams.values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Registers a connection, unless there are too many.
    fn insert(&self, stream: UnixStream) -> Option<(ConnectionId, Arc<UnixStream>)> {
        let mut open = self.lock();
        if open.closed || open.streams.len() >= MAX_CONNECTIONS {
            return None;
        }
        open.next += 1;
        let (id, stream) = (open.next, Arc::new(stream));
        open.streams.insert(id, Arc::clone(&stream));
        Some((id, stream))
    }

    fn remove(&self, id: ConnectionId) {
        self.lock().streams.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Accepts connections, and has them read by threads of `scope`.
    pub(super) fn accept_connections<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        match &self.endpoint {
            Endpoint::Listener { listener, .. } => {
                for stream in listener.incoming() {
                    match stream {
                        Ok(stream) => self.accept(stream, scope),
                        // Closed by `stop`.
                        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => return,
                        Err(error) => {
                            tracing::error!(%error, "cannot accept a connection: trying again");
                            self.wait_for_resources();
                        }
                    }
                }
            }
            Endpoint::Stream(stream) => self.serve_connection(0, Reader::new(Arc::clone(stream)), None),
        }
    }

    fn accept<'scope>(&'scope self, stream: UnixStream, scope: &'scope Scope<'scope, '_>) {
        let refusal = loop {
            match peer::refusal(&stream, std::process::id()) {
                Ok(refusal) => break refusal,
                Err(error) => {
                    tracing::error!(%error, "cannot check the peer of a connection: trying again");
                    self.wait_for_resources();
                }
            }
        };
        if let Some(refusal) = refusal {
            tracing::warn!("a connection is refused: {refusal}");
            return;
        }
        let Some(inserted) = self.connections.insert(stream) else {
            tracing::warn!(MAX_CONNECTIONS, "a connection is refused: there are too many");
            return;
        };
        let connections = &self.connections;
        if connections.free.fetch_sub(1, Ordering::SeqCst) <= 0 {
            let reader = Builder::new().name("supervisor-read-more".to_owned()).stack_size(STACK_BYTES);
            // If no thread can be started, the next idle one reads it.
            if reader.spawn_scoped(scope, || self.read_next()).is_ok() {
                connections.free.fetch_add(1, Ordering::SeqCst);
            }
        }
        connections.accepted.extend([inserted]);
    }

    fn wait_for_resources(&self) {
        if !self.more_files() {
            std::thread::sleep(SHORTAGE_PAUSE);
        }
    }

    /// Reads one connection after the other: the body of a reader thread.
    pub(super) fn read_connections(&self) {
        while self.read_next() {
            self.connections.free.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn read_next(&self) -> bool {
        let next = self.connections.accepted.pop();
        let (Some((id, stream)), Endpoint::Listener { token, .. }) = (next, &self.endpoint) else { return false };
        self.serve_connection(id, Reader::new(stream), token.as_deref());
        self.connections.remove(id);
        true
    }

    fn serve_connection(&self, id: ConnectionId, mut reader: Reader, token: Option<&str>) {
        let hello = match reader.receive_hello(token) {
            Ok(Some(hello)) => hello,
            Ok(None) => return tracing::warn!("a connection is refused: it does not carry the token"),
            Err(error) => {
                // The agent disconnected before it sent anything.
                if matches!(self.endpoint, Endpoint::Stream(_)) {
                    self.post(Mail::Attached(id, reader.outbox(&self.connections.writers)));
                    self.post(Mail::FromAgent(id, vec![Input::Detached]));
                }
                return tracing::debug!(%error, "a connection was closed before its hello");
            }
        };
        self.post(Mail::Attached(id, reader.outbox(&self.connections.writers)));
        self.post(Mail::FromAgent(id, vec![Input::Requested(SupervisorRequest { kind: Some(Kind::Hello(hello)) })]));
        let read = reader.read(|requests| {
            self.starts.wait_below(MAX_WAITING_STARTS);
            self.post(Mail::FromAgent(id, requests.into_iter().map(Input::Requested).collect()))
        });
        if let Err(error) = read {
            tracing::warn!(%error, "an agent's connection cannot be read on");
        }
        self.post(Mail::FromAgent(id, vec![Input::Detached]));
    }
}

/// The current agent: the connection that sent its `Hello` last.
#[derive(Debug, Default)]
pub(super) struct CurrentAgent {
    id: ConnectionId,
    pub(super) outbox: Option<Outbox>,
}

impl CurrentAgent {
    /// Replaces the current connection, which is closed.
    pub(super) fn replace(&mut self, id: ConnectionId, outbox: Outbox) {
        self.id = id;
        if let Some(before) = self.outbox.replace(outbox) {
            before.cut();
        }
    }

    pub(super) fn is_current(&self, id: ConnectionId) -> bool {
        self.id == id
    }
}
