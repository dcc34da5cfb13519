//! `LargeAndSmallQuota`: as many roles as agents, each with a quota and a framework; small ones are met by half an
//! agent, large ones by two. One run meets all of them, a second allocates nothing although a quarter of the agents is
//! free.

use std::time::Duration;

use divvy::allocator::fair::Quota;
use divvy::master::scripted::ScriptedCluster;

use super::measure::{Samples, timed};
use super::{NEXT_ROUND, REPEATS, resources};

const AGENT: &str = "cpus:2;mem:2048;disk:2048";

/// What one size cost.
#[derive(Default)]
struct Costs {
    quotas: Samples,
    agents: Samples,
    frameworks: Samples,
    first: Samples,
    second: Samples,
    together: Samples,
    one_by_one: Samples,
}

/// Small roles and large ones; there are as many agents as it takes to meet all quotas, and a quarter more.
pub(super) fn large_and_small() {
    for (small, large) in [(25, 5), (250, 50), (2_500, 500)] {
        let mut costs = Costs::default();
        for _ in 0..REPEATS {
            at_once(small, large, &mut costs);
            one_by_one(small, large, &mut costs);
        }
        let count = small / 5 + large * 5;
        println!("\nquota, {count} agents, {} roles, as many frameworks", small + large);
        println!("  set quotas                      {}", costs.quotas);
        println!("  add agents                      {}", costs.agents);
        println!("  add frameworks                  {}", costs.frameworks);
        println!("  one run, {:>4} allocations       {}", small + 2 * large, costs.first);
        println!("  frameworks and run together     {}", costs.together);
        println!("  a second run, no allocations    {}", costs.second);
        println!("  a run after every framework     {}", costs.one_by_one);
    }
}

fn quotas(small: usize, large: usize) -> Vec<(String, Quota)> {
    let quota = |units: f64| {
        let amounts = [("cpus", units), ("mem", 1024.0 * units), ("disk", 1024.0 * units)];
        Quota::new(amounts, amounts).expect("a quota")
    };
    let (half, double) = (quota(1.0), quota(4.0));
    let small = (0..small).map(|number| (format!("small{number}"), half.clone()));
    small.chain((0..large).map(|number| (format!("large{number}"), double.clone()))).collect()
}

fn at_once(small: usize, large: usize, costs: &mut Costs) {
    let mut cluster = ScriptedCluster::new();
    let (total, none) = (resources(AGENT), resources(""));
    let quotas = quotas(small, large);
    let roles: Vec<String> = quotas.iter().map(|(role, _)| role.clone()).collect();
    costs.quotas.push(timed(|| cluster.set_quotas(quotas)).0);
    let agents = small / 5 + large * 5;
    costs.agents.push(timed(|| (0..agents).for_each(|_| cluster.add_agent(&total, &none))).0);
    let joining = timed(|| roles.iter().for_each(|role| cluster.add_framework(role))).0;
    let (run, made) = timed(|| cluster.allocate_all());
    assert_met(made, small, large);
    costs.frameworks.push(joining);
    costs.first.push(run);
    costs.together.push(joining + run);
    cluster.look_again();
    let (second, made) = timed(|| cluster.allocate_all());
    assert_eq!(made, 0, "every role is at its limit");
    costs.second.push(second);
    assert_eq!(cluster.tick(NEXT_ROUND + Duration::from_secs(1)), 0, "and stays there");
}

/// As frameworks really register: the master runs the allocation after each.
fn one_by_one(small: usize, large: usize, costs: &mut Costs) {
    let mut cluster = ScriptedCluster::new();
    let (total, none) = (resources(AGENT), resources(""));
    let quotas = quotas(small, large);
    let roles: Vec<String> = quotas.iter().map(|(role, _)| role.clone()).collect();
    cluster.set_quotas(quotas);
    (0..small / 5 + large * 5).for_each(|_| cluster.add_agent(&total, &none));
    let mut made = 0;
    let join = |role: &String| {
        cluster.add_framework(role);
        made += cluster.allocate_all();
    };
    costs.one_by_one.push(timed(|| roles.iter().for_each(join)).0);
    assert_met(made, small, large);
}

/// Asserts that every quota is met. A role may get the free half of an agent, so a large one may need three agents.
fn assert_met(made: usize, small: usize, large: usize) {
    assert!((small + 2 * large..=small + 3 * large).contains(&made), "every quota is met: {made} allocations");
}
