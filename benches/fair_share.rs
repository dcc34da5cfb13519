//! Fair shares through the real master core: the shape of Mesos' `HierarchicalAllocator` benchmark `DeclineOffers`.
//!
//! `cargo bench --bench fair_share`. Agents have 24 cpus of which 16 are used, with ports in 16 ranges; all frameworks are in
//! one role. Everything is offered in one run, declined with a very long filter, and offered to the next framework, until
//! all have declined all or ten rounds are over. Then: what a run costs when every offer is filtered.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod measure;

use std::time::Duration;

use divvy::allocator::fair::Shares;
use divvy::master::rehearsal::Rehearsal;
use divvy::types::Resources;

use self::measure::{Samples, timed};

const TOTAL: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
const ROUNDS: usize = 10;
const REPEATS: usize = 3;
const VERY_LONG: Duration = Duration::from_secs(i32::MAX as u64);
/// Past the second that every refusal holds, and the one in which cool frameworks share a run.
const NEXT_ROUND: Duration = Duration::from_millis(1_100);

/// `cpus:16;mem:2014;disk:1024` and every second port from 31000 on, the last of 16 ranges running to the end.
fn used() -> Resources {
    let mut ports: Vec<String> = (0..15).map(|at| format!("{0}-{0}", 31_000 + 2 * at)).collect();
    ports.push("31030-32000".to_owned());
    resources(&format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ports.join(",")))
}

fn resources(text: &str) -> Resources {
    text.parse().expect("resources in text form")
}

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
    let (total, used) = (resources(TOTAL), used());
    let mut rehearsal = Rehearsal::new();
    costs.frameworks.push(timed(|| (0..frameworks).for_each(|_| rehearsal.add_framework("*"))).0);
    costs.agents.push(timed(|| (0..agents).for_each(|_| rehearsal.add_agent(&total, &used))).0);
    let (took, made) = timed(|| rehearsal.settle());
    assert_eq!(made, agents, "everything is offered");
    costs.first.push(took);
    for _ in 0..ROUNDS.min(frameworks) {
        costs.declines.push(timed(|| rehearsal.decline_all(VERY_LONG)).0);
        let (took, made) = timed(|| rehearsal.tick(NEXT_ROUND));
        costs.rounds.push(took);
        costs.made = made;
    }
}

/// The baseline: only the question whose turn it is, for as many agents.
fn bare_walk(agents: usize, frameworks: usize) -> Duration {
    let quantities = (resources(TOTAL) - &used()).quantities();
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

fn grow(sizes: &[(usize, usize)]) {
    for &(agents, frameworks) in sizes {
        let mut costs = Costs::default();
        for _ in 0..REPEATS {
            costs.walk.push(bare_walk(agents, frameworks));
            decline_offers(agents, frameworks, &mut costs);
        }
        let ratio = costs.first.median().as_secs_f64() / costs.walk.median().as_secs_f64();
        println!("\n{agents} agents x {frameworks} frameworks");
        println!("  add frameworks         {}", costs.frameworks);
        println!("  add agents             {}", costs.agents);
        println!("  bare walk of the order {}", costs.walk);
        println!("  one run, all offered   {}, {ratio:.1} times the bare walk", costs.first);
        println!("  decline all            {}", costs.declines);
        println!("  a later round          {}, {} offers in the last", costs.rounds, costs.made);
    }
}

/// Every framework has refused every agent for ever: what the once-a-second look at all of them costs.
fn all_filtered(agents: usize, frameworks: usize) {
    let (total, used) = (resources(TOTAL), used());
    let mut rehearsal = Rehearsal::new();
    (0..frameworks).for_each(|_| rehearsal.add_framework("*"));
    (0..agents).for_each(|_| rehearsal.add_agent(&total, &used));
    rehearsal.settle();
    let mut rounds = 0;
    while rehearsal.offers_outstanding() > 0 {
        rehearsal.decline_all(VERY_LONG);
        rehearsal.tick(NEXT_ROUND);
        rounds += 1;
    }
    let mut look = Samples::default();
    let mut still = Samples::default();
    for _ in 0..30 {
        rehearsal.look_again();
        look.push(timed(|| assert_eq!(rehearsal.tick(NEXT_ROUND), 0, "all is filtered")).0);
        still.push(timed(|| assert_eq!(rehearsal.tick(Duration::from_millis(10)), 0, "nothing changed")).0);
    }
    println!("\nall filtered, {agents} agents x {frameworks} frameworks, after {rounds} rounds:");
    println!("  a run over all agents when nothing can be offered  {look}");
    println!("  a tick when nothing changed                        {still}");
}

fn main() {
    println!("fair_share: {}", measure::machine());
    grow(&[
        (1_000, 100),
        (5_000, 100),
        (10_000, 100),
        (20_000, 100),
        (1_000, 1_000),
        (5_000, 1_000),
        (10_000, 1_000),
        (20_000, 1_000),
        (1_000, 2_000),
        (5_000, 2_000),
        (10_000, 2_000),
        (20_000, 2_000),
    ]);
    all_filtered(1_000, 50);
}
