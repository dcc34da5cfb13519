//! The task around a driver's core: feeds it inputs and carries out its effects.
//!
//! All inputs arrive through bounded channels and are processed in batches. User calls stay in their queue while
//! earlier calls wait for the socket, so a framework cannot queue calls without bound. Inputs of the master and the
//! callbacks, and stops, are always processed.

use std::{collections::VecDeque, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{
    FutureExt as _,
    future::{AbortHandle, Abortable, BoxFuture},
};
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use super::{
    callbacks::{self, Delivery},
    connection::{Connection, Numbered},
    core::{BATCH, Driver, Effect, Finished, Input, Options, Request},
    driver::{DeliveryMode, Shared},
    environment::Environment,
    scheduler::Scheduler,
};
use crate::harness::Harness;

/// Stops that wait for the core.
pub(super) const STOPS: usize = 4;
/// User calls that wait for the core.
pub(super) const MAILBOX: usize = 1024;
/// Frames and changes of the connection that wait for the core.
const LINK_QUEUE: usize = 64;
/// Rounds over the queues before the service waits for the timer and for stops again.
const MAX_ROUNDS: usize = 64;
/// How long the callback that runs when the driver ends may take to return.
const LAST_CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The driver itself failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// What a driver needs to start.
pub(super) struct Start {
    pub(super) options: Options,
    pub(super) scheduler: Box<dyn Scheduler>,
    pub(super) mailbox: mpsc::Receiver<Input>,
    pub(super) stops: mpsc::Receiver<Input>,
    pub(super) rng: StdRng,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Starts the tasks of a driver.
pub(super) fn spawn(start: Start, shared: &Arc<Shared>) {
    let (returned_to, returned) = mpsc::channel(2 * BATCH);
    let (deliveries, delivered) = mpsc::channel(2 * BATCH);
    let (link_to, link) = mpsc::channel(LINK_QUEUE);
    let (abort_callbacks, registration) = AbortHandle::new_pair();
    let callbacks = callbacks::run(start.scheduler, Arc::clone(shared), delivered, returned_to);
    let callbacks = Abortable::new(callbacks, registration);
    shared.environment.spawn(Box::pin(async move {
        // Aborted means that the last callback took too long; the service has logged that.
        let _ = callbacks.await;
    }));
    let service = Service {
        harness: Harness::new(Driver::new(start.options, start.rng)),
        timer: Timer::default(),
        mailbox: start.mailbox,
        stops: start.stops,
        returned,
        link,
        link_to,
        connection: None,
        backlog: VecDeque::new(),
        deliveries,
        abort_callbacks,
        shared: Arc::clone(shared),
    };
    let shared = Arc::clone(shared);
    let environment = Arc::clone(&shared.environment);
    environment.spawn_own(Box::pin(async move {
        if AssertUnwindSafe(service.run()).catch_unwind().await.is_err() {
            tracing::error!("the driver's core panicked; this is a bug in divvy");
            shared.ended.send_replace(Some(Err(Broken)));
        }
    }));
}

struct Service {
    harness: Harness<Driver>,
    shared: Arc<Shared>,
    timer: Timer,
    mailbox: mpsc::Receiver<Input>,
    stops: mpsc::Receiver<Input>,
    returned: mpsc::Receiver<Input>,
    link: mpsc::Receiver<Input>,
    link_to: mpsc::Sender<Input>,
    connection: Option<Connection>,
    /// Calls that the connection's queue has no room for.
    backlog: VecDeque<Numbered>,
    deliveries: mpsc::Sender<Delivery>,
    abort_callbacks: AbortHandle,
}

/// Fires no later than the core's deadline; firing too often is harmless.
struct Timer {
    due_ns: Option<u64>,
    sleep: BoxFuture<'static, ()>,
}

impl Default for Timer {
    fn default() -> Self {
        Self { due_ns: None, sleep: Box::pin(std::future::pending()) }
    }
}

impl Timer {
    fn arm(&mut self, environment: &dyn Environment, due_ns: Option<u64>) {
        let Some(due) = due_ns.filter(|due| self.due_ns.is_none_or(|armed| *due < armed)) else { return };
        let wait = Duration::from_nanos(due.saturating_sub(environment.now().mono_ns));
        *self = Self { due_ns, sleep: environment.sleep(wait) };
    }
}

impl Service {
    async fn run(mut self) {
        let mut finished = self.handle(Input::Started);
        while finished.is_none() {
            self.timer.arm(&*self.shared.environment, self.harness.deadline());
            let input = self.next().await;
            if matches!(input, Some(Input::Called { request: Request::Stop(_), .. })) {
                self.take_calls_before_the_stop();
            }
            finished = input.and_then(|input| self.handle(input)).or_else(|| self.drain_queues());
        }
        if let Some(how) = finished {
            self.end(how).await;
        }
    }

    /// Waits for the next input; `None` when the socket only accepted a call.
    async fn next(&mut self) -> Option<Input> {
        let room = room(self.connection.as_ref(), &self.backlog);
        tokio::select! {
            // In a fixed order, so that a run can be repeated. Rare inputs are first. `drain_queues` takes from each of
            // the other queues, so none of them starves.
            biased;
            Some(input) = self.stops.recv() => Some(input),
            () = &mut self.timer.sleep => {
                self.timer = Timer::default();
                Some(Input::Tick)
            }
            Some(input) = self.returned.recv() => Some(input),
            Some(input) = self.link.recv() => Some(input),
            Some(input) = self.mailbox.recv(), if self.takes_calls() => Some(input),
            permit = room => {
                match (permit, self.backlog.pop_front()) {
                    (Some(permit), Some(call)) => permit.send(call),
                    // The connection was lost; its calls have no number on another one.
                    (None, _) => self.backlog.clear(),
                    (Some(_), None) => {}
                }
                None
            }
        }
    }

    /// True when the socket accepted all earlier calls and the master keeps up with them.
    fn takes_calls(&self) -> bool {
        self.backlog.is_empty() && self.harness.core.takes_calls()
    }

    /// Processes the calls made before the stop, so that they still reach the master.
    fn take_calls_before_the_stop(&mut self) {
        while let Ok(input) = self.mailbox.try_recv() {
            self.handle(input);
        }
    }

    /// Processes a few more inputs from each queue.
    fn drain_queues(&mut self) -> Option<Finished> {
        self.flush();
        for _ in 0..MAX_ROUNDS {
            let returned = self.returned.try_recv().ok();
            let linked = self.link.try_recv().ok();
            let called = if self.takes_calls() { self.mailbox.try_recv().ok() } else { None };
            if returned.is_none() && linked.is_none() && called.is_none() {
                return None;
            }
            for input in [returned, linked, called].into_iter().flatten() {
                if let Some(how) = self.handle(input) {
                    return Some(how);
                }
            }
        }
        None
    }

    fn handle(&mut self, input: Input) -> Option<Finished> {
        let now = self.shared.environment.now();
        self.harness.handle(now, input);
        self.harness.finish(now);
        // Before the effects: a callback that receives an offer can use it.
        self.shared.publish(&self.harness.core);
        let (mut effects, mut finished) = (self.harness.take(), None);
        for effect in effects.drain(..) {
            if let Some(how) = self.perform(effect) {
                finished = Some(how);
            }
        }
        self.harness.reuse(effects);
        finished
    }

    fn perform(&mut self, effect: Effect) -> Option<Finished> {
        match effect {
            Effect::Connect { session, master, after } => {
                if let Some(earlier) = self.connection.take().filter(|earlier| !earlier.is_closing()) {
                    earlier.abort();
                }
                self.backlog.clear();
                tracing::debug!(session, master, ?after, "connecting");
                let (environment, inputs) = (&self.shared.environment, self.link_to.clone());
                self.connection = Some(Connection::open(environment, session, master, after, inputs));
            }
            Effect::Disconnect { session } => {
                self.flush();
                let rest = std::mem::take(&mut self.backlog);
                if let Some(connection) = self.connection.as_mut().filter(|current| current.session() == session) {
                    connection.close(&*self.shared.environment, rest);
                }
            }
            Effect::Send { session, seq, call } => {
                if self.connection.as_ref().is_some_and(|current| current.session() == session) {
                    self.backlog.push_back((seq, call));
                    self.flush();
                }
            }
            Effect::Deliver { callback, event } => {
                // The core delivers no more than a batch at a time, half the capacity. A closed channel means that the
                // callbacks have stopped.
                let _ = self.deliveries.try_send((callback, event));
            }
            Effect::Finish(how) => return Some(how),
        }
        None
    }

    /// Moves calls to the connection as far as it has room.
    fn flush(&mut self) {
        let Some(calls) = self.connection.as_ref().and_then(Connection::calls) else { return };
        while !self.backlog.is_empty()
            && let Ok(permit) = calls.try_reserve()
            && let Some(call) = self.backlog.pop_front()
        {
            permit.send(call);
        }
    }

    /// Waits for the last callback and the last calls, then publishes the end.
    async fn end(mut self, how: Finished) {
        tracing::debug!(?how, "the driver has ended");
        self.mailbox.close();
        let failed = matches!(how, Finished::Failed(_));
        // A driver that its user stopped runs no further callback, even if it ends with an error.
        self.shared.delivery_mode.send_modify(|delivery_mode| {
            *delivery_mode = if failed && *delivery_mode == DeliveryMode::All {
                DeliveryMode::FinalEvent
            } else {
                DeliveryMode::Disabled
            };
        });
        drop(self.deliveries);
        drop(self.link_to);
        self.stops.close();
        let callbacks = async { while self.returned.recv().await.is_some() {} };
        tokio::select! {
            biased;
            () = callbacks => {}
            () = self.shared.environment.sleep(LAST_CALLBACK_TIMEOUT) => {
                tracing::warn!("a callback is dropped, it ran for {LAST_CALLBACK_TIMEOUT:?} after the driver ended");
                self.abort_callbacks.abort();
            }
        }
        while self.link.recv().await.is_some() {}
        self.shared.ended.send_replace(Some(Ok(how)));
    }
}

/// Waits until the connection has room for a call; `None` when it is closed. Never returns while the backlog is empty.
async fn room<'a>(
    connection: Option<&'a Connection>,
    backlog: &VecDeque<Numbered>,
) -> Option<mpsc::Permit<'a, Numbered>> {
    if backlog.is_empty() {
        std::future::pending::<()>().await;
    }
    connection?.calls()?.reserve().await.ok()
}
