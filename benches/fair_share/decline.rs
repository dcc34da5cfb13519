//! `DeclineOffers`: everything is offered in one run, declined with a very long filter, and offered to the next
//! framework, until all have declined all or ten rounds are over. Then: what a run costs when every offer is filtered.

use std::time::Duration;

use divvy::allocator::fair::Shares;
use divvy::master::scripted::ScriptedCluster;

use super::measure::{Samples, timed};
use super::{NEXT_ROUND, REPEATS, SIZES, TOTAL, VERY_LONG, resources, used};

const ROUNDS: usize = 10;

/// What one size cost, over the repeats.
#[derive(Default)]
struct Costs {
    walk: Samples,
    frameworks: Samples,
    agents: Samples,
    first: Samples,
    declines: Samples,
    rounds: Samples,
    made: usize,
}

/// One repeat; the core is fresh.
fn decline_offers(agents: usize, frameworks: usize, costs: &mut Costs) {
    let (total, used) = (resources(TOTAL), used(2_014));
    let mut cluster = ScriptedCluster::new();
    costs.frameworks.push(timed(|| (0..frameworks).for_each(|_| cluster.add_framework("*"))).0);
    costs.agents.push(timed(|| (0..agents).for_each(|_| cluster.add_agent(&total, &used))).0);
    let (took, made) = timed(|| cluster.allocate_all());
    assert_eq!(made, agents, "everything is offered");
    costs.first.push(took);
    for _ in 0..ROUNDS.min(frameworks) {
        costs.declines.push(timed(|| cluster.decline_all(VERY_LONG)).0);
        let (took, made) = timed(|| cluster.tick(NEXT_ROUND));
        costs.rounds.push(took);
        costs.made = made;
    }
}

/// The baseline: only the next framework in the fair order, for as many agents.
fn bare_walk(agents: usize, frameworks: usize) -> Duration {
    let quantities = (resources(TOTAL) - &used(2_014)).quantities();
    let mut shares = Shares::new();
    (0..agents).for_each(|_| shares.add_total(&quantities));
    for framework in 0..frameworks {
        shares.add_client("*", framework);
    }
    let walk = || {
        for _ in 0..agents {
            let (role, framework) = shares.order().next().expect("there is a framework");
            shares.allocated(role, framework, &quantities);
        }
    };
    timed(walk).0
}

pub(super) fn grow() {
    for (agents, frameworks) in SIZES {
        let mut costs = Costs::default();
        for _ in 0..REPEATS {
            costs.walk.push(bare_walk(agents, frameworks));
            decline_offers(agents, frameworks, &mut costs);
        }
        let ratio = costs.first.median().as_secs_f64() / costs.walk.median().as_secs_f64();
        println!("\ndecline, {agents} agents x {frameworks} frameworks");
        println!("  add frameworks         {}", costs.frameworks);
        println!("  add agents             {}", costs.agents);
        println!("  bare walk of the order {}", costs.walk);
        println!("  one run, all offered   {}, {ratio:.1} times the bare walk", costs.first);
        println!("  decline all            {}", costs.declines);
        println!("  a later round          {}, {} offers in the last", costs.rounds, costs.made);
    }
}

/// Every framework has filtered every agent for ever: the cost of the run over all agents, once a second.
pub(super) fn all_filtered(agents: usize, frameworks: usize) {
    let (total, used) = (resources(TOTAL), used(2_014));
    let mut cluster = ScriptedCluster::new();
    (0..frameworks).for_each(|_| cluster.add_framework("*"));
    (0..agents).for_each(|_| cluster.add_agent(&total, &used));
    cluster.allocate_all();
    let mut rounds = 0;
    while cluster.offers_outstanding() > 0 {
        cluster.decline_all(VERY_LONG);
        cluster.tick(NEXT_ROUND);
        rounds += 1;
    }
    let mut look = Samples::default();
    let mut still = Samples::default();
    for _ in 0..30 {
        cluster.look_again();
        look.push(timed(|| assert_eq!(cluster.tick(NEXT_ROUND), 0, "all is filtered")).0);
        still.push(timed(|| assert_eq!(cluster.tick(Duration::from_millis(10)), 0, "nothing changed")).0);
    }
    println!("\nall filtered, {agents} agents x {frameworks} frameworks, after {rounds} rounds:");
    println!("  a run over all agents when nothing can be offered  {look}");
    println!("  a tick when nothing changed                        {still}");
}
