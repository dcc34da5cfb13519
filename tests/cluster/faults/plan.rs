//! The plan of faults: which part fails when, and how. It is drawn from a seed before a run starts, so a run can be
//! repeated.
//!
//! The faults of each part are drawn independently. A part recovers before its next fault, and all recover before the
//! end.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A part of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Master,
    Agent(usize),
    Framework,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// `kill -9`.
    Kill,
    /// Started again after that.
    Start,
    /// `kill -STOP`.
    Stop,
    /// `kill -CONT`.
    Continue,
}

/// An action and its time from the beginning of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) target: Target,
    pub(super) action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:?} {:?}", self.at.as_secs_f64(), self.action, self.target)
    }
}

/// Between two faults of one part, in milliseconds. After a fault of the master, all parts need time to reconnect.
fn gap(target: Target) -> std::ops::Range<u64> {
    match target {
        Target::Master => 500..5_000,
        Target::Agent(_) | Target::Framework => 100..2_000,
    }
}

/// How long a fault lasts, in milliseconds: mostly shorter than every timeout,
const OUTAGE: std::ops::Range<u64> = 0..1_000;
/// and sometimes long enough for the master to mark an agent unreachable.
const LONG_OUTAGE: std::ops::Range<u64> = 1_000..6_000;

/// All steps of a run of that length, by their time.
pub(super) fn draw(seed: u64, targets: &[Target], span: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed ^ (number as u64) << 48);
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(rng.random_range(gap(*target)));
            let outage = if rng.random_bool(0.15) { LONG_OUTAGE } else { OUTAGE };
            let back = at + Duration::from_millis(rng.random_range(outage));
            if back > span {
                break;
            }
            // The first fault is a kill, so that every run has one.
            let kills = steps.iter().all(|step: &Step| step.target != *target) || rng.random_bool(0.7);
            let (fault, recovery) =
                if kills { (Action::Kill, Action::Start) } else { (Action::Stop, Action::Continue) };
            steps.push(Step { at, target: *target, action: fault });
            steps.push(Step { at: back, target: *target, action: recovery });
            at = back;
        }
    }
    steps.sort_by_key(|step| (step.at, step.target, step.action));
    steps
}

#[test]
fn a_seed_draws_the_same_faults_again_and_every_part_recovers_before_the_end() {
    let targets = [Target::Master, Target::Agent(0), Target::Framework];
    let span = Duration::from_secs(20);
    let steps = draw(7, &targets, span);
    assert_eq!(steps, draw(7, &targets, span));
    assert_ne!(steps, draw(8, &targets, span));
    for target in targets {
        let actions: Vec<Action> = steps.iter().filter(|step| step.target == target).map(|step| step.action).collect();
        assert!(actions.len() > 4, "{target:?} has more than two faults: {actions:?}");
        for pair in actions.chunks(2) {
            assert!(matches!(pair, [Action::Kill, Action::Start] | [Action::Stop, Action::Continue]), "{actions:?}");
        }
    }
}
