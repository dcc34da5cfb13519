//! No invariant breaks in the histories of fixed seeds, and in as many others as time allows.

use std::{collections::BTreeMap, thread, time::Duration};

use super::{tally::play_many, *};

const AS_LONG_AS_IT_TAKES: Duration = Duration::from_mins(4);

/// What an ordinary run has to reach, besides every kind of fault.
const REACHED: [&str; 14] = [
    "Failover",
    "Kill",
    "a copied folder that names what runs",
    "a start of which no record is left",
    "answer to RECONCILE of a later turn",
    "launch that waited for its reader",
    "registration processed over several turns",
    "registry that took 50 ms to 5 s",
    "session over its budget",
    "session that broke while its registration was processed",
    "session whose peer read nothing for too long",
    "status merged with one that waited",
    "status sent again",
    "status that waited for its reader",
];

#[test]
fn what_the_fixed_seeds_bring_breaks_nothing_and_reaches_all_that_is_to_be_reached() {
    let tally = play_many(1, 200, AS_LONG_AS_IT_TAKES, 1);
    println!("{tally}");
    assert_eq!(tally.histories, 200);
    let kinds = Faults::wild();
    let reached = kinds.kinds().map(|kind| format!("{kind:?}")).chain(REACHED.map(str::to_owned));
    let missed: Vec<String> = reached.filter(|name| !tally.faults.contains_key(name)).collect();
    assert!(missed.is_empty(), "the fixed seeds never reach {missed:?}");
}

/// Seeds from a fixed one on, so that a change is judged by what it changed: 15 s of them, at most 500. With
/// `DIVVY_SIM_SECONDS` it takes that time and all threads there are; another `DIVVY_SIM_BASE` explores.
#[test]
fn as_many_other_seeds_as_there_is_time_for_break_nothing() {
    let (asked, base) = (number("DIVVY_SIM_SECONDS"), number("DIVVY_SIM_BASE").unwrap_or(1_000_000));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (seconds, most, threads) = asked.map_or((15, 500, 1), |seconds| (seconds, u64::MAX, threads));
    let tally = play_many(base, most, Duration::from_secs(seconds), threads);
    println!("{seconds} s from seed {base} on, {threads} threads\n{tally}");
    assert!(tally.histories > 0);
}

/// The same of histories that go on for hours: at most two, or as many as `DIVVY_SIM_SECONDS` has room for.
#[test]
fn histories_that_go_on_for_hours_break_nothing() {
    let asked = number("DIVVY_SIM_SECONDS");
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (seconds, most, threads) = asked.map_or((60, 2, 1), |seconds| (seconds, u64::MAX, threads));
    let tally = play_many(plan::FIRST_LONG, most, Duration::from_secs(seconds), threads);
    println!("{seconds} s of histories that go on for hours, {threads} threads\n{tally}");
    assert!(tally.histories > 0);
}

/// Lists what a range of seeds breaks, each kind once with the seed that needs the fewest steps: `DIVVY_SIM_SURVEY` of
/// them from `DIVVY_SIM_BASE` on.
#[test]
#[ignore = "surveys as many seeds as DIVVY_SIM_SURVEY says"]
fn a_range_of_seeds_asked_for_breaks_nothing() {
    let count = number("DIVVY_SIM_SURVEY").expect("DIVVY_SIM_SURVEY says how many seeds");
    let base = number("DIVVY_SIM_BASE").unwrap_or(1);
    let mut found: BTreeMap<String, (u64, Failure)> = BTreeMap::new();
    let (mut steps, mut faults) = (0, BTreeMap::<String, u64>::new());
    for seed in base..base + count {
        match history(seed, Plan::drawn(seed), None) {
            Ok(outcome) => {
                steps += outcome.steps;
                for (kind, times) in outcome.faults {
                    *faults.entry(kind).or_default() += times;
                }
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
