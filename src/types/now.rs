//! The time that a core receives: a monotonic reading for deadlines, a wall reading for people and the wire.

use std::time::Duration;

/// One reading of both clocks, in nanoseconds. Cores receive it as an argument and never read a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now {
    /// Nanoseconds since an arbitrary start; never decreases within a process.
    pub mono_ns: u64,
    /// Nanoseconds since the Unix epoch, as the host's clock has it; may jump.
    pub wall_ns: i64,
}

impl Now {
    /// Returns the monotonic reading `after` from now; saturates.
    #[must_use]
    pub fn mono_after(self, after: Duration) -> u64 {
        self.mono_ns.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns the time since the monotonic reading `since_ns`; zero if that is in the future.
    #[must_use]
    pub fn since(self, since_ns: u64) -> Duration {
        Duration::from_nanos(self.mono_ns.saturating_sub(since_ns))
    }

    /// Returns both readings advanced by `by`.
    #[must_use]
    pub fn advanced(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self {
            mono_ns: self.mono_ns.saturating_add(nanos),
            wall_ns: self.wall_ns.saturating_add(i64::try_from(nanos).unwrap_or(i64::MAX)),
        }
    }

    /// Returns the wall clock in seconds since the epoch, as in Mesos' `TaskStatus.timestamp`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a double of seconds keeps microseconds for the next centuries")]
    pub fn wall_secs(self) -> f64 {
        self.wall_ns as f64 / 1e9
    }
}
