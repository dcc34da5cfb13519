//! Histories: without faults, of fixed seeds, of as many others as there is time for, twice the same, and with bugs.

mod authors;

use std::{collections::BTreeMap, time::Duration};

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
    let Some(seed) = seed_given() else { return };
    let mut world = World::new(seed, Plan::drawn(seed), None);
    println!("{:?}", world.plan);
    if std::env::var_os("DIVVY_SIM_TRACE").is_some() {
        world.trace.record();
    }
    let outcome = play(&mut world);
    for line in world.trace.stream.take().into_iter().flatten() {
        println!("{line}");
    }
    println!("{:?}", outcome.unwrap_or_else(|failure| panic!("{failure:?}")));
}

#[test]
fn what_the_fixed_seeds_bring_breaks_nothing() {
    for seed in 1..=200 {
        play_or_fail(seed, Plan::drawn(seed));
    }
}

/// Seeds from a fixed one on, so that a change is judged by what it changed; another `DIVVY_SIM_BASE`, and more
/// `DIVVY_SIM_SECONDS`, explore.
#[test]
fn as_many_other_seeds_as_there_is_time_for_break_nothing() {
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (seconds, base) = (number("DIVVY_SIM_SECONDS", 15), number("DIVVY_SIM_BASE", 1_000_000));
    let most = if std::env::var_os("DIVVY_SIM_SECONDS").is_some() { u64::MAX } else { 500 };
    let clock = Clock::system();
    let start = clock.now();
    let (mut histories, mut steps) = (0, 0);
    while histories < most && clock.now().since(start.mono_ns) < Duration::from_secs(seconds) {
        let seed = base + histories;
        steps += play_or_fail(seed, Plan::drawn(seed)).steps;
        histories += 1;
    }
    println!("{histories} histories from seed {base} on, {steps} steps in {seconds} s");
}

/// The seed that finds a planted bug first, and what it breaks.
fn find(sabotage: Sabotage) -> (u64, Failure) {
    let found = (1..=400).find_map(|seed| Some((seed, history(seed, Plan::drawn(seed), Some(sabotage)).err()?)));
    found.unwrap_or_else(|| panic!("{sabotage:?} is found by no seed"))
}

#[test]
fn planted_bugs_are_found() {
    let planted = [
        (Sabotage::RegistersTooEarly, "registry_first"),
        (Sabotage::DropsTombstones, "registry_first"),
        (Sabotage::SendsBeforeWriting, "written_first"),
        (Sabotage::DropsStatusRecords, "written_first"),
        (Sabotage::AcknowledgesAnother, "acknowledged_after_ok"),
        (Sabotage::FreesTooEarly, "single_offer"),
        (Sabotage::UsesOffersTwice, "own_offers"),
        (Sabotage::StartsAgainAfterRestart, "started_once"),
    ];
    for (sabotage, invariant) in planted {
        let (seed, failure) = find(sabotage);
        println!("{sabotage:?}: seed {seed}, step {}: {}: {}", failure.step, failure.invariant, failure.text);
        assert_eq!(failure.invariant, invariant, "{sabotage:?} breaks something else first: {failure:?}");
    }
}

/// Everything that happens in a history, in text.
fn stream(seed: u64) -> Vec<String> {
    let mut world = World::new(seed, Plan::drawn(seed), None);
    world.trace.record();
    let outcome = play(&mut world);
    assert!(outcome.is_ok(), "{outcome:?}");
    world.trace.stream.take().unwrap_or_default()
}

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 14, 15, 92, 65] {
        let (one, two) = (stream(seed), stream(seed));
        let differs = one.iter().zip(&two).position(|(one, two)| one != two);
        if let Some(at) = differs {
            panic!("seed {seed}: line {at} of the two histories differs:\n{}\n{}", one[at], two[at]);
        }
        assert_eq!(one.len(), two.len(), "seed {seed}: one history goes on where the other ends");
    }
}

/// What a range of seeds breaks, each kind once with the seed that shows it in the fewest steps: `DIVVY_SIM_SURVEY` of
/// them from `DIVVY_SIM_BASE` on.
#[test]
fn a_range_of_seeds_asked_for_breaks_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (count, base) = (number("DIVVY_SIM_SURVEY").unwrap_or(0), number("DIVVY_SIM_BASE").unwrap_or(1));
    let mut found: BTreeMap<String, (u64, Failure)> = BTreeMap::new();
    let (mut steps, mut faults) = (0, BTreeMap::<String, u64>::new());
    for seed in base..base + count {
        match history(seed, Plan::drawn(seed), None) {
            Ok(outcome) => {
                steps += outcome.steps;
                outcome.faults.into_iter().for_each(|(kind, times)| *faults.entry(kind).or_default() += times);
            }
            Err(failure) => {
                let kind = failure.text.chars().filter(|one| !one.is_ascii_digit()).take(46).collect::<String>();
                let (times, shortest) = found.entry(kind).or_insert_with(|| (0, failure.clone()));
                *times += 1;
                if failure.step < shortest.step {
                    *shortest = failure;
                }
            }
        }
    }
    println!("{count} histories, {steps} steps, {faults:?}");
    for (times, failure) in found.values() {
        println!("{times} x seed {} at step {}: {}: {}", failure.seed, failure.step, failure.invariant, failure.text);
    }
    assert!(found.is_empty(), "{} kinds of failure", found.len());
}
