//! The thread on which the core runs.
//!
//! The core's thread waits for nothing but its mailbox: it takes all that is queued, hands it to the core, lets the core
//! make its offers, and puts the effects into the outboxes as the gate lets them out. What connections put into the
//! mailbox carries a permit of theirs, so that none can have more than so many inputs undigested.

use std::{collections::HashMap, io, thread};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{
    core::{Answer, Effect, Event, Input, Master, Order, Principal, Question, RequestId, SessionId},
    gate::{Gate, Released},
    harness::{Harness, Outlet},
    lag::{self, Lag, Watcher},
    outbox::Outbox,
    registry::{Fence, Registry},
    registry_thread::{self, Progress, Store},
};
use crate::{transport::clock::Clock, types::Now};

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

/// The outbox of whoever is at the other end.
#[derive(Clone, Debug)]
pub(super) enum AnyOutbox {
    Framework(Outbox<Event>),
    Agent(Outbox<Order>),
}

/// A way to the core; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    mailbox: mpsc::Sender<Mail>,
    lag: Lag,
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
pub(super) fn start(core: Master, registry: Box<dyn Registry>, fence: Fence) -> io::Result<(Handle, Ending)> {
    let (mailbox, mail) = mpsc::channel(MAILBOX);
    let (store, changes) = mpsc::channel(MAILBOX);
    let (ended, ending) = watch::channel(None);
    let (progress, synced) = watch::channel(Ok(0));
    let (watcher, lag) = lag::watched();
    registry_thread::spawn(registry, fence, changes, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("divvy-master".into()).spawn(move || {
        let service = Service {
            harness: Harness::new(core),
            clock: Clock::system(),
            gate: Gate::default(),
            watcher,
            store,
            outboxes: HashMap::new(),
            replies: HashMap::new(),
            requests: 0,
        };
        let outcome = runtime.block_on(service.run(mail, synced));
        ended.send_replace(Some(outcome));
    })?;
    Ok((Handle { mailbox, lag }, ending))
}

/// The core with all that carries its effects out.
struct Service {
    harness: Harness,
    clock: Clock,
    gate: Gate,
    watcher: Watcher,
    store: mpsc::Sender<Store>,
    outboxes: HashMap<SessionId, AnyOutbox>,
    replies: HashMap<RequestId, oneshot::Sender<Answer>>,
    requests: u64,
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
            let mut released = Vec::new();
            tokio::select! {
                biased;
                Ok(()) = synced.changed() => self.gate.synced(synced.borrow_and_update().clone()?, &mut released),
                count = mail.recv_many(&mut batch, BATCH) => if count == 0 { return Ok(()) },
                () = self.due(deadline.into_iter().chain(self.watcher.deadline()).min()) => {}
            }
            let now = self.clock.now();
            for one in batch.drain(..) {
                self.take(now, one);
            }
            self.harness.finish(now, &mut (&mut self.gate, &mut released));
            self.watcher.look(now, self.gate.waits_since());
            self.carry_out(released).await?;
        }
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
                self.outboxes.insert(session, outbox);
                self.harness.handle(now, Input::Attached { session, principal: Principal::Anonymous });
            }
            Mail::Inputs { inputs, permits } => {
                for input in inputs {
                    let gone = if let Input::Detached { session } = input { Some(session) } else { None };
                    self.harness.handle(now, input);
                    if let Some(session) = gone {
                        self.outboxes.remove(&session);
                    }
                }
                drop(permits);
            }
            Mail::Asked { question, reply } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.replies.insert(request, reply);
                self.harness.handle(now, Input::Asked { request, principal: Principal::Anonymous, question });
            }
        }
    }

    async fn carry_out(&mut self, released: Vec<Released>) -> Result<(), String> {
        let now = self.clock.now();
        for one in released {
            match one {
                Released::Store { number, changes } => {
                    let sent = self.store.send((number, changes)).await;
                    sent.map_err(|_closed| "the registry's thread has ended".to_owned())?;
                }
                Released::Effect(Effect::Tell { session, event }) => {
                    if let Some(AnyOutbox::Framework(outbox)) = self.outboxes.get(&session) {
                        outbox.push(now, event);
                    }
                }
                Released::Effect(Effect::Order { session, order }) => {
                    if let Some(AnyOutbox::Agent(outbox)) = self.outboxes.get(&session) {
                        outbox.push(now, order);
                    }
                }
                Released::Effect(Effect::Close { session }) => match self.outboxes.get(&session) {
                    Some(AnyOutbox::Framework(outbox)) => outbox.close(),
                    Some(AnyOutbox::Agent(outbox)) => outbox.close(),
                    None => {}
                },
                Released::Effect(Effect::Reply { request, answer }) => {
                    if let Some(reply) = self.replies.remove(&request) {
                        // Who asked may have gone meanwhile.
                        drop(reply.send(answer));
                    }
                }
                Released::Effect(Effect::Persist(_)) => {}
            }
        }
        Ok(())
    }
}

/// The gate lets out what need not wait.
impl Outlet for (&mut Gate, &mut Vec<Released>) {
    fn take(&mut self, now: Now, effect: Effect) {
        self.0.push(now, effect, self.1);
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
