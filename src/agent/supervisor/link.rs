//! An agent's end of the connection to one supervisor.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::SupervisorId;
use crate::proto::internal::SupervisorRequest;

/// How many batches of requests may be queued.
const QUEUE: usize = 64;

/// The supervisor has ended, or this agent has detached from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("supervisor {0} has ended")]
pub struct LinkClosed(pub SupervisorId);

/// A handle to one supervisor. Clones refer to the same one.
///
/// When the last is dropped the agent detaches: a supervisor that is a process of its own keeps running, one within
/// this process kills its containers and ends.
#[derive(Clone, Debug)]
pub struct Link {
    id: SupervisorId,
    requests: mpsc::Sender<Vec<SupervisorRequest>>,
    state: Arc<State>,
}

/// The state that a link shares with its task.
#[derive(Debug)]
pub(super) struct State {
    takes_starts: AtomicBool,
    has_died: AtomicBool,
    pub(super) stop: CancellationToken,
    pub(super) done: CancellationToken,
}

impl State {
    pub(super) fn stop_starts(&self) {
        self.takes_starts.store(false, Ordering::Relaxed);
    }

    pub(super) fn has_died(&self) -> bool {
        self.has_died.load(Ordering::Relaxed)
    }

    pub(super) fn mark_dead(&self) {
        self.stop_starts();
        self.has_died.store(true, Ordering::Relaxed);
    }
}

impl Link {
    pub(super) fn new(id: SupervisorId) -> (Self, mpsc::Receiver<Vec<SupervisorRequest>>, Arc<State>) {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (stop, done) = (CancellationToken::new(), CancellationToken::new());
        let (takes_starts, has_died) = (AtomicBool::new(true), AtomicBool::new(false));
        let state = Arc::new(State { takes_starts, has_died, stop, done });
        (Self { id, requests, state: state.clone() }, queue, state)
    }

    /// The id of the supervisor.
    #[must_use]
    pub fn id(&self) -> &SupervisorId {
        &self.id
    }

    /// Whether it takes starts: not when it died, was retired, is silent, or is of another build.
    #[must_use]
    pub fn takes_starts(&self) -> bool {
        self.state.takes_starts.load(Ordering::Relaxed)
    }

    /// Whether the supervisor died and only its records are left.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.state.has_died()
    }

    /// Returns when no more events follow: the supervisor has ended, or this agent has detached from it.
    pub async fn closed(&self) {
        self.state.done.cancelled().await;
    }

    /// Queues requests, in order; waits only when many batches are queued already.
    ///
    /// Queued requests may be lost with the connection: see [`super::FromSupervisor::Event`].
    ///
    /// # Errors
    /// The supervisor has ended.
    pub async fn send(&self, requests: Vec<SupervisorRequest>) -> Result<(), LinkClosed> {
        self.requests.send(requests).await.map_err(|_refused| LinkClosed(self.id.clone()))
    }

    /// As [`Self::send`], from a thread without a runtime.
    ///
    /// # Errors
    /// The supervisor has ended.
    ///
    /// # Panics
    /// When called from within an asynchronous task.
    pub fn blocking_send(&self, requests: Vec<SupervisorRequest>) -> Result<(), LinkClosed> {
        self.requests.blocking_send(requests).map_err(|_refused| LinkClosed(self.id.clone()))
    }

    /// Detaches from the supervisor and waits until that is done. One within this process kills its containers, whose
    /// exits are still delivered: the caller has to keep receiving events.
    pub async fn shutdown(&self) {
        self.state.stop.cancel();
        self.state.done.cancelled().await;
    }
}
