//! The accept loop: HTTP/1 and gRPC over HTTP/2 on one port, distinguished by their first bytes.
//!
//! Rule: no idle client occupies a connection. A client that sends nothing is dropped at the first-byte deadline, and
//! one that sends its header slowly at the header deadline. One that stops reading or sending half-way is dropped at
//! the stall limit, and a dead one at the keep-alive timeout. There are never more than [`Limits::connections`]. The
//! served app is an [`axum::Router`]. [`connection::serve`] takes any byte stream, so encryption can be added between
//! it and TCP without changing either.

mod connection;
#[cfg_attr(not(feature = "master"), expect(dead_code, reason = "the master alone counts inputs"))]
pub(crate) mod inflow;
mod listener;
mod opening;
mod outflow;
mod progress;
mod unknown;

#[cfg(test)]
mod busy_tests;
#[cfg(test)]
mod tests;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use listener::{ListenError, Listener};

/// The limits that a server imposes on its clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a new connection may send nothing.
    pub first_byte: Duration,
    /// How long an HTTP/1 request head may take, which is also how long a kept-alive connection may idle.
    pub header: Duration,
    /// How long a client may pause within an HTTP/1 request body.
    pub stall: Duration,
    /// How long a client may read nothing of our response; it may be busy.
    pub write_stall: Duration,
    /// The largest request head, in bytes; at least 8 KiB.
    pub header_bytes: usize,
    /// The largest HTTP request body that is read in full, in bytes. Streams and gRPC have limits of their own.
    pub body_bytes: usize,
    /// Streams that a client may open on one HTTP/2 connection.
    pub streams: u32,
    /// Idle time on an HTTP/2 connection after which the server sends a keep-alive ping.
    pub keep_alive: Duration,
    /// How long the client may take to answer it.
    pub keep_alive_timeout: Duration,
    /// How long requests in progress may continue after shutdown begins.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            write_stall: Duration::from_secs(super::KEEP_ALIVE_SECS + super::KEEP_ALIVE_TIMEOUT_SECS),
            header_bytes: 64 << 10,
            body_bytes: 8 << 20,
            streams: 128,
            keep_alive: Duration::from_secs(super::KEEP_ALIVE_SECS),
            keep_alive_timeout: Duration::from_secs(super::KEEP_ALIVE_TIMEOUT_SECS),
            drain: Duration::from_secs(3),
        }
    }
}

impl Limits {
    /// Returns the defaults with another write stall limit. A busy peer gets the same time to answer a keep-alive ping.
    #[must_use]
    pub fn with_write_stall(write_stall: Duration) -> Self {
        let limits = Self::default();
        let keep_alive_timeout = write_stall.saturating_sub(limits.keep_alive).max(limits.keep_alive);
        Self { write_stall, keep_alive_timeout, ..limits }
    }
}

/// The client of a request's connection; in every request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The remote address of the connection.
    pub address: SocketAddr,
}

/// State shared by all connections of a server.
struct Server {
    app: Router,
    limits: Limits,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

/// Serves `app` on `listener` until `stop` is cancelled.
///
/// Then the server accepts no more connections. Open ones may finish their requests within [`Limits::drain`]; the rest
/// are closed.
pub async fn serve(listener: Listener, app: Router, limits: Limits, stop: CancellationToken) {
    let app = app.fallback(unknown::unknown).layer(DefaultBodyLimit::max(limits.body_bytes));
    let server = Arc::new(Server { app, limits, stopping: stop, stopped: CancellationToken::new() });
    let connections = TaskTracker::new();
    let _ = until(&server.stopping, accept_all(&listener, &server, &connections)).await;
    drop(listener);
    connections.close();
    if tokio::time::timeout(server.limits.drain, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "connections cut at the end");
        server.stopped.cancel();
        connections.wait().await;
    }
}

async fn accept_all(listener: &Listener, server: &Arc<Server>, connections: &TaskTracker) {
    let slots = Arc::new(Semaphore::new(server.limits.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = accept(listener).await;
        let server = Arc::clone(server);
        connections.spawn(async move {
            let _slot = slot;
            let stopped = server.stopped.clone();
            let _ = until(&stopped, connection::serve(stream, Peer { address }, &server)).await;
        });
    }
}

/// Accepts the next connection. Without free descriptors it waits until connections end, rather than spin.
async fn accept(listener: &Listener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Without it small frames wait tens of milliseconds for the previous acknowledgement.
                if stream.set_nodelay(true).is_ok() {
                    return (stream, address);
                }
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection, trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Runs `work` until it ends or `token` is cancelled, whichever comes first.
async fn until<T>(token: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    token.run_until_cancelled(work).await
}
