//! Histories: without faults, of fixed seeds, of as many others as there is time for, twice the same, and with bugs.

use std::time::Duration;

use super::*;
use crate::transport::clock::Clock;

fn seed_given() -> Option<u64> {
    std::env::var("DIVVY_SIM_SEED").ok().map(|seed| seed.parse().expect("DIVVY_SIM_SEED is a number"))
}

fn play_or_fail(seed: u64, plan: Plan) -> Outcome {
    history(seed, plan, None).unwrap_or_else(|failure| panic!("{failure:?}"))
}

#[test]
fn a_calm_cluster_completes_twenty_tasks() {
    let outcome = play_or_fail(1, Plan::calm(20));
    assert_eq!(outcome.tasks, 22, "twenty, and two more when all had settled");
}

#[test]
fn the_seed_given() {
    if let Some(seed) = seed_given() {
        println!("{:?}", Plan::drawn(seed));
        println!("{:?}", play_or_fail(seed, Plan::drawn(seed)));
    }
}

#[test]
fn what_the_fixed_seeds_bring_breaks_nothing() {
    for seed in 1..=200 {
        play_or_fail(seed, Plan::drawn(seed));
    }
}

#[test]
fn as_many_other_seeds_as_there_is_time_for_break_nothing() {
    let seconds = std::env::var("DIVVY_SIM_SECONDS").ok().map_or(15, |text| text.parse().expect("a number of seconds"));
    let clock = Clock::system();
    let start = clock.now();
    let base = u64::try_from(start.wall_ns).unwrap_or(0) >> 20 << 12;
    println!("base seed {base}");
    let (mut histories, mut steps) = (0, 0);
    while clock.now().since(start.mono_ns) < Duration::from_secs(seconds) {
        let seed = base + histories;
        steps += play_or_fail(seed, Plan::drawn(seed)).steps;
        histories += 1;
    }
    println!("{histories} histories, {steps} steps in {seconds} s");
}
