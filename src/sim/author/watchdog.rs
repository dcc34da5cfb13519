//! Sees to it that user code which blocks the thread fails the run instead of hanging it.
//!
//! The simulation runs on a thread of its own and says when it begins and ends to run user code; whoever waits for it
//! looks now and then whether the same piece is still running.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::surroundings::Surroundings;

/// What both threads look at.
#[derive(Debug, Default)]
pub(in crate::sim) struct Watchdog {
    /// Odd while user code runs.
    turns: AtomicU64,
    whose: Mutex<Option<Surroundings>>,
}

/// User code runs as long as this is there.
#[derive(Debug)]
pub(super) struct Watched<'a>(&'a Watchdog);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::AcqRel);
    }
}

impl Watchdog {
    /// User code is about to run.
    pub(super) fn watch(&self, surroundings: &Surroundings) -> Watched<'_> {
        *self.whose.lock().unwrap_or_else(PoisonError::into_inner) = Some(surroundings.clone());
        self.turns.fetch_add(1, Ordering::AcqRel);
        Watched(self)
    }

    /// A number that is the same as long as the same piece of user code runs; `None` when none does.
    pub(in crate::sim) fn turn(&self) -> Option<u64> {
        let turn = self.turns.load(Ordering::Acquire);
        (turn % 2 == 1).then_some(turn)
    }

    /// What to say of user code that does not return.
    pub(in crate::sim) fn blame(&self) -> String {
        let whose = self.whose.lock().unwrap_or_else(PoisonError::into_inner);
        let blame = whose.as_ref().map(|whose| whose.blame("blocks the thread: it calls what waits without .await"));
        blame.unwrap_or_default()
    }
}
