//! Fails a run whose user code blocks the thread, instead of hanging.
//!
//! The simulation runs on a thread of its own, and notes when user code starts and ends. The waiting thread checks now and
//! then whether the same piece still runs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::environment::AuthorEnvironment;

/// The state shared by both threads.
#[derive(Debug, Default)]
pub(in crate::sim) struct Watchdog {
    /// Odd while user code runs.
    turns: AtomicU64,
    running: Mutex<Option<AuthorEnvironment>>,
}

/// A guard: user code runs until it is dropped.
#[derive(Debug)]
pub(super) struct WatchGuard<'a>(&'a Watchdog);

impl Drop for WatchGuard<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::AcqRel);
    }
}

impl Watchdog {
    /// Notes that user code is about to run.
    pub(super) fn watch(&self, environment: &AuthorEnvironment) -> WatchGuard<'_> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(environment.clone());
        self.turns.fetch_add(1, Ordering::AcqRel);
        WatchGuard(self)
    }

    /// A number that is the same as long as the same piece of user code runs; `None` when none does.
    pub(in crate::sim) fn turn(&self) -> Option<u64> {
        let turn = self.turns.load(Ordering::Acquire);
        (turn % 2 == 1).then_some(turn)
    }

    /// The error text for user code that does not return.
    pub(in crate::sim) fn error_text(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let text =
            running.as_ref().map(|running| running.error_text("blocks the thread: it calls what waits without .await"));
        text.unwrap_or_default()
    }
}
