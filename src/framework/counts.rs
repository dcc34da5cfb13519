//! What a driver did so far, in numbers that grow, and two that say how things stand.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Outcome;

/// A reading of a driver's counters.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Callbacks that returned `Ok`.
    pub callbacks_ok: u64,
    /// Callbacks that returned `Err`.
    pub callbacks_failed: u64,
    /// Callbacks that panicked.
    pub callbacks_panicked: u64,
    /// Statuses that the callbacks were spared because they had them.
    pub repeats: u64,
    /// Statuses that were told once more because a callback had not taken them.
    pub redelivered: u64,
    /// Messages that were lost because the callbacks did not keep up.
    pub lost: u64,
    /// Tasks found that this driver neither launched nor was told of.
    pub unknown_tasks: u64,
    /// Runs of reconciliation begun: one after each registration, and those of the timer.
    pub reconciliations: u64,
    /// Tasks that the run under way has no answer for yet. It shrinks to zero.
    pub unanswered_tasks: u64,
    /// Tasks that are not known to have ended. It may also shrink.
    pub live_tasks: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    ok: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok => &self.ok,
            Outcome::Err => &self.failed,
            Outcome::Panicked => &self.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What the core counted, with the callbacks.
    pub(super) fn complete(&self, of_core: DriverCounts) -> DriverCounts {
        DriverCounts {
            callbacks_ok: self.ok.load(Ordering::Relaxed),
            callbacks_failed: self.failed.load(Ordering::Relaxed),
            callbacks_panicked: self.panicked.load(Ordering::Relaxed),
            ..of_core
        }
    }
}
