//! What is on its way to one peer: put in by the core's thread, which never waits, and taken out in batches.
//!
//! It has no limit of its own. The core keeps what can be in it small: one status in flight per task, one request per
//! change of a container.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::transport::batch::fitting;

/// The most messages taken at once.
const BATCH: usize = 1024;
/// The most bytes taken at once, unless a single message is larger. Little, so that on a slow link the other end hears
/// something often enough not to give this one up.
const BATCH_BYTES: usize = 64 << 10;

/// A queue to one peer; clones are the same queue.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    filled: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    messages: VecDeque<T>,
    closed: bool,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Outbox<T> {
    pub(super) fn new() -> Self {
        let queue = Mutex::new(Queue { messages: VecDeque::new(), closed: false });
        Self { shared: Arc::new(Shared { queue, filled: Notify::new() }) }
    }

    /// Puts a message in; a closed outbox drops it.
    pub(super) fn push(&self, message: T) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.messages.push_back(message);
            self.shared.filled.notify_one();
        }
    }

    /// Takes no more; what is in it still goes out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.shared.filled.notify_one();
    }

    /// All that is there, up to the limits; `None` when it is closed and empty. One taker at a time.
    pub(super) async fn next_batch(&self, weigh: impl Fn(&T) -> usize) -> Option<Vec<T>> {
        loop {
            {
                let mut queue = self.lock();
                if !queue.messages.is_empty() {
                    let count = fitting(&queue.messages, BATCH, BATCH_BYTES, &weigh);
                    return Some(queue.messages.drain(..count).collect());
                }
                if queue.closed {
                    return None;
                }
            }
            self.shared.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // A push or a cut leaves the queue whole wherever it stops.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_holds_what_is_there_up_to_the_limits() {
        let outbox = Outbox::new();
        for size in [40_000, 25_000, 25_000, 200_000, 1] {
            outbox.push(size);
        }
        let mut batches = vec![];
        outbox.close();
        outbox.push(7);
        while let Some(batch) = outbox.next_batch(|size| *size).await {
            batches.push(batch);
        }
        assert_eq!(batches, [vec![40_000, 25_000], vec![25_000], vec![200_000], vec![1]]);
    }

    #[tokio::test]
    async fn a_taker_wakes_when_something_comes() {
        let outbox = Outbox::new();
        let taker = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.next_batch(|_: &u8| 1).await }
        });
        tokio::task::yield_now().await;
        outbox.push(5);
        assert_eq!(taker.await.unwrap(), Some(vec![5]));
    }
}
