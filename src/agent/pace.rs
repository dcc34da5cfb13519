//! When a thread that takes what has happened in batches rests before the next: a turn then takes what would be several.
//!
//! Each turn costs the same few system calls and wakes, however much it takes, so a thread that is busy takes what happens
//! within a millisecond or two at once. One that is not busy never rests: a single task is not delayed. Whether a rest is
//! of use shows in what the turn after it takes. Without a clock of its own.

use std::time::Duration;

/// How busy a thread is, and when it counts as busy.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// How long a turn and the rest after it are together.
    turn: Duration,
    /// So many within that time are more than one task after the other brings.
    busy: usize,
    /// A rest that brought less was of no use.
    worth_resting: usize,
    /// What was taken since a turn that began then.
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

    /// How long to rest after a turn that began at `began_ns`, is over at `now_ns`, and took so much.
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
    fn a_thread_that_is_busy_rests_for_what_is_left_of_its_turn_and_goes_on_while_that_is_of_use() {
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
