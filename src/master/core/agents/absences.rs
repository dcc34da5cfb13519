//! How long agents have been absent, independent of steps of the wall clock.
//!
//! Absences that began under this master are timed by its monotonic clock. Of those that an earlier master recorded,
//! only the wall time is known. They count the time up to this master's start and the monotonic time since, but no more
//! than the wall clock shows now. So a clock that is set forward forgets or writes off no agent early.

use std::{collections::BTreeMap, time::Duration};

use crate::types::Now;

/// When agents became unreachable or gone, on this master's monotonic clock.
#[derive(Debug)]
pub(in crate::master::core) struct Absences {
    /// When this master started.
    pub(in crate::master::core) began: Now,
    /// Agents that this master recorded as unreachable or gone.
    noted: BTreeMap<String, u64>,
}

impl Absences {
    pub(in crate::master::core) fn new(began: Now) -> Self {
        Self { began, noted: BTreeMap::new() }
    }

    /// Records that the absence of the agent begins now.
    pub(in crate::master::core) fn note(&mut self, now: Now, id: &str) {
        self.noted.insert(id.to_owned(), now.mono_ns);
    }

    /// How long an agent has been absent that the registry records as absent since `since_ns` (wall time).
    pub(in crate::master::core) fn lasted(&self, now: Now, id: &str, since_ns: i64) -> Duration {
        if let Some(noted) = self.noted.get(id) {
            return now.since(*noted);
        }
        let before = passed(since_ns, self.began.wall_ns) + now.since(self.began.mono_ns);
        before.min(passed(since_ns, now.wall_ns))
    }

    /// Keeps the agents that are still absent.
    pub(in crate::master::core) fn retain(&mut self, is_away: impl Fn(&str) -> bool) {
        self.noted.retain(|id, _| is_away(id));
    }
}

fn passed(since_ns: i64, until_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(until_ns.saturating_sub(since_ns)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR_NS: i64 = 365 * 24 * 3_600_000_000_000;

    #[test]
    fn a_step_of_the_wall_clock_makes_no_absence_longer() {
        let began = Now { mono_ns: 0, wall_ns: YEAR_NS };
        let mut absences = Absences::new(began);
        let went = began.advanced(HOUR);
        absences.note(went, "seen");
        let mut now = went.advanced(HOUR);
        now.wall_ns += YEAR_NS;
        assert_eq!(absences.lasted(now, "seen", went.wall_ns), HOUR);
        let earlier = began.wall_ns - 3_600_000_000_000;
        assert_eq!(absences.lasted(now, "of an earlier master", earlier), 3 * HOUR);
    }

    #[test]
    fn a_clock_that_was_ahead_when_the_master_started_does_not_count_once_it_is_corrected() {
        let absences = Absences::new(Now { mono_ns: 0, wall_ns: 2 * YEAR_NS });
        let now = Now { mono_ns: 3_600_000_000_000, wall_ns: YEAR_NS };
        assert_eq!(absences.lasted(now, "a", YEAR_NS - 3_600_000_000_000), HOUR);
        assert_eq!(absences.lasted(now, "b", YEAR_NS + 1), Duration::ZERO, "in the future");
    }
}
