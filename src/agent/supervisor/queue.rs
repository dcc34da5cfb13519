//! A queue between plain threads whose producer never waits for room.
//!
//! The core thread feeds the others through it and must not wait for them, or two threads could wait for each other.
//! Its length is bounded where work enters: the readers of requests call [`Queue::wait_below`] before they read more.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// A queue that can be closed. What is in it then is still handed out.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Threads that wait for items, and for room: a notification that none waits for costs a system call all the same.
    takers: usize,
    fillers: usize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { items: VecDeque::new(), closed: false, takers: 0, fillers: 0 };
        Self { state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new() }
    }

    /// Adds to the end; dropped when the queue is closed.
    pub(super) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let before = state.items.len();
        state.items.extend(items);
        let (added, takers) = (state.items.len() - before, state.takers);
        drop(state);
        match added.min(takers) {
            0 => {}
            1 => self.filled.notify_one(),
            _ => self.filled.notify_all(),
        }
    }

    /// The first item, waited for; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        self.take_from(std::collections::VecDeque::pop_front)
    }

    /// Up to `most` items, waited for, but not more than half of what is there: another may take the rest. `None` when
    /// the queue is closed and empty.
    pub(super) fn pop_some(&self, most: usize) -> Option<Vec<T>> {
        self.take_from(|items| {
            let count = items.len().div_ceil(2).min(most);
            (count > 0).then(|| items.drain(..count).collect())
        })
    }

    /// All that is there, waited for; `None` when the queue is closed and empty.
    pub(super) fn pop_all(&self) -> Option<VecDeque<T>> {
        self.take_from(|items| (!items.is_empty()).then(|| std::mem::take(items)))
    }

    /// All that is there, which may be nothing.
    pub(super) fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().items)
    }

    /// Waits until fewer than `limit` items are queued.
    pub(super) fn wait_below(&self, limit: usize) {
        let mut state = self.lock();
        state.fillers += 1;
        let full = |state: &mut State<T>| state.items.len() >= limit && !state.closed;
        let mut state = self.drained.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        state.fillers -= 1;
    }

    /// No more items.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    fn take_from<U>(&self, take: impl FnOnce(&mut VecDeque<T>) -> Option<U>) -> Option<U> {
        let mut state = self.lock();
        state.takers += 1;
        let nothing = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        let mut state = self.filled.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
        state.takers -= 1;
        let taken = take(&mut state.items);
        if taken.is_some() && state.fillers > 0 {
            self.drained.notify_all();
        }
        taken
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
    fn several_that_take_share_what_is_there() {
        let queue = Queue::new();
        queue.extend(0..10);
        assert_eq!(queue.pop_some(3), Some(vec![0, 1, 2]));
        assert_eq!(queue.pop_some(8), Some(vec![3, 4, 5, 6]));
        assert_eq!(queue.pop_some(8), Some(vec![7, 8]));
        assert_eq!(queue.pop_some(8), Some(vec![9]));
        queue.close();
        assert_eq!(queue.pop_some(8), None);
    }

    #[test]
    fn a_reader_waits_for_room_until_an_item_is_taken() {
        let queue = Queue::new();
        queue.extend([1, 2]);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.wait_below(2));
            assert_eq!(queue.pop(), Some(1));
            reader.join().unwrap();
        });
    }
}
