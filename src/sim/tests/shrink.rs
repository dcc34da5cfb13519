//! Shrinks a failing history while it fails in the same way: fewer kinds of faults, fewer nodes, less time.

use super::*;

/// How many smaller histories are tried.
const TRIES: usize = 80;

/// Describes the smallest history found, with its last events.
pub(super) fn smaller(failure: &Failure, sabotage: Option<Sabotage>) -> String {
    let (plan, shrunk, tries) = shrink(failure.clone(), Plan::drawn(failure.seed), sabotage);
    let faults: Vec<_> = plan.faults.kinds().collect();
    let (agents, frameworks) = (plan.agents.len(), plan.frameworks.len());
    format!(
        "smaller, after {tries} tries: {agents} agents, {frameworks} frameworks, faults for {:?}, {faults:?}, {:?}:\n{shrunk}",
        plan.fault_time, plan.misbehaviour
    )
}

fn shrink(failure: Failure, plan: Plan, sabotage: Option<Sabotage>) -> (Plan, Failure, usize) {
    let (mut best, mut tries) = ((plan, failure), 0);
    'again: loop {
        for candidate in candidates(&best.0) {
            tries += 1;
            if tries > TRIES {
                break 'again;
            }
            let played = history(best.1.seed, candidate.clone(), sabotage);
            if let Err(failure) = played
                && failure.invariant == best.1.invariant
            {
                best = (candidate, failure);
                continue 'again;
            }
        }
        break;
    }
    (best.0, best.1, tries)
}

/// Plans that are a little smaller.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    if plan.frameworks.len() > 1 {
        with(&|plan| plan.frameworks.truncate(1));
    }
    if plan.agents.len() > 1 {
        with(&|plan| plan.agents.truncate(1));
    }
    for fault in plan.faults.kinds() {
        with(&|plan| plan.faults = plan.faults.clone().without(fault));
    }
    let bad = &plan.misbehaviour;
    if bad.bad_tasks || bad.callback_errors || bad.callback_hangs || bad.kills || bad.failovers {
        with(&|plan| plan.misbehaviour = plan::Misbehaviour::default());
    }
    if plan.fault_time > std::time::Duration::from_secs(2) {
        with(&|plan| plan.fault_time /= 2);
    }
    all
}

#[test]
fn a_failing_history_shrinks_to_what_it_takes() {
    let seed = (1..1_000).find(|seed| Plan::drawn(*seed).faults.kinds().count() > 3).expect("there are many");
    let planted = Some(Sabotage::LosesAcknowledgements);
    let failure = history(seed, Plan::drawn(seed), planted).expect_err("no task is ever forgotten");
    let (plan, shrunk, _) = shrink(failure.clone(), Plan::drawn(seed), planted);
    assert_eq!((shrunk.invariant, plan.faults.kinds().count()), ("quiescent", 0), "{}", smaller(&failure, planted));
    assert_eq!((plan.agents.len(), plan.frameworks.len()), (1, 1));
}
