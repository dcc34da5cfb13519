//! The two ends of a queue: one thread pushes messages and never waits, a connection takes frames.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    budget::Budget,
    durable::Durable,
    message::Message,
    queue::{EndReason, RecordNumber, SessionQueue, Taken, Watch},
    written::Written,
};
use crate::{transport::clock::Clock, types::Now};

/// The sending end; clones share the queue.
#[derive(Debug)]
pub(crate) struct Outbox<M: Message> {
    shared: Arc<Shared<M>>,
}

#[derive(Debug)]
struct Shared<M: Message> {
    state: Mutex<State<M>>,
    budget: Budget,
    durable: Durable,
    /// Among the sessions of the budget.
    number: u64,
    ended: CancellationToken,
    clock: Clock,
    /// Where written bytes are reported, and under which name.
    report: Option<(Written, u64)>,
}

#[derive(Debug)]
struct State<M: Message> {
    queue: SessionQueue<M>,
    /// Set while a reader waits.
    reader: Option<Waker>,
    /// The record for which the reader is registered.
    awaited: Option<RecordNumber>,
    /// Bytes freed since the queue was last empty.
    since_empty: usize,
}

impl<M: Message> Clone for Outbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Message> Outbox<M> {
    pub(crate) fn new(budget: &Budget, durable: &Durable) -> Self {
        Self::build(budget, durable, None)
    }

    /// Creates an outbox that reports written bytes under this name.
    pub(crate) fn reporting(budget: &Budget, durable: &Durable, written: &Written, name: u64) -> Self {
        Self::build(budget, durable, Some((written.clone(), name)))
    }

    fn build(budget: &Budget, durable: &Durable, report: Option<(Written, u64)>) -> Self {
        let clock = Clock::system();
        let queue = SessionQueue::new(clock.now(), *budget.limits());
        let shared = Shared {
            state: Mutex::new(State { queue, reader: None, awaited: None, since_empty: 0 }),
            number: budget.open(),
            budget: budget.clone(),
            durable: durable.clone(),
            ended: CancellationToken::new(),
            clock,
            report,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Pushes messages that may be sent once `after` is durable.
    pub(crate) fn push(&self, now: Now, after: RecordNumber, messages: impl IntoIterator<Item = M>) {
        self.push_all(now, messages.into_iter().map(|message| (after, message)));
    }

    /// Pushes messages, each of which may be sent once its record is durable, and wakes the reader once.
    pub(crate) fn push_all(&self, now: Now, messages: impl IntoIterator<Item = (RecordNumber, M)>) {
        let allowance = self.shared.budget.allowance();
        self.shared.change(|queue| {
            for (after, message) in messages {
                queue.push(now, allowance, after, message);
            }
        });
    }

    /// Closes the queue: queued messages are still sent, then the session ends.
    pub(crate) fn close(&self, now: Now, after: RecordNumber) {
        self.shared.change(|queue| queue.close(now, after));
    }

    /// Waits until the session has ended, for any reason. Only this future detects a stalled peer.
    pub(crate) async fn ended(&self) -> EndReason {
        let shared = &self.shared;
        loop {
            if let Some(reason) = shared.lock().queue.end_reason() {
                return reason.clone();
            }
            let now = shared.clock.now();
            let watch = shared.lock().queue.watch(now, shared.durable.number());
            match watch {
                Watch::Stalled => shared.change(SessionQueue::end_stalled),
                Watch::LookAt(at_ns) => {
                    tokio::select! {
                        () = shared.ended.cancelled() => {}
                        () = shared.clock.sleep_until(at_ns) => {}
                    }
                }
            }
        }
    }

    /// Returns the end reason if the peer caused it.
    pub(crate) fn failure(&self) -> Option<EndReason> {
        self.shared.lock().queue.end_reason().filter(|reason| reason.is_failure()).cloned()
    }

    /// Returns the reading end; there is one.
    pub(crate) fn batches(&self) -> Batches<M> {
        Batches { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Message> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, updates the byte counts, and wakes the reader if a message may be sent.
    fn change(&self, change: impl FnOnce(&mut SessionQueue<M>)) {
        let reader = {
            let mut state = self.lock();
            let before = state.queue.bytes();
            change(&mut state.queue);
            self.account(&mut state, before);
            self.reader_to_wake(&mut state)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn account(&self, state: &mut State<M>, before: usize) {
        let queue = &mut state.queue;
        self.budget.changed(before, queue.bytes());
        let dropped = queue.take_dropped();
        if dropped > 0 {
            self.budget.count_dropped(dropped);
        }
        let freed = queue.take_freed();
        if let Some((written, name)) = self.report.as_ref().filter(|_| freed > 0) {
            state.since_empty += freed;
            let is_empty = queue.bytes() == 0;
            written.add(*name, freed, is_empty.then_some(state.since_empty));
            if is_empty {
                state.since_empty = 0;
            }
        }
        if let Some(reason) = queue.end_reason()
            && !self.ended.is_cancelled()
        {
            if reason.is_failure() {
                self.budget.count_ended();
            }
            self.ended.cancel();
        }
    }

    /// Returns the reader's waker if a message may be sent. If the first message waits for a record, registers the
    /// reader there.
    fn reader_to_wake(&self, state: &mut State<M>) -> Option<Waker> {
        let record = state.queue.waits_for()?;
        let reader = state.reader.as_ref()?;
        let is_awaited = || state.awaited == Some(record) || self.durable.wait(record, self.number, reader);
        if record > self.durable.number() && is_awaited() {
            state.awaited = Some(record);
            return None;
        }
        state.awaited = None;
        state.reader.take()
    }
}

impl<M: Message> Drop for Shared<M> {
    fn drop(&mut self) {
        let bytes = self.lock().queue.bytes();
        self.budget.changed(bytes, 0);
        self.budget.close();
    }
}

/// A stream of frames with everything that may be sent.
#[derive(Debug)]
pub(crate) struct Batches<M: Message> {
    shared: Arc<Shared<M>>,
}

impl<M: Message> Stream for Batches<M> {
    type Item = Vec<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<M>>> {
        let shared = &self.shared;
        let mut state = shared.lock();
        loop {
            let before = state.queue.bytes();
            let taken = state.queue.take(shared.clock.now(), shared.durable.number());
            shared.account(&mut state, before);
            match taken {
                Taken::Frame(frame) => return Poll::Ready(Some(frame)),
                Taken::End => return Poll::Ready(None),
                Taken::Wait(record) => {
                    state.awaited = record;
                    if record.is_none_or(|record| shared.durable.wait(record, shared.number, cx.waker())) {
                        state.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<M: Message> Drop for Batches<M> {
    fn drop(&mut self) {
        let awaited = self.shared.lock().awaited.take();
        if let Some(record) = awaited {
            self.shared.durable.forget(record, self.shared.number);
        }
        self.shared.change(|queue| queue.end(EndReason::Gone));
    }
}
