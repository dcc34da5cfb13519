//! How long agents have been away, whatever is done to the clock on the wall meanwhile.
//!
//! What this master saw go it times itself. What an earlier one wrote down has the time of day alone: of that counts what
//! had passed when this master started and what has passed since, and no more than the clock on the wall says now, in
//! case it was wrong then. So a clock that is put forward lets nobody be forgotten or written off before his time.

use std::{collections::BTreeMap, time::Duration};

use crate::types::Now;

/// When agents went, on this master's own clock.
#[derive(Debug)]
pub(in crate::master::core) struct Absences {
    /// When this master started.
    pub(in crate::master::core) began: Now,
    /// Agents that it noted as unreachable or gone.
    noted: BTreeMap<String, u64>,
}

impl Absences {
    pub(in crate::master::core) fn new(began: Now) -> Self {
        Self { began, noted: BTreeMap::new() }
    }

    /// The agent is noted as away from now on.
    pub(in crate::master::core) fn note(&mut self, now: Now, id: &str) {
        self.noted.insert(id.to_owned(), now.mono_ns);
    }

    /// How long an agent has been away that the registry says went at `since_ns`, by the clock on the wall.
    pub(in crate::master::core) fn lasted(&self, now: Now, id: &str, since_ns: i64) -> Duration {
        if let Some(noted) = self.noted.get(id) {
            return now.since(*noted);
        }
        let before = passed(since_ns, self.began.wall_ns) + now.since(self.began.mono_ns);
        before.min(passed(since_ns, now.wall_ns))
    }

    /// Keeps those that are still away.
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
    fn a_clock_that_was_ahead_when_the_master_started_is_not_believed_once_it_is_put_right() {
        let absences = Absences::new(Now { mono_ns: 0, wall_ns: 2 * YEAR_NS });
        let now = Now { mono_ns: 3_600_000_000_000, wall_ns: YEAR_NS };
        assert_eq!(absences.lasted(now, "a", YEAR_NS - 3_600_000_000_000), HOUR);
        assert_eq!(absences.lasted(now, "b", YEAR_NS + 1), Duration::ZERO, "in the future");
    }
}
