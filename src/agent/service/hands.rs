//! Carries effects out, without ever making the core's thread wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::housekeeping::Housekeeping;
use super::mail::Mailbox;
use super::session::Session;
use crate::agent::core::{ContainerId, SessionId, Step, SupervisorId};
use crate::proto::internal::{AgentMessage, SupervisorRequest};
use crate::transport::clock::Clock;
use crate::transport::connect::{Address, Addresses};
use crate::transport::outbox::{Budget, Durable, Message, Outbox, RecordNumber};
use crate::types::Now;

/// The ways to the supervisors; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervisors {
    ways: Arc<Mutex<Ways>>,
}

#[derive(Debug, Default)]
struct Ways {
    outboxes: BTreeMap<SupervisorId, Outbox<SupervisorRequest>>,
    /// No more requests come.
    closed: bool,
}

impl Supervisors {
    pub(super) fn insert(&self, supervisor: SupervisorId, outbox: Outbox<SupervisorRequest>) {
        let mut ways = self.lock();
        if ways.closed {
            close(&outbox);
        } else {
            ways.outboxes.insert(supervisor, outbox);
        }
    }

    /// Whether no more requests come.
    pub(super) fn are_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn remove(&self, supervisor: SupervisorId) {
        if let Some(outbox) = self.lock().outboxes.remove(&supervisor) {
            close(&outbox);
        }
    }

    fn close(&self) {
        let mut ways = self.lock();
        ways.closed = true;
        for outbox in std::mem::take(&mut ways.outboxes).into_values() {
            close(&outbox);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits still goes out.
fn close<M: Message>(outbox: &Outbox<M>) {
    outbox.close(Clock::system().now(), RecordNumber::default());
}

/// Everything an effect may need.
#[derive(Debug)]
pub(super) struct Hands {
    /// All masters there may be.
    pub(super) masters: Addresses,
    pub(super) mailbox: Mailbox,
    pub(super) runtime: Handle,
    /// Cuts every session off.
    pub(super) cut: CancellationToken,
    /// The sessions that have not ended.
    pub(super) sessions: TaskTracker,
    pub(super) supervisors: Supervisors,
    pub(super) housekeeping: Housekeeping,
    pub(super) session: Option<Session>,
    /// What may wait for the master.
    pub(super) budget: Budget,
    pub(super) durable: Durable,
    /// Ends what keeps supervisors at hand.
    pub(super) end_supervision: CancellationToken,
    pub(super) turn: Turn,
}

/// What one turn of the core sends, kept together so that each peer and each thread is woken once.
#[derive(Debug, Default)]
pub(super) struct Turn {
    to_master: Vec<(RecordNumber, AgentMessage)>,
    to_supervisors: BTreeMap<SupervisorId, Vec<(RecordNumber, SupervisorRequest)>>,
    steps: Vec<(ContainerId, Step)>,
    removals: Vec<ContainerId>,
}

impl Hands {
    pub(super) fn attach(&mut self, now: Now, id: SessionId, turn: u64, leader: Option<&str>) {
        self.flush(now);
        let leader = leader.and_then(|leader| leader.parse::<Address>().ok());
        let masters = leader.map_or_else(|| self.masters.in_turn(turn), Addresses::from);
        let (session, life) = Session::begin(id, masters, self.mailbox.clone(), self.cut.child_token(), self.outbox());
        self.sessions.spawn_on(life, &self.runtime);
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

    /// Sends at the next [`Self::flush`], as the following do.
    pub(super) fn send(&mut self, after: RecordNumber, id: SessionId, message: AgentMessage) {
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.turn.to_master.push((after, message));
        }
    }

    pub(super) fn supervise(&mut self, after: RecordNumber, supervisor: SupervisorId, request: SupervisorRequest) {
        self.turn.to_supervisors.entry(supervisor).or_default().push((after, request));
    }

    pub(super) fn provision(&mut self, container: ContainerId, step: Step) {
        self.turn.steps.push((container, step));
    }

    pub(super) fn remove_sandbox(&mut self, container: ContainerId) {
        self.turn.removals.push(container);
    }

    /// Sends what the turn has gathered.
    pub(super) fn flush(&mut self, now: Now) {
        let Turn { to_master, to_supervisors, steps, removals } = std::mem::take(&mut self.turn);
        if let Some(session) = self.session.as_ref().filter(|_| !to_master.is_empty()) {
            session.outbox.push_all(now, to_master);
        }
        for (supervisor, requests) in to_supervisors {
            // One that is not there has ended, and the core will receive that.
            if let Some(outbox) = self.supervisors.lock().outboxes.get(&supervisor) {
                outbox.push_all(now, requests);
            }
        }
        self.housekeeping.provision(steps);
        self.housekeeping.remove(removals);
    }

    /// Lets go of everybody; `politely` means that what is queued for the master goes out first.
    pub(super) fn finish(mut self, politely: bool) {
        self.flush(Clock::system().now());
        match &self.session {
            Some(session) if politely => close(&session.outbox),
            Some(_) | None => self.cut.cancel(),
        }
        self.supervisors.close();
        self.end_supervision.cancel();
        self.housekeeping.stop();
        self.sessions.close();
    }
}
