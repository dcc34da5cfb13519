//! What a driver did so far, in numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::{Driver, Outcome};

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
    /// Messages and refusals that were lost because the callbacks did not keep up.
    pub lost: u64,
    /// Tasks that are not known to have ended. The one number that may also shrink.
    pub live_tasks: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    ok: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    repeats: AtomicU64,
    lost: AtomicU64,
    live: AtomicU64,
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

    pub(super) fn publish(&self, core: &Driver) {
        self.repeats.store(core.repeats(), Ordering::Relaxed);
        self.lost.store(core.lost_events(), Ordering::Relaxed);
        self.live.store(core.live_tasks() as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> DriverCounts {
        DriverCounts {
            callbacks_ok: self.ok.load(Ordering::Relaxed),
            callbacks_failed: self.failed.load(Ordering::Relaxed),
            callbacks_panicked: self.panicked.load(Ordering::Relaxed),
            repeats: self.repeats.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            live_tasks: self.live.load(Ordering::Relaxed),
        }
    }
}
