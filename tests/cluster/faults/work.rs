//! What the tasks of a run do. Each is a function of seed and number, so the scheduler and the oracle derive the same
//! work, even after a restart.
//!
//! A task records its start and end in a file of its own. The times are the machine's uptime, which no fault changes.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use divvy::proto::v1::TaskState;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Code(u8),
    Signal,
    /// Never by itself: the framework kills it this long after the launch.
    Killed(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    lasts: Duration,
    pub(super) ending: Ending,
}

impl Work {
    pub(super) fn of(seed: u64, number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        let ending = match rng.random_range(0..10) {
            0..5 => Ending::Code(0),
            5..7 => Ending::Code(3),
            7 => Ending::Signal,
            _ => Ending::Killed(Duration::from_millis(rng.random_range(0..1_500))),
        };
        let lasts = match rng.random_range(0..10) {
            0..4 => 0,
            4..9 => rng.random_range(50..600),
            _ => rng.random_range(600..4_000),
        };
        Self { lasts: Duration::from_millis(lasts), ending }
    }

    /// The shell command of the task.
    pub(super) fn command(self, file: &Path) -> String {
        let note = format!("n() {{ read -r up _ < /proc/uptime; echo \"$1 $$ $up\" >> '{}'; }}", file.display());
        let mut line = format!("{note}; n start; ");
        match self.ending {
            Ending::Code(_) | Ending::Signal if !self.lasts.is_zero() => {
                write!(line, "sleep {:.3}; ", self.lasts.as_secs_f64()).expect("a string takes all");
            }
            Ending::Code(_) | Ending::Signal => {}
            Ending::Killed(_) => line.push_str("sleep 3600; "),
        }
        let end = match self.ending {
            Ending::Code(code) => format!("n end; exit {code}"),
            Ending::Signal => "n end; kill -9 $$".to_owned(),
            Ending::Killed(_) => "n end".to_owned(),
        };
        line + &end
    }

    /// The state of a task that ended by itself.
    pub(super) fn own_end(self) -> TaskState {
        if self.ending == Ending::Code(0) { TaskState::TaskFinished } else { TaskState::TaskFailed }
    }
}

/// What a task recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Noted {
    /// Uptimes in seconds.
    pub(super) starts: Vec<f64>,
    pub(super) ends: Vec<f64>,
}

/// Reads what a task recorded; nothing when it never ran.
pub(super) fn noted(file: &Path) -> Noted {
    let mut noted = Noted::default();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let (what, uptime) = (words.next(), words.nth(1).and_then(|text| text.parse().ok()));
        let times = if what == Some("start") { &mut noted.starts } else { &mut noted.ends };
        times.push(uptime.unwrap_or_else(|| panic!("{} has a line that no task writes: {line}", file.display())));
    }
    noted
}
