//! Detects that the wall clock was set, by comparing its progress with that of the monotonic clock.
//!
//! Holds one pair of readings and no clock. Corrections of less than ten seconds are no steps, so that a correction
//! right after a run does not repeat the run.

use std::time::Duration;

use divvy::types::Now;

/// The least difference between the two clocks that counts as a step.
const LEAST_STEP: Duration = Duration::from_secs(10);

/// The last reading of both clocks.
#[derive(Debug)]
pub(crate) struct StepWatch {
    last: Now,
}

/// How the wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// By so much, or the host slept, during which the monotonic clock stands still.
    Ahead(Duration),
    /// By so much.
    Back(Duration),
}

impl StepWatch {
    /// Compares with this reading from now on.
    pub(crate) fn new(now: Now) -> Self {
        Self { last: now }
    }

    /// The step since the last reading, if there was one.
    pub(crate) fn read_step(&mut self, now: Now) -> Option<Step> {
        let passed = i128::from(now.mono_ns) - i128::from(self.last.mono_ns);
        let shown = i128::from(now.wall_ns) - i128::from(self.last.wall_ns);
        self.last = now;
        let difference = shown - passed;
        let length = Duration::from_nanos(u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX));
        match length < LEAST_STEP {
            true => None,
            false if difference > 0 => Some(Step::Ahead(length)),
            false => Some(Step::Back(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn start() -> Now {
        Now { mono_ns: 7, wall_ns: 1_800_000_000_000_000_000 }
    }

    fn set(now: Now, by_ns: i64) -> Now {
        Now { wall_ns: now.wall_ns + by_ns, ..now }
    }

    #[test]
    fn clocks_that_run_alike_show_no_step() {
        let mut watch = StepWatch::new(start());
        let mut now = start();
        for passed in [0, 1, 30, 86_400] {
            now = now.advanced(Duration::from_secs(passed));
            assert_eq!(watch.read_step(now), None);
        }
    }

    #[test]
    fn a_step_is_seen_once_in_either_direction() {
        let mut watch = StepWatch::new(start());
        let ahead = set(start().advanced(Duration::from_secs(6)), 2 * HOUR);
        assert_eq!(watch.read_step(ahead), Some(Step::Ahead(Duration::from_hours(2))));
        assert_eq!(watch.read_step(ahead), None);
        let right = set(ahead.advanced(Duration::from_secs(6)), -2 * HOUR);
        assert_eq!(watch.read_step(right), Some(Step::Back(Duration::from_hours(2))));
        assert_eq!(watch.read_step(right.advanced(Duration::from_secs(1))), None);
    }

    #[test]
    fn a_correction_of_seconds_is_no_step() {
        let mut watch = StepWatch::new(start());
        for by_ns in [9_999_999_999, -9_999_999_999] {
            assert_eq!(watch.read_step(set(start(), by_ns)), None);
            watch = StepWatch::new(start());
        }
        assert_eq!(watch.read_step(set(start(), -10_000_000_000)), Some(Step::Back(Duration::from_secs(10))));
    }

    #[test]
    fn readings_at_the_limits_of_their_types_do_not_overflow() {
        let (first, last) = (Now { mono_ns: 0, wall_ns: i64::MIN }, Now { mono_ns: u64::MAX, wall_ns: i64::MAX });
        assert_eq!(StepWatch::new(first).read_step(last), None);
        assert_eq!(
            StepWatch::new(first).read_step(Now { wall_ns: i64::MAX, ..first }),
            Some(Step::Ahead(Duration::from_nanos(u64::MAX)))
        );
    }
}
