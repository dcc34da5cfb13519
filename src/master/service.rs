//! The thread on which the core runs.
//!
//! The core's thread waits for nothing but its mailbox: it takes all that is queued, hands it to the core, lets the core
//! make its offers, and has the effects carried out ([`Dispatch`]). What connections put into the mailbox carries a permit
//! of theirs, so that none can have more than so many inputs undigested.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{
    core::{Answer, Input, Master, Principal, Question, SessionId},
    dispatch::{AnyOutbox, Dispatch},
    lag::{self, Lag, Watcher},
    registry::{Fence, Registry},
    registry_thread::{self, Progress},
};
use crate::{
    harness::Harness,
    transport::{
        clock::Clock,
        outbox::{Budget, Durable, Message, Outbox, RecordNumber, Written},
    },
    types::Now,
};

/// Inputs that go into the mailbox together: half of a connection's, so that the next are made meanwhile.
pub(super) const TOGETHER: u32 = 32;
const MAILBOX: usize = 16_384;
const BATCH: usize = 1_024;
/// A batch that takes longer is ended early, so that what it decided leaves and the rest of the mail is a batch of its own.
const TURN: Duration = Duration::from_millis(4);

/// What goes into the mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    Opened { session: SessionId, outbox: AnyOutbox },
    Inputs { inputs: Vec<Input>, permits: Option<OwnedSemaphorePermit> },
    Asked { question: Question, reply: oneshot::Sender<Answer> },
}

/// A way to the core; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    mailbox: mpsc::Sender<Mail>,
    lag: Lag,
    budget: Budget,
    durable: Durable,
    written: Written,
    turns: Turns,
}

/// How long the turns of the core take; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    longest_ns: Arc<AtomicU64>,
}

impl Turns {
    /// The longest since the start.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }

    fn note(&self, took: Duration) {
        self.longest_ns.fetch_max(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
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

    pub(super) fn turns(&self) -> &Turns {
        &self.turns
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
    registry_thread::spawn(registry, fence, changes, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (report, turns) = (written.clone(), Turns::default());
    let noted = turns.clone();
    thread::Builder::new().name("divvy-master".into()).spawn(move || {
        let harness = Harness::new(core);
        let service = Service {
            harness,
            clock: Clock::system(),
            watcher,
            dispatch,
            written: report,
            turns: noted,
            detached: Vec::new(),
        };
        let outcome = runtime.block_on(service.run(mail, synced));
        ended.send_replace(Some(outcome));
    })?;
    Ok((Handle { mailbox, lag, budget, durable, written, turns }, ending))
}

/// The core with all that carries its effects out.
struct Service {
    harness: Harness<Master>,
    clock: Clock,
    watcher: Watcher,
    dispatch: Dispatch,
    written: Written,
    turns: Turns,
    /// Sessions that ended in this turn: what the turn sends to them is put in before they are forgotten.
    detached: Vec<SessionId>,
}

impl Service {
    async fn run(
        mut self,
        mut mail: mpsc::Receiver<Mail>,
        mut synced: watch::Receiver<Progress>,
    ) -> Result<(), String> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.harness.deadline();
            tokio::select! {
                biased;
                Ok(()) = synced.changed() => {
                    let number = RecordNumber(synced.borrow_and_update().clone()?);
                    self.dispatch.synced(number);
                    self.harness.handle(self.clock.now(), Input::Synced { number });
                }
                () = self.written.reported() => {}
                count = mail.recv_many(&mut batch, BATCH) => if count == 0 { return Ok(()) },
                () = self.due(deadline.into_iter().chain(self.watcher.deadline()).min()) => {}
            }
            let now = self.clock.now();
            for (session, bytes) in self.written.take() {
                let session = SessionId(session);
                self.harness.handle(now, Input::Written { session, bytes });
            }
            let mut began = now;
            for one in batch.drain(..) {
                self.take(began, one);
                let passed = self.clock.now();
                if passed.since(began.mono_ns) >= TURN {
                    self.end_turn(began).await?;
                    began = passed;
                }
            }
            self.end_turn(began).await?;
        }
    }

    /// What the turn decided leaves.
    async fn end_turn(&mut self, now: Now) -> Result<(), String> {
        self.harness.finish(now);
        self.harness.deliver(now, &mut self.dispatch);
        self.turns.note(self.clock.now().since(now.mono_ns));
        self.dispatch.send_stores().await?;
        for session in self.detached.drain(..) {
            self.dispatch.forget(session);
        }
        self.watcher.look(now, self.dispatch.waits_since());
        self.dispatch.answer_held();
        Ok(())
    }

    async fn due(&self, deadline: Option<u64>) {
        match deadline {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Opened { session, outbox } => {
                self.dispatch.open(session, outbox);
                self.harness.handle(now, Input::Attached { session, principal: Principal::Anonymous });
            }
            Mail::Inputs { inputs, permits } => {
                for input in inputs {
                    if let Input::Detached { session } = input {
                        self.detached.push(session);
                    }
                    self.harness.handle(now, input);
                }
                drop(permits);
            }
            Mail::Asked { question, reply } => {
                let request = self.dispatch.await_answer(reply);
                self.harness.handle(now, Input::Asked { request, principal: Principal::Anonymous, question });
            }
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
