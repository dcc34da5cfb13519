//! Histories of whole clusters: fixed seeds and as many others as time allows, each played twice, and planted bugs.
//!
//! Also the simulator as the author of a framework uses it.

mod authors;
mod histories;
mod planted;
mod shrink;
mod slow_storage;
mod tally;

use super::*;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn a_cluster_without_faults_completes_twenty_tasks() {
    let outcome = history(1, Plan::fault_free(20), None).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(outcome.tasks, 22, "twenty, and two more once it was quiescent");
}

/// `DIVVY_SIM_SEED=n` plays one history; with `DIVVY_SIM_TRACE` it prints all of it, and when it fails it is shrunk.
#[test]
#[ignore = "plays the seed that DIVVY_SIM_SEED gives"]
fn the_seed_given() {
    let seed = number("DIVVY_SIM_SEED").expect("DIVVY_SIM_SEED gives a seed");
    let mut world = World::new(seed, Plan::drawn(seed), None);
    println!("{:?}", world.plan);
    if std::env::var_os("DIVVY_SIM_TRACE").is_some() {
        world.trace.record();
    }
    let outcome = play(&mut world);
    for line in world.trace.stream.take().into_iter().flatten() {
        println!("{line}");
    }
    match outcome {
        Ok(Outcome { steps, tasks, faults, .. }) => println!("{steps} steps, {tasks} tasks, {faults:?}"),
        Err(failure) => panic!("{failure}\n{}", shrink::smaller(&failure, None)),
    }
}
