//! The timers of tasks: each at most once per task and kind, ordered by when they are due.
//!
//! The owner keeps the time it armed a timer with, and disarms with that time; so nothing stale piles up.

use std::collections::BTreeSet;

use crate::agent::core::ContainerId;
use crate::types::Now;

/// What is due for a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent::core) enum Timer {
    /// The status in flight was not acknowledged.
    Retry(ContainerId),
    /// The grace of a kill is over.
    Kill(ContainerId),
    /// The task has run as long as it may.
    Overdue(ContainerId),
    /// The agent has been without a master for as long as the task may be.
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

/// All timers that are armed.
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

    /// Takes back the timer armed for `at`, if any.
    pub(in crate::agent::core) fn disarm(&mut self, at: Option<u64>, timer: Timer) {
        if let Some(at) = at {
            self.armed.remove(&(at, timer));
        }
    }

    /// Takes out the next timer whose time has come.
    pub(in crate::agent::core) fn due(&mut self, now: Now) -> Option<Timer> {
        self.deadline().filter(|at| *at <= now.mono_ns)?;
        self.armed.pop_first().map(|(_, timer)| timer)
    }

    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.armed.first().map(|(at, _)| *at)
    }

    /// Asserts that every timer belongs to something known, and that none is armed twice.
    pub(in crate::agent::core) fn check(&self, known: impl Fn(&ContainerId) -> bool) {
        let mut seen = BTreeSet::new();
        for (_, timer) in &self.armed {
            assert!(known(timer.container()), "{timer:?} is armed for an unknown container");
            assert!(seen.insert(timer), "{timer:?} is armed twice");
        }
    }
}
