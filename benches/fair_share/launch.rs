//! `MultiFrameworkAllocations`: 80 large agents and three kinds of frameworks that launch until all their tasks run.
//! They return the unused part of an offer without a filter. A framework that has launched all its tasks suppresses
//! offers, as drivers do.

use divvy::master::scripted::ScriptedCluster;

use super::measure::{Samples, timed};
use super::{NEXT_ROUND, REPEATS, resources};

const AGENTS: usize = 80;
const ALL_TASKS: u64 = 4 * 4_000 + 500 * 5 + 50 * 20;

/// Frameworks of one kind.
struct Profile {
    count: usize,
    shared_role: bool,
    tasks: u64,
    task: &'static str,
    per_offer: u64,
}

const PROFILES: [Profile; 3] = [
    Profile { count: 4, shared_role: false, tasks: 4_000, task: "cpus:0.07;mem:400", per_offer: 100 },
    Profile { count: 500, shared_role: true, tasks: 5, task: "cpus:0.1;mem:4000", per_offer: 1 },
    Profile { count: 50, shared_role: false, tasks: 20, task: "cpus:1;mem:1000", per_offer: 5 },
];

/// The profile of the framework that was added at this place.
fn profile(mut at: usize) -> &'static Profile {
    for profile in &PROFILES {
        if at < profile.count {
            return profile;
        }
        at -= profile.count;
    }
    unreachable!("there are no more frameworks than the profiles count")
}

pub(super) fn many_frameworks() {
    let (mut whole, mut runs, mut rounds) = (Samples::default(), Samples::default(), 0);
    for _ in 0..REPEATS {
        let mut cluster = ScriptedCluster::new();
        for (kind, profile) in PROFILES.iter().enumerate() {
            for number in 0..profile.count {
                let role = if profile.shared_role { format!("kind{kind}") } else { format!("kind{kind}-{number}") };
                cluster.add_framework(&role);
            }
        }
        let total = resources("cpus:64;mem:488000");
        (0..AGENTS).for_each(|_| cluster.add_agent(&total, &resources("")));
        rounds = 0;
        let (took, ()) = timed(|| {
            let (mut launched, mut done) = (0, vec![false; PROFILES.iter().map(|profile| profile.count).sum()]);
            while launched < ALL_TASKS {
                runs.push(timed(|| cluster.tick(NEXT_ROUND)).0);
                let most = |at: usize, so_far: u64| profile(at).per_offer.min(profile(at).tasks - so_far);
                launched += cluster.launch_all(|at| resources(profile(at).task), most);
                rounds += 1;
                for (at, done) in done.iter_mut().enumerate() {
                    if !*done && cluster.launched(at) == profile(at).tasks {
                        *done = true;
                        cluster.suppress(at..at + 1);
                    }
                }
                assert!(rounds < 10_000, "{launched} of {ALL_TASKS} tasks launched");
            }
        });
        whole.push(took);
    }
    println!("\nlaunch, {AGENTS} agents, 554 frameworks of three kinds, {ALL_TASKS} tasks");
    println!("  until all run, {rounds} rounds   {whole}");
    println!("  one run                     {runs}");
}
