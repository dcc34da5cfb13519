//! A queue between plain threads whose producer never waits for room.
//!
//! The deciding thread feeds the others through it and must not wait for them, or two threads could wait for each other.
//! Its length is bounded where work enters: whoever reads requests waits with [`Queue::wait_below`] before taking more.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// A queue that can be closed. What is in it then is still handed out.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { items: VecDeque::new(), closed: false }), changed: Condvar::new() }
    }

    /// Adds to the end; dropped when the queue is closed.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        if !state.closed {
            state.items.extend(items);
            self.changed.notify_all();
        }
    }

    /// The first item, waited for; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.wait(|state| state.items.is_empty() && !state.closed);
        let item = state.items.pop_front();
        if item.is_some() {
            self.changed.notify_all();
        }
        item
    }

    /// All that is there, waited for; `None` when the queue is closed and empty.
    pub(super) fn pop_all(&self) -> Option<VecDeque<T>> {
        let mut state = self.wait(|state| state.items.is_empty() && !state.closed);
        let items = std::mem::take(&mut state.items);
        (!items.is_empty()).then_some(items)
    }

    /// All that is there, which may be nothing.
    pub(super) fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().items)
    }

    /// Waits until fewer than `limit` items are queued.
    pub(super) fn wait_below(&self, limit: usize) {
        drop(self.wait(|state| state.items.len() >= limit && !state.closed));
    }

    /// No more items.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn wait(&self, condition: impl Fn(&State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        self.changed.wait_while(self.lock(), |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that panicked left the items as they were between two calls: they are whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_queued_before_the_close_is_handed_out_after_it() {
        let queue = Queue::new();
        queue.extend([1, 2, 3]);
        queue.close();
        queue.extend([4]);
        assert_eq!(queue.pop(), Some(1));
        assert_eq!(queue.pop_all(), Some(VecDeque::from([2, 3])));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.pop_all(), None);
    }

    #[test]
    fn a_reader_waits_for_room_until_somebody_takes() {
        let queue = Queue::new();
        queue.extend([1, 2]);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.wait_below(2));
            assert_eq!(queue.pop(), Some(1));
            reader.join().unwrap();
        });
    }
}
