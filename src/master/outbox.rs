//! What waits to be written to one peer.
//!
//! The core's thread puts in and never waits; the peer's connection takes all there is into one frame. A peer is cut when
//! its socket takes nothing for [`STALL`] while something waits, or when more waits than a sane peer can cause.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::Stream;
use tokio_util::sync::CancellationToken;

use crate::{transport::batch::fitting, types::Now};

/// A peer whose socket takes nothing for this long is cut.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// A frame takes no more, so that on a slow link a peer sees frame after frame and is not taken for a stalled one.
const FRAME_BYTES: usize = 64 << 10;

/// So many messages may wait. Statuses and acknowledgements are bounded by the tasks there are, offers by the agents;
/// what is left to reach this is a peer that asks for ever and never reads.
const MOST: usize = 4 << 20;

/// The writing end: clones share one queue.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    shared: Arc<Mutex<Queue<T>>>,
    cut: CancellationToken,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    closed: bool,
    reader: Option<Waker>,
    /// Monotonic reading of the last time something was taken, or the queue was empty.
    moved_ns: u64,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), cut: self.cut.clone() }
    }
}

impl<T> Outbox<T> {
    pub(super) fn new(now: Now) -> Self {
        let queue = Queue { waiting: VecDeque::new(), closed: false, reader: None, moved_ns: now.mono_ns };
        Self { shared: Arc::new(Mutex::new(queue)), cut: CancellationToken::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; wakes the connection.
    pub(super) fn push(&self, now: Now, message: T) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.waiting.is_empty() {
            queue.moved_ns = now.mono_ns;
        }
        queue.waiting.push_back(message);
        let surplus = queue.waiting.len() > MOST;
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        if surplus {
            self.cut.cancel();
        }
    }

    /// No more is added; what waits still goes out, then the connection ends.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Fires when the peer has to be cut.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Whether something waits and nothing was taken for [`STALL`].
    pub(super) fn stalled(&self, now: Now) -> bool {
        let queue = self.lock();
        !queue.waiting.is_empty() && now.since(queue.moved_ns) >= STALL
    }

    /// The reading end; there is one. A batch holds at most so many messages, and of those that `weigh` something at most
    /// [`FRAME_BYTES`] or a single one.
    pub(super) fn batches(&self, most: usize, weigh: fn(&T) -> usize) -> Batches<T> {
        Batches { outbox: self.clone(), most, weigh, clock: crate::transport::clock::Clock::system() }
    }
}

/// All that waits, batch by batch.
#[derive(Debug)]
pub(super) struct Batches<T> {
    outbox: Outbox<T>,
    most: usize,
    weigh: fn(&T) -> usize,
    clock: crate::transport::clock::Clock,
}

impl<T> Stream for Batches<T> {
    type Item = Vec<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        let mut queue = self.outbox.lock();
        if queue.waiting.is_empty() {
            if queue.closed || self.outbox.cut.is_cancelled() {
                return Poll::Ready(None);
            }
            queue.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        queue.moved_ns = self.clock.now().mono_ns;
        let count = fitting(&queue.waiting, self.most, FRAME_BYTES, self.weigh);
        if count < queue.waiting.len() {
            return Poll::Ready(Some(queue.waiting.drain(..count).collect()));
        }
        // The room goes with the messages: thousands of connections would keep that of their largest burst.
        Poll::Ready(Some(std::mem::take(&mut queue.waiting).into()))
    }
}

impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        self.outbox.cut.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn what_waits_leaves_in_order_and_the_end_comes_after_it() {
        let outbox = Outbox::new(Now::default());
        let mut batches = outbox.batches(2, |_| 1);
        (1..=3).for_each(|number| outbox.push(Now::default(), number));
        outbox.close();
        outbox.push(Now::default(), 4);
        assert_eq!(batches.next().await, Some(vec![1, 2]));
        assert_eq!(batches.next().await, Some(vec![3]));
        assert_eq!(batches.next().await, None);
    }

    #[test]
    fn a_peer_is_stalled_only_while_something_waits() {
        let outbox = Outbox::new(Now::default());
        let later = Now::default().advanced(STALL);
        assert!(!outbox.stalled(later));
        outbox.push(Now::default(), 1);
        assert!(outbox.stalled(later));
    }

    #[test]
    fn a_connection_that_is_gone_cuts_its_outbox() {
        let outbox = Outbox::<u8>::new(Now::default());
        drop(outbox.batches(1, |_| 1));
        assert!(outbox.cut().is_cancelled());
    }

    #[tokio::test]
    async fn a_batch_is_no_larger_than_a_slow_link_carries_within_a_timeout() {
        let outbox = Outbox::new(Now::default());
        let mut batches = outbox.batches(9, |bytes| *bytes);
        for bytes in [FRAME_BYTES / 2, FRAME_BYTES / 2, 1, FRAME_BYTES * 3, 1, 1] {
            outbox.push(Now::default(), bytes);
        }
        outbox.close();
        assert_eq!(batches.next().await, Some(vec![FRAME_BYTES / 2, FRAME_BYTES / 2]));
        assert_eq!(batches.next().await, Some(vec![1]));
        assert_eq!(batches.next().await, Some(vec![FRAME_BYTES * 3]), "one that is over the limit goes alone");
        assert_eq!(batches.next().await, Some(vec![1, 1]));
    }
}
