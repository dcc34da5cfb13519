//! Limits on queued bytes, per session and for the whole process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Limits of what may be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes that may be queued for one session.
    pub(crate) session_bytes: usize,
    /// Bytes that may be queued for all sessions; beyond it each session gets an equal share.
    pub(crate) total_bytes: usize,
    /// A session ends when its peer reads nothing for this long although frames are ready.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { session_bytes: 16 << 20, total_bytes: 1 << 30, stall: Duration::from_secs(75) }
    }
}

impl Limits {
    /// No limits, for queues whose content is bounded elsewhere.
    pub(crate) fn unlimited() -> Self {
        Self { session_bytes: usize::MAX, total_bytes: usize::MAX, stall: Duration::MAX }
    }

    /// Returns the bytes that one session may queue while `total` bytes are queued in `sessions` sessions.
    pub(crate) fn allowance(&self, total: usize, sessions: usize) -> usize {
        if total <= self.total_bytes {
            return self.session_bytes;
        }
        self.session_bytes.min(self.total_bytes / sessions.max(1))
    }
}

/// The queued bytes of all sessions of a process, and counters of what was dropped. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    limits: Limits,
    shared: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    sessions: AtomicUsize,
    opened: AtomicU64,
    dropped: AtomicU64,
    ended: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, shared: Arc::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the bytes queued in all sessions.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Returns how many messages were dropped because their session was over its budget.
    pub(crate) fn dropped_messages(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Returns how many sessions ended because their peer did not read.
    pub(crate) fn ended_sessions(&self) -> u64 {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Returns the bytes that one session may queue now.
    pub(super) fn allowance(&self) -> usize {
        self.limits.allowance(self.waiting_bytes(), self.shared.sessions.load(Ordering::Relaxed))
    }

    /// Counts a new session and returns its number.
    pub(super) fn open(&self) -> u64 {
        self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        self.shared.opened.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that a session's queue changed from `before` bytes to `after`.
    pub(super) fn changed(&self, before: usize, after: usize) {
        if after >= before {
            self.shared.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.shared.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(super) fn count_dropped(&self, messages: u64) {
        self.shared.dropped.fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn count_ended(&self) {
        self.shared.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_total_each_session_has_its_fair_share() {
        let limits = Limits { session_bytes: 100, total_bytes: 1_000, ..Limits::default() };
        assert_eq!(limits.allowance(1_000, 50), 100);
        assert_eq!(limits.allowance(1_001, 50), 20);
        assert_eq!(limits.allowance(1_001, 5), 100, "never more than a session's own budget");
    }
}
