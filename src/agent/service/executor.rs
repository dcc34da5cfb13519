//! Carries effects out without blocking the core's thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::host_workers::HostWorkers;
use super::mail::Mailbox;
use super::session::MasterSession;
use crate::agent::core::{ContainerId, SessionId, Step, SupervisorId};
use crate::proto::internal::{AgentMessage, SupervisorRequest};
use crate::transport::clock::Clock;
use crate::transport::connect::{Address, Addresses};
use crate::transport::outbox::{Budget, Durable, Message, Outbox, RecordNumber};
use crate::types::Now;

/// The outboxes of all supervisors; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct SupervisorOutboxes {
    shared: Arc<Mutex<Outboxes>>,
}

#[derive(Debug, Default)]
struct Outboxes {
    by_supervisor: BTreeMap<SupervisorId, Outbox<SupervisorRequest>>,
    /// No more requests are accepted.
    closed: bool,
}

impl SupervisorOutboxes {
    pub(super) fn insert(&self, supervisor: SupervisorId, outbox: Outbox<SupervisorRequest>) {
        let mut outboxes = self.lock();
        if outboxes.closed {
            close(&outbox);
        } else {
            outboxes.by_supervisor.insert(supervisor, outbox);
        }
    }

    /// Whether no more requests are accepted.
    pub(super) fn are_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn remove(&self, supervisor: SupervisorId) {
        if let Some(outbox) = self.lock().by_supervisor.remove(&supervisor) {
            close(&outbox);
        }
    }

    fn close(&self) {
        let mut outboxes = self.lock();
        outboxes.closed = true;
        for outbox in std::mem::take(&mut outboxes.by_supervisor).into_values() {
            close(&outbox);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outboxes> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes an outbox; queued messages are still sent.
fn close<M: Message>(outbox: &Outbox<M>) {
    outbox.close(Clock::system().now(), RecordNumber::default());
}

/// Carries out the effects of the core.
#[derive(Debug)]
pub(super) struct EffectExecutor {
    /// All configured masters.
    pub(super) masters: Addresses,
    pub(super) mailbox: Mailbox,
    pub(super) runtime: Handle,
    /// Aborts every session.
    pub(super) cut: CancellationToken,
    /// The sessions that have not ended.
    pub(super) sessions: TaskTracker,
    pub(super) supervisors: SupervisorOutboxes,
    pub(super) host_workers: HostWorkers,
    pub(super) session: Option<MasterSession>,
    /// The limit of messages queued for the master.
    pub(super) budget: Budget,
    pub(super) durable: Durable,
    /// Ends the supervision task.
    pub(super) end_supervision: CancellationToken,
    pub(super) batch: EffectBatch,
}

/// The messages and tasks of one batch of effects, sent together so that each peer and each thread is woken once.
#[derive(Debug, Default)]
pub(super) struct EffectBatch {
    to_master: Vec<(RecordNumber, AgentMessage)>,
    to_supervisors: BTreeMap<SupervisorId, Vec<(RecordNumber, SupervisorRequest)>>,
    steps: Vec<(ContainerId, Step)>,
    removals: Vec<ContainerId>,
}

impl EffectExecutor {
    pub(super) fn attach(&mut self, now: Now, id: SessionId, turn: u64, leader: Option<&str>) {
        self.flush(now);
        let leader = leader.and_then(|leader| leader.parse::<Address>().ok());
        let masters = leader.map_or_else(|| self.masters.in_turn(turn), Addresses::from);
        let (session, task) =
            MasterSession::open(id, masters, self.mailbox.clone(), self.cut.child_token(), self.outbox());
        self.sessions.spawn_on(task, &self.runtime);
        self.session = Some(session);
    }

    pub(super) fn detach(&mut self, now: Now, id: SessionId) {
        self.flush(now);
        if let Some(session) = self.session.take_if(|session| session.id == id) {
            session.cut.cancel();
        }
    }

    fn outbox(&self) -> Outbox<AgentMessage> {
        Outbox::new(&self.budget, &self.durable)
    }

    /// Queues a message for the next [`Self::flush`], as the following do.
    pub(super) fn send(&mut self, after: RecordNumber, id: SessionId, message: AgentMessage) {
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.batch.to_master.push((after, message));
        }
    }

    pub(super) fn supervise(&mut self, after: RecordNumber, supervisor: SupervisorId, request: SupervisorRequest) {
        self.batch.to_supervisors.entry(supervisor).or_default().push((after, request));
    }

    pub(super) fn provision(&mut self, container: ContainerId, step: Step) {
        self.batch.steps.push((container, step));
    }

    pub(super) fn remove_sandbox(&mut self, container: ContainerId) {
        self.batch.removals.push(container);
    }

    /// Sends the current batch.
    pub(super) fn flush(&mut self, now: Now) {
        let EffectBatch { to_master, to_supervisors, steps, removals } = std::mem::take(&mut self.batch);
        if let Some(session) = self.session.as_ref().filter(|_| !to_master.is_empty()) {
            session.outbox.push_all(now, to_master);
        }
        for (supervisor, requests) in to_supervisors {
            // A missing one has ended, and the core will receive that.
            if let Some(outbox) = self.supervisors.lock().by_supervisor.get(&supervisor) {
                outbox.push_all(now, requests);
            }
        }
        self.host_workers.provision(steps);
        self.host_workers.remove(removals);
    }

    /// Closes all sessions and threads; with `flush` the messages queued for the master are sent first.
    pub(super) fn finish(mut self, flush: bool) {
        self.flush(Clock::system().now());
        match &self.session {
            Some(session) if flush => close(&session.outbox),
            Some(_) | None => self.cut.cancel(),
        }
        self.supervisors.close();
        self.end_supervision.cancel();
        self.host_workers.stop();
        self.sessions.close();
    }
}
