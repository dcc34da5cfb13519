//! The counters of a driver, and two gauges.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Outcome;

/// A snapshot of a driver's counters: callbacks, repeats, reconciliations.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Callbacks that returned `Ok`.
    pub callbacks_ok: u64,
    /// Callbacks that returned `Err`.
    pub callbacks_failed: u64,
    /// Callbacks that panicked.
    pub callbacks_panicked: u64,
    /// Repeated statuses that were not delivered again.
    pub repeats: u64,
    /// Statuses that were delivered again after a failed callback.
    pub redelivered: u64,
    /// Messages that were dropped because the callbacks did not keep up.
    pub lost: u64,
    /// Unknown tasks found: see [`UnknownTasks`](super::UnknownTasks).
    pub unknown_tasks: u64,
    /// Reconciliations started: one after each registration, and the periodic ones.
    pub reconciliations: u64,
    /// Gauge: tasks that the current reconciliation has no answer for yet.
    pub unanswered_tasks: u64,
    /// Gauge: tasks that are not known to have ended.
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

    /// Adds the counters of the callbacks to those of the core.
    pub(super) fn complete(&self, of_core: DriverCounts) -> DriverCounts {
        DriverCounts {
            callbacks_ok: self.ok.load(Ordering::Relaxed),
            callbacks_failed: self.failed.load(Ordering::Relaxed),
            callbacks_panicked: self.panicked.load(Ordering::Relaxed),
            ..of_core
        }
    }
}
