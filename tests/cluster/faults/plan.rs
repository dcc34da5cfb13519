//! Which part is struck when, and how: drawn from a seed before anything starts, so that a run can be had again.
//!
//! Every part has a life of its own in it. One that was struck is back before it is struck again, and all are back at
//! the end.

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
pub(super) enum Deed {
    /// `kill -9`.
    Kill,
    /// Started again after that.
    Start,
    /// `kill -STOP`.
    Stop,
    /// `kill -CONT`.
    Continue,
}

/// A deed and its time from the beginning of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) target: Target,
    pub(super) deed: Deed,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:?} {:?}", self.at.as_secs_f64(), self.deed, self.target)
    }
}

/// Between two blows to one part, in milliseconds. Everybody needs a moment to find the master again.
fn apart(target: Target) -> std::ops::Range<u64> {
    match target {
        Target::Master => 500..5_000,
        Target::Agent(_) | Target::Framework => 100..2_000,
    }
}

/// How long a part is away, in milliseconds. Shorter than every timeout: nobody may notice but by the wait.
const AWAY: std::ops::Range<u64> = 0..1_000;

/// All steps of a run of that length, by their time.
pub(super) fn draw(seed: u64, targets: &[Target], span: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed ^ (number as u64) << 48);
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(rng.random_range(apart(*target)));
            let back = at + Duration::from_millis(rng.random_range(AWAY));
            if back > span {
                break;
            }
            // The first is a kill, so that no run goes without.
            let kills = steps.iter().all(|step: &Step| step.target != *target) || rng.random_bool(0.7);
            let (blow, cure) = if kills { (Deed::Kill, Deed::Start) } else { (Deed::Stop, Deed::Continue) };
            steps.push(Step { at, target: *target, deed: blow });
            steps.push(Step { at: back, target: *target, deed: cure });
            at = back;
        }
    }
    steps.sort_by_key(|step| (step.at, step.target, step.deed));
    steps
}

#[test]
fn a_seed_draws_the_same_faults_again_and_every_part_is_back_at_the_end() {
    let targets = [Target::Master, Target::Agent(0), Target::Framework];
    let span = Duration::from_secs(20);
    let steps = draw(7, &targets, span);
    assert_eq!(steps, draw(7, &targets, span));
    assert_ne!(steps, draw(8, &targets, span));
    for target in targets {
        let deeds: Vec<Deed> = steps.iter().filter(|step| step.target == target).map(|step| step.deed).collect();
        assert!(deeds.len() > 4, "{target:?} is struck more than twice: {deeds:?}");
        for pair in deeds.chunks(2) {
            assert!(matches!(pair, [Deed::Kill, Deed::Start] | [Deed::Stop, Deed::Continue]), "{deeds:?}");
        }
    }
}
