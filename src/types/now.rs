//! The time as a core is told it: a monotonic reading for deadlines and a wall reading for people and the wire.

use std::time::Duration;

/// One reading of both clocks, in nanoseconds. Cores take it as an argument and never ask a clock themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now {
    /// Nanoseconds since an arbitrary start; never goes back while the process lives.
    pub mono_ns: u64,
    /// Nanoseconds since the Unix epoch, as the host believes; may jump.
    pub wall_ns: i64,
}

impl Now {
    /// The monotonic reading `after` from now; saturates at the end of time.
    #[must_use]
    pub fn mono_after(self, after: Duration) -> u64 {
        self.mono_ns.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long ago the monotonic reading `since_ns` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, since_ns: u64) -> Duration {
        Duration::from_nanos(self.mono_ns.saturating_sub(since_ns))
    }

    /// Both clocks moved on by `by`.
    #[must_use]
    pub fn advanced(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self {
            mono_ns: self.mono_ns.saturating_add(nanos),
            wall_ns: self.wall_ns.saturating_add(i64::try_from(nanos).unwrap_or(i64::MAX)),
        }
    }

    /// The wall clock in seconds since the epoch, as Mesos puts it in `TaskStatus.timestamp`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a double of seconds keeps microseconds for the next centuries")]
    pub fn wall_secs(self) -> f64 {
        self.wall_ns as f64 / 1e9
    }
}
