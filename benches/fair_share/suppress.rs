//! `SuppressOffers`: five rounds; before each, all offers are declined without a filter and a further fifth of the
//! frameworks is suppressed, so that no framework is left in the last round.

use divvy::master::scripted::ScriptedCluster;

use super::measure::{Samples, timed};
use super::{NEXT_ROUND, REPEATS, SIZES, TOTAL, resources, used};

const ROUNDS: usize = 5;

pub(super) fn grow() {
    for (agents, frameworks) in SIZES {
        let mut rounds: Vec<(Samples, usize)> = (0..ROUNDS).map(|_| (Samples::default(), 0)).collect();
        for _ in 0..REPEATS {
            one(agents, frameworks, &mut rounds);
        }
        println!("\nsuppress, {agents} agents x {frameworks} frameworks");
        for (round, (took, made)) in rounds.iter().enumerate() {
            println!("  {} of 5 parts suppressed    {took}, {made} offers", round + 1);
        }
    }
}

fn one(agents: usize, frameworks: usize, rounds: &mut [(Samples, usize)]) {
    let (total, used) = (resources(TOTAL), used(1_024));
    let mut cluster = ScriptedCluster::new();
    (0..frameworks).for_each(|_| cluster.add_framework("*"));
    (0..agents).for_each(|_| cluster.add_agent(&total, &used));
    cluster.allocate_all();
    for (round, (took, made)) in rounds.iter_mut().enumerate() {
        cluster.decline_all(std::time::Duration::ZERO);
        cluster.suppress(round * frameworks / ROUNDS..(round + 1) * frameworks / ROUNDS);
        let (time, offers) = timed(|| cluster.tick(NEXT_ROUND));
        took.push(time);
        *made = offers;
    }
}
