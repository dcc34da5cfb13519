//! Conversions of durations and timestamps between Rust and the messages, which count signed nanoseconds.

use std::time::Duration;

use super::Now;
use crate::proto::v1::{DurationInfo, TimeInfo};

/// Saturates after 292 years.
impl From<Duration> for DurationInfo {
    fn from(duration: Duration) -> Self {
        Self { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl DurationInfo {
    /// Returns the duration; a negative one, which validation refuses, counts as zero.
    #[must_use]
    pub fn to_duration(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }

    /// Returns whether it is negative, which is never valid.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.nanoseconds < 0
    }
}

/// The reading of the wall clock.
impl From<Now> for TimeInfo {
    fn from(now: Now) -> Self {
        Self { nanoseconds: now.wall_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_both_ways_and_saturate() {
        let three = DurationInfo::from(Duration::from_millis(3));
        assert_eq!((three.nanoseconds, three.to_duration()), (3_000_000, Duration::from_millis(3)));
        assert_eq!(DurationInfo::from(Duration::MAX).nanoseconds, i64::MAX);
        let negative = DurationInfo { nanoseconds: -1 };
        assert!(negative.is_negative());
        assert_eq!(negative.to_duration(), Duration::ZERO);
    }

    #[test]
    fn a_point_of_time_is_the_wall_clock() {
        assert_eq!(TimeInfo::from(Now { mono_ns: 5, wall_ns: 7 }).nanoseconds, 7);
    }
}
