//! Batching for a busy thread: it rests between turns, so that one turn handles the events of several.
//!
//! Each turn costs the same few system calls and wakes, however many events it handles. So a busy thread handles the
//! events of a millisecond or two at once. An idle thread never rests: a single task is not delayed. A rest was useful
//! if the turn after it handles enough events. The caller supplies the time.

use std::time::Duration;

/// How busy a thread is, and when it counts as busy.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// How long a turn and the rest after it are together.
    turn: Duration,
    /// So many events within that time count as busy: sequential tasks cause fewer.
    busy: usize,
    /// A rest was useful if the next turn handled at least this many.
    worth_resting: usize,
    /// Events handled since a turn that began then.
    since_ns: u64,
    taken: usize,
    rests: bool,
}

impl Pace {
    /// For a core, which takes a few inputs of each task.
    pub(super) fn of_inputs() -> Self {
        Self::new(Duration::from_millis(1), 6, 3)
    }

    /// For the ends of processes, one of each task.
    pub(super) fn of_ends() -> Self {
        Self::new(Duration::from_millis(2), 4, 2)
    }

    fn new(turn: Duration, busy: usize, worth_resting: usize) -> Self {
        Self { turn, busy, worth_resting, since_ns: 0, taken: 0, rests: false }
    }

    /// How long to rest after a turn from `began_ns` to `now_ns` that handled `taken` events.
    pub(super) fn rest_after(&mut self, began_ns: u64, now_ns: u64, taken: usize) -> Option<Duration> {
        if Duration::from_nanos(began_ns.saturating_sub(self.since_ns)) >= self.turn {
            (self.since_ns, self.taken) = (began_ns, 0);
        }
        self.taken += taken;
        if !self.rests {
            self.rests = self.taken >= self.busy;
        } else if taken < self.worth_resting {
            (self.rests, self.since_ns, self.taken) = (false, began_ns, 0);
        }
        let spent = Duration::from_nanos(now_ns.saturating_sub(began_ns));
        Some(self.turn.saturating_sub(spent)).filter(|rest| self.rests && !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn one_task_after_the_other_is_never_delayed() {
        let (mut inputs, mut ends) = (Pace::of_inputs(), Pace::of_ends());
        // Six inputs of each, one a turn, a task every two milliseconds.
        for turn in 0..600 {
            let now = turn * MS / 3;
            assert_eq!(inputs.rest_after(now, now + MS / 50, 1), None, "turn {turn}");
            if turn % 6 == 0 {
                assert_eq!(ends.rest_after(now, now + MS / 50, 1), None, "turn {turn}");
            }
        }
    }

    #[test]
    fn a_busy_thread_rests_for_the_remainder_of_its_turn_while_resting_increases_the_batches() {
        let mut pace = Pace::of_inputs();
        let rests: Vec<bool> = (0..9).map(|turn| pace.rest_after(turn, turn + 1, 1).is_some()).collect();
        assert_eq!(rests, [false, false, false, false, false, true, false, false, false], "it brought a single input");
        assert_eq!(pace.rest_after(5 * MS, 5 * MS + 300_000, 6), Some(Duration::from_micros(700)));
        assert_eq!(pace.rest_after(6 * MS, 6 * MS + 100_000, 3), Some(Duration::from_micros(900)));
        assert_eq!(pace.rest_after(7 * MS, 7 * MS + 100_000, 2), None, "it brought little");
        assert_eq!(pace.rest_after(20 * MS, 20 * MS + 1, 2), None);
        assert_eq!(pace.rest_after(30 * MS, 32 * MS, 50), None, "the turn was long enough");
    }
}
