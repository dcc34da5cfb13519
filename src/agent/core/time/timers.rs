//! The timers of tasks, at most one per task and kind, ordered by due time.
//!
//! The owner stores the time it armed a timer with, and disarms it with that time, so no outdated timers accumulate.

use std::collections::BTreeSet;

use crate::agent::core::ContainerId;
use crate::types::Now;

/// A timer of a container, by kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent::core) enum Timer {
    /// The status in flight was not acknowledged.
    Retry(ContainerId),
    /// The grace period of a kill is over.
    Kill(ContainerId),
    /// The task's completion time is over.
    Overdue(ContainerId),
    /// The task's time without a master is over.
    CutOff(ContainerId),
}

impl Timer {
    fn container(&self) -> &ContainerId {
        match self {
            Self::Retry(container) | Self::Kill(container) | Self::Overdue(container) | Self::CutOff(container) => {
                container
            }
        }
    }
}

/// All armed timers.
#[derive(Debug, Default)]
pub(in crate::agent::core) struct Timers {
    armed: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Arms a timer in place of the one armed for `before`, if any.
    pub(in crate::agent::core) fn arm(&mut self, before: Option<u64>, at: u64, timer: Timer) {
        if before != Some(at) {
            self.disarm(before, timer.clone());
        }
        self.armed.insert((at, timer));
    }

    /// Disarms the timer armed for `at`, if any.
    pub(in crate::agent::core) fn disarm(&mut self, at: Option<u64>, timer: Timer) {
        if let Some(at) = at {
            self.armed.remove(&(at, timer));
        }
    }

    /// Takes out the next due timer.
    pub(in crate::agent::core) fn due(&mut self, now: Now) -> Option<Timer> {
        self.deadline().filter(|at| *at <= now.mono_ns)?;
        self.armed.pop_first().map(|(_, timer)| timer)
    }

    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.armed.first().map(|(at, _)| *at)
    }

    /// Asserts that every timer belongs to a known container, and that none is armed twice.
    pub(in crate::agent::core) fn check(&self, known: impl Fn(&ContainerId) -> bool) {
        let mut seen = BTreeSet::new();
        for (_, timer) in &self.armed {
            assert!(known(timer.container()), "{timer:?} is armed for an unknown container");
            assert!(seen.insert(timer), "{timer:?} is armed twice");
        }
    }
}
