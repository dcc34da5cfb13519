//! The number of the last durable record, shared by all sessions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use super::queue::RecordNumber;

/// The number of the last record that is durable; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    number: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// The wakers of readers whose first message waits, by record number and reader.
type Waiting = BTreeMap<(RecordNumber, u64), Waker>;

impl Durable {
    /// Returns the number of the last durable record.
    pub(crate) fn number(&self) -> RecordNumber {
        RecordNumber(self.shared.number.load(Ordering::Acquire))
    }

    /// Records that everything up to `number` is durable, and wakes only the readers that wait for no more.
    pub(crate) fn advance(&self, number: RecordNumber) {
        let woken = {
            let mut waiting = self.waiting();
            self.shared.number.fetch_max(number.0, Ordering::AcqRel);
            let later = waiting.split_off(&(RecordNumber(number.0.saturating_add(1)), 0));
            std::mem::replace(&mut *waiting, later)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Registers a reader to be woken when `number` is durable; false if it already is.
    pub(super) fn wait(&self, number: RecordNumber, reader: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting();
        if self.number() >= number {
            return false;
        }
        waiting.insert((number, reader), waker.clone());
        true
    }

    /// Removes a reader's registration.
    pub(super) fn forget(&self, number: RecordNumber, reader: u64) {
        self.waiting().remove(&(number, reader));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_record_that_is_durable_wakes_only_those_that_wait_for_it() {
        let durable = Durable::default();
        let (first, second) = (Arc::<Counter>::default(), Arc::<Counter>::default());
        assert!(durable.wait(RecordNumber(3), 1, &Waker::from(first.clone())));
        assert!(durable.wait(RecordNumber(5), 2, &Waker::from(second.clone())));
        durable.advance(RecordNumber(4));
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (1, 0));
        durable.advance(RecordNumber(2));
        assert_eq!(durable.number(), RecordNumber(4), "it never goes back");
        assert!(!durable.wait(RecordNumber(4), 1, &Waker::from(first)));
        durable.advance(RecordNumber(5));
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
    }
}
