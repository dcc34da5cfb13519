//! The thread on which the core runs.
//!
//! The thread waits only for its mailbox. Each turn passes all queued mail to the core, lets the core make offers, and
//! executes the effects ([`Dispatch`]). Mail of a connection carries a permit, which bounds the connection's unhandled
//! inputs.

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
    lag::{self, Lag, LagReporter},
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

/// How many inputs one mail holds: half of a connection's limit, so that the next are parsed meanwhile.
pub(super) const INPUTS_PER_MAIL: u32 = 32;
const MAILBOX: usize = 16_384;
const BATCH: usize = 1_024;
/// The longest turn: a longer batch is split, so that its first effects are sent earlier.
const TURN: Duration = Duration::from_millis(4);

/// A message to the core's thread.
#[derive(Debug)]
pub(super) enum Mail {
    Opened { session: SessionId, outbox: AnyOutbox },
    Inputs { inputs: Vec<Input>, permits: Option<OwnedSemaphorePermit> },
    Asked { question: Question, reply: oneshot::Sender<Answer> },
}

/// A handle of the core's thread; cheap to clone.
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
    /// The longest turn since the start.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }

    fn record(&self, took: Duration) {
        self.longest_ns.fetch_max(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The core's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the master has stopped")]
pub(super) struct Stopped;

impl Handle {
    /// How long the registry's oldest append has been pending.
    pub(super) fn lag(&self) -> &Lag {
        &self.lag
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The unread messages of all sessions.
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

/// How the core's thread ended: `None` while it runs, an error if it failed.
pub(super) type Ending = watch::Receiver<Option<Result<(), String>>>;

/// Starts the threads of core and registry. They end when every [`Handle`] is dropped, or when the registry fails.
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
    let (lag_reporter, lag) = lag::channel();
    let durable = Durable::default();
    let dispatch = Dispatch::new(store, durable.clone());
    let written = Written::new(budget.limits());
    registry_thread::spawn(registry, fence, changes, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (report, turns) = (written.clone(), Turns::default());
    let recorded_turns = turns.clone();
    thread::Builder::new().name("divvy-master".into()).spawn(move || {
        let harness = Harness::new(core);
        let service = Service {
            harness,
            clock: Clock::system(),
            lag_reporter,
            dispatch,
            written: report,
            turns: recorded_turns,
            detached: Vec::new(),
        };
        let outcome = runtime.block_on(service.run(mail, synced));
        ended.send_replace(Some(outcome));
    })?;
    Ok((Handle { mailbox, lag, budget, durable, written, turns }, ending))
}

/// The core, and what executes its effects.
struct Service {
    harness: Harness<Master>,
    clock: Clock,
    lag_reporter: LagReporter,
    dispatch: Dispatch,
    written: Written,
    turns: Turns,
    /// Sessions detached in this turn. They are removed after the turn's messages to them are queued.
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
                () = self.wait_until(deadline.into_iter().chain(self.lag_reporter.deadline()).min()) => {}
            }
            let now = self.clock.now();
            for (session, bytes) in self.written.take() {
                let session = SessionId(session);
                self.harness.handle(now, Input::Written { session, bytes });
            }
            let mut began = now;
            for one in batch.drain(..) {
                self.handle_mail(began, one);
                let passed = self.clock.now();
                if passed.since(began.mono_ns) >= TURN {
                    self.end_turn(began).await?;
                    began = passed;
                }
            }
            self.end_turn(began).await?;
        }
    }

    /// Ends a turn: executes its effects.
    async fn end_turn(&mut self, now: Now) -> Result<(), String> {
        self.harness.finish(now);
        self.harness.deliver(now, &mut self.dispatch);
        self.turns.record(self.clock.now().since(now.mono_ns));
        self.dispatch.send_stores().await?;
        for session in self.detached.drain(..) {
            self.dispatch.remove_session(session);
        }
        self.lag_reporter.update(now, self.dispatch.unsynced_since());
        self.dispatch.send_durable_answers();
        Ok(())
    }

    async fn wait_until(&self, deadline: Option<u64>) {
        match deadline {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn handle_mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Opened { session, outbox } => {
                self.dispatch.add_session(session, outbox);
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
                let request = self.dispatch.add_request(reply);
                self.harness.handle(now, Input::Asked { request, principal: Principal::Anonymous, question });
            }
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
