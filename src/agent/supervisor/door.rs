//! How agents come to a supervisor: connections are accepted, their peers looked at, and a thread reads each.
//!
//! A few reading threads stand ready, so that an agent is served also when the host has no threads left. More are started
//! while all are taken: a peer that holds its connection open keeps no other from being served.

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

/// Threads that stand ready to read.
pub(super) const READERS: usize = 2;
/// Connections served at once, greeted or not.
const MAX_CONNECTIONS: usize = 32;
/// Starts that may wait before no more requests are read.
const MAX_WAITING_STARTS: usize = 1024;

/// How agents come to a service.
#[derive(Debug)]
pub(super) enum Door {
    /// Whatever connects, if it knows the token.
    Listener { listener: UnixListener, token: Option<String> },
    /// The other end of this stream, and no other.
    Stream(Arc<UnixStream>),
}

/// Names a connection.
pub(super) type ConnectionId = u64;

/// Connections that were accepted.
#[derive(Debug)]
pub(super) struct Connections {
    accepted: Queue<(ConnectionId, Arc<UnixStream>)>,
    /// Threads that have none to read, less the connections that no thread has taken yet.
    free: AtomicIsize,
    open: Mutex<Open>,
    pub(super) writers: Queue<Written>,
}

#[derive(Debug, Default)]
struct Open {
    streams: BTreeMap<ConnectionId, Arc<UnixStream>>,
    next: ConnectionId,
    closed: bool,
}

impl Connections {
    pub(super) fn new() -> Self {
        let free = AtomicIsize::new(READERS.cast_signed());
        Self { accepted: Queue::new(), free, open: Mutex::default(), writers: Queue::new() }
    }

    /// Ends them all; what is queued for an agent is still sent.
    pub(super) fn close(&self) {
        self.accepted.close();
        self.writers.close();
        let mut open = self.lock();
        open.closed = true;
        for stream in open.streams.values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Takes a connection in, if there is room.
    fn enter(&self, stream: UnixStream) -> Option<(ConnectionId, Arc<UnixStream>)> {
        let mut open = self.lock();
        if open.closed || open.streams.len() >= MAX_CONNECTIONS {
            return None;
        }
        open.next += 1;
        let (id, stream) = (open.next, Arc::new(stream));
        open.streams.insert(id, Arc::clone(&stream));
        Some((id, stream))
    }

    fn leave(&self, id: ConnectionId) {
        self.lock().streams.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Accepts connections, and has them read by threads of `scope`.
    pub(super) fn receive<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        match &self.door {
            Door::Listener { listener, .. } => {
                for stream in listener.incoming() {
                    match stream {
                        Ok(stream) => self.let_in(stream, scope),
                        // Closed by `stop`.
                        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => return,
                        Err(error) => {
                            tracing::error!(%error, "an agent cannot be let in: trying again");
                            self.recover_from_shortage();
                        }
                    }
                }
            }
            Door::Stream(stream) => self.converse(0, Reader::new(Arc::clone(stream)), None),
        }
    }

    fn let_in<'scope>(&'scope self, stream: UnixStream, scope: &'scope Scope<'scope, '_>) {
        let refusal = loop {
            match peer::refusal(&stream, std::process::id()) {
                Ok(refusal) => break refusal,
                Err(error) => {
                    tracing::error!(%error, "cannot look at who connects: trying again");
                    self.recover_from_shortage();
                }
            }
        };
        if let Some(refusal) = refusal {
            tracing::warn!("a connection is refused: {refusal}");
            return;
        }
        let Some(entered) = self.connections.enter(stream) else {
            tracing::warn!(MAX_CONNECTIONS, "a connection is refused: there are too many");
            return;
        };
        let connections = &self.connections;
        if connections.free.fetch_sub(1, Ordering::SeqCst) <= 0 {
            let reader = Builder::new().name("supervisor-read-more".to_owned()).stack_size(STACK_BYTES);
            // Where there is no thread to be had the next that is free takes it.
            if reader.spawn_scoped(scope, || self.read_next()).is_ok() {
                connections.free.fetch_add(1, Ordering::SeqCst);
            }
        }
        connections.accepted.extend([entered]);
    }

    fn recover_from_shortage(&self) {
        if !self.more_files() {
            std::thread::sleep(SHORTAGE_PAUSE);
        }
    }

    /// Reads one connection after the other: what each of the threads that stand ready does.
    pub(super) fn read_connections(&self) {
        while self.read_next() {
            self.connections.free.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn read_next(&self) -> bool {
        let next = self.connections.accepted.pop();
        let (Some((id, stream)), Door::Listener { token, .. }) = (next, &self.door) else { return false };
        self.converse(id, Reader::new(stream), token.as_deref());
        self.connections.leave(id);
        true
    }

    fn converse(&self, id: ConnectionId, mut reader: Reader, token: Option<&str>) {
        let hello = match reader.greeting(token) {
            Ok(Some(hello)) => hello,
            Ok(None) => return tracing::warn!("a connection is refused: it does not carry the token"),
            Err(error) => {
                // An agent that goes before it has said anything.
                if matches!(self.door, Door::Stream(_)) {
                    self.post(Mail::Attached(id, reader.outbox(&self.connections.writers)));
                    self.post(Mail::FromAgent(id, vec![Input::Detached]));
                }
                return tracing::debug!(%error, "a connection ends before its greeting");
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

/// Whose requests count: the connection that greeted last.
#[derive(Debug, Default)]
pub(super) struct Current {
    id: ConnectionId,
    pub(super) outbox: Option<Outbox>,
}

impl Current {
    /// Another connection takes the place of the one there is, which is cut.
    pub(super) fn replace(&mut self, id: ConnectionId, outbox: Outbox) {
        self.id = id;
        if let Some(before) = self.outbox.replace(outbox) {
            before.cut();
        }
    }

    pub(super) fn is(&self, id: ConnectionId) -> bool {
        self.id == id
    }
}
