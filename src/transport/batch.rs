//! Batches: everything that is queued, taken at once and written as one frame.
//!
//! A batch is never empty and never waits to fill up. It holds what is queued when the writer polls, up to a number of
//! messages and of bytes. A message over the byte limit is a batch of its own.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::mpsc;

/// The default limit of messages per batch.
pub const MAX_BATCH_MESSAGES: usize = 1024;
/// The default limit of bytes per batch.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// A stream of batches from a bounded channel, in order. Ends when all senders are dropped and the queue is empty.
#[derive(Debug)]
pub struct Batches<T, W> {
    receiver: mpsc::Receiver<T>,
    weigh: W,
    max_messages: usize,
    max_bytes: usize,
    taken: Vec<T>,
    pending: VecDeque<T>,
}

impl<T, W: Fn(&T) -> usize> Batches<T, W> {
    /// Creates batches from `receiver`; `weigh` returns a message's size on the wire in bytes.
    pub fn new(receiver: mpsc::Receiver<T>, weigh: W) -> Self {
        Self::with_limits(receiver, weigh, MAX_BATCH_MESSAGES, MAX_BATCH_BYTES)
    }

    /// Creates batches with other limits; a limit of zero messages counts as one.
    pub fn with_limits(receiver: mpsc::Receiver<T>, weigh: W, max_messages: usize, max_bytes: usize) -> Self {
        let max_messages = max_messages.max(1);
        Self { receiver, weigh, max_messages, max_bytes, taken: Vec::new(), pending: VecDeque::new() }
    }

    /// Returns the next batch, or `None` at the end. Dropping the future before it is ready loses nothing.
    pub async fn next_batch(&mut self) -> Option<Vec<T>>
    where
        T: Unpin,
        W: Unpin,
    {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

/// Returns how many of the first messages fit one batch; 0 only if none is queued.
pub(crate) fn fitting<T>(
    waiting: &VecDeque<T>,
    max_messages: usize,
    max_bytes: usize,
    weigh: impl Fn(&T) -> usize,
) -> usize {
    let mut bytes = 0_usize;
    let light = waiting.iter().take(max_messages).take_while(|message| {
        bytes = bytes.saturating_add(weigh(message));
        bytes <= max_bytes
    });
    light.count().max(1).min(waiting.len())
}

impl<T: Unpin, W: Fn(&T) -> usize + Unpin> Stream for Batches<T, W> {
    type Item = Vec<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        let this = &mut *self;
        if this.pending.is_empty() {
            let taken = ready!(this.receiver.poll_recv_many(cx, &mut this.taken, this.max_messages));
            if taken == 0 {
                return Poll::Ready(None);
            }
            this.pending.extend(this.taken.drain(..));
        }
        let count = fitting(&this.pending, this.max_messages, this.max_bytes, &this.weigh);
        Poll::Ready(Some(this.pending.drain(..count).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches_of(sizes: &[usize], max_messages: usize, max_bytes: usize) -> Vec<Vec<usize>> {
        let (sender, receiver) = mpsc::channel(64);
        for size in sizes {
            sender.send(*size).await.expect("room for all");
        }
        drop(sender);
        let mut batches = Batches::with_limits(receiver, |size| *size, max_messages, max_bytes);
        let mut out = Vec::new();
        while let Some(batch) = batches.next_batch().await {
            out.push(batch);
        }
        out
    }

    #[tokio::test]
    async fn all_that_is_queued_leaves_in_one_batch() {
        assert_eq!(batches_of(&[1, 2, 3], 10, 100).await, [vec![1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_batch_ends_at_either_limit_and_keeps_the_order() {
        assert_eq!(
            batches_of(&[40, 40, 40, 1, 1, 1, 1], 3, 100).await,
            [vec![40, 40], vec![40], vec![1, 1, 1], vec![1]]
        );
    }

    #[tokio::test]
    async fn a_message_over_the_byte_limit_travels_alone() {
        assert_eq!(batches_of(&[1, 500, 1], 10, 100).await, [vec![1], vec![500], vec![1]]);
    }

    #[tokio::test]
    async fn a_wait_that_is_dropped_loses_nothing() {
        let (sender, receiver) = mpsc::channel(4);
        let mut batches = Batches::new(receiver, |_: &u8| 1);
        assert!(futures::poll!(std::pin::pin!(batches.next_batch())).is_pending());
        sender.send(7).await.expect("open");
        assert_eq!(batches.next_batch().await, Some(vec![7]));
    }
}
