//! The thread on which the core runs, and the one on which the registry syncs.
//!
//! The core's thread waits for nothing but its mailbox: it takes all that is queued, hands it to the core, lets the core
//! make its offers, and has the effects carried out ([`Dispatch`]). What connections put into the mailbox carries a permit
//! of theirs, so that none can have more than [`PER_CONNECTION`] inputs undigested.

use std::{io, sync::Arc, thread};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{
    core::{Answer, Effect, Input, Master, Principal, Question, SessionId},
    dispatch::{AnyOutbox, Dispatch, Store},
    lag::{self, Lag, Watcher},
    registry::{Fence, Registry},
};
use crate::{
    proto::internal::RegistryChange,
    transport::{
        clock::Clock,
        outbox::{Budget, Durable, Message, Outbox, RecordNumber, Written},
    },
    types::Now,
};

/// Inputs of one connection that the core has not taken yet.
pub(super) const PER_CONNECTION: usize = 64;
/// Inputs that go into the mailbox together: half of a connection's, so that the next are made meanwhile.
pub(super) const TOGETHER: u32 = 32;
const MAILBOX: usize = 16_384;
const BATCH: usize = 1_024;

/// What goes into the mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    Opened { session: SessionId, outbox: AnyOutbox },
    Inputs { inputs: Vec<Input>, permits: Option<OwnedSemaphorePermit> },
    Asked { question: Question, reply: oneshot::Sender<Answer> },
}

/// How far the registry's thread has got: the number of the last store that is synced, or why it gave up.
type Progress = Result<u64, String>;

/// A way to the core; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    mailbox: mpsc::Sender<Mail>,
    lag: Lag,
    budget: Budget,
    durable: Durable,
    written: Written,
}

/// The core's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the master has stopped")]
pub(super) struct Stopped;

impl Handle {
    /// How long the registry has owed an answer.
    pub(super) fn lag(&self) -> &Lag {
        &self.lag
    }

    /// What waits to leave to all sessions.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A queue for a new session.
    pub(super) fn outbox<M: Message>(&self, session: SessionId) -> Outbox<M> {
        Outbox::reporting(&self.budget, &self.durable, &self.written, session.0)
    }

    pub(super) async fn send(&self, mail: Mail) -> Result<(), Stopped> {
        self.mailbox.send(mail).await.map_err(|_closed| Stopped)
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Answer, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Mail::Asked { question, reply }).await?;
        answer.await.map_err(|_closed| Stopped)
    }
}

/// How the core's thread ended: `None` while it runs, then why it could not go on, if there was a reason.
pub(super) type Ending = watch::Receiver<Option<Result<(), String>>>;

/// Starts both threads. They end when every [`Handle`] is gone, or when the registry fails.
pub(super) fn start(
    core: Master,
    registry: Box<dyn Registry>,
    fence: Fence,
    budget: Budget,
) -> io::Result<(Handle, Ending)> {
    let (mailbox, mail) = mpsc::channel(MAILBOX);
    let (store, changes) = mpsc::channel(MAILBOX);
    let (ended, ending) = watch::channel(None);
    let (progress, synced) = watch::channel(Ok(0));
    let (watcher, lag) = lag::watched();
    let durable = Durable::default();
    let dispatch = Dispatch::new(store, durable.clone());
    let written = Written::new(budget.limits());
    thread::Builder::new().name("divvy-registry".into()).spawn(move || keep(registry, fence, changes, &progress))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let report = written.clone();
    thread::Builder::new().name("divvy-master".into()).spawn(move || {
        let service =
            Service { core, clock: Clock::system(), watcher, dispatch, written: report, detached: Vec::new() };
        let outcome = runtime.block_on(service.run(mail, synced));
        ended.send_replace(Some(outcome));
    })?;
    Ok((Handle { mailbox, lag, budget, durable, written }, ending))
}

/// Appends what comes, all that is queued in one go.
fn keep(
    mut registry: Box<dyn Registry>,
    fence: Fence,
    mut changes: mpsc::Receiver<Store>,
    progress: &watch::Sender<Progress>,
) {
    let mut batch = Vec::new();
    while changes.blocking_recv_many(&mut batch, BATCH) > 0 {
        let last = batch.last().map_or(0, |(number, _)| *number);
        let all: Vec<RegistryChange> = batch.drain(..).flat_map(|(_, changes)| changes).collect();
        let outcome = registry.append(fence, &all);
        let failed = outcome.is_err();
        // What it replaces was seen, or is no longer of interest.
        drop(progress.send_replace(outcome.map(|_| last).map_err(|error| error.to_string())));
        if failed {
            return;
        }
    }
}

/// The core with all that carries its effects out.
struct Service {
    core: Master,
    clock: Clock,
    watcher: Watcher,
    dispatch: Dispatch,
    written: Written,
    /// Sessions that ended in this turn: what the turn sends to them is put in before they are forgotten.
    detached: Vec<SessionId>,
}

impl Service {
    async fn run(
        mut self,
        mut mail: mpsc::Receiver<Mail>,
        mut synced: watch::Receiver<Progress>,
    ) -> Result<(), String> {
        let (mut batch, mut effects) = (Vec::with_capacity(BATCH), Vec::new());
        loop {
            let deadline = self.core.deadline();
            tokio::select! {
                biased;
                Ok(()) = synced.changed() => {
                    let number = RecordNumber(synced.borrow_and_update().clone()?);
                    self.dispatch.synced(number);
                    self.core.handle(self.clock.now(), Input::Synced { number }, &mut effects);
                }
                () = self.written.reported() => {}
                count = mail.recv_many(&mut batch, BATCH) => if count == 0 { return Ok(()) },
                () = self.due(deadline.into_iter().chain(self.watcher.deadline()).min()) => {}
            }
            let now = self.clock.now();
            for (session, bytes) in self.written.take() {
                let session = SessionId(session);
                self.core.handle(now, Input::Written { session, bytes }, &mut effects);
            }
            for one in batch.drain(..) {
                self.take(now, one, &mut effects);
            }
            if deadline.is_some_and(|deadline| deadline <= now.mono_ns) {
                self.core.handle(now, Input::Ticked, &mut effects);
            }
            self.core.settle(now, &mut effects);
            self.dispatch.carry_out(now, effects.drain(..)).await?;
            effects.shrink_to(BATCH);
            for session in self.detached.drain(..) {
                self.dispatch.forget(session);
            }
            self.watcher.look(now, self.dispatch.waits_since());
            self.dispatch.answer_held();
        }
    }

    async fn due(&self, deadline: Option<u64>) {
        match deadline {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, now: Now, mail: Mail, effects: &mut Vec<Effect>) {
        match mail {
            Mail::Opened { session, outbox } => {
                self.dispatch.open(session, outbox);
                self.core.handle(now, Input::Attached { session, principal: Principal::Anonymous }, effects);
            }
            Mail::Inputs { inputs, permits } => {
                for input in inputs {
                    if let Input::Detached { session } = input {
                        self.detached.push(session);
                    }
                    self.core.handle(now, input, effects);
                }
                drop(permits);
            }
            Mail::Asked { question, reply } => {
                let request = self.dispatch.await_answer(reply);
                self.core.handle(now, Input::Asked { request, principal: Principal::Anonymous, question }, effects);
            }
        }
    }
}

/// Permits of one connection.
pub(super) fn permits() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(PER_CONNECTION))
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
