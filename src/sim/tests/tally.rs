//! Plays many seeds, each twice, on several threads, and counts what occurred.

use std::{
    collections::BTreeMap,
    fmt, panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::*;
use crate::transport::clock::Clock;

/// The sum of many histories.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) histories: u64,
    steps: u64,
    checks: u64,
    tasks: usize,
    /// Virtual time of one run of each, and real time of both.
    simulated: Duration,
    took: Duration,
    pub(super) faults: BTreeMap<String, u64>,
    invariants: Vec<&'static str>,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.histories += 1;
        self.steps += outcome.steps;
        self.checks += outcome.checks;
        self.tasks += outcome.tasks;
        self.simulated += outcome.elapsed;
        self.invariants = outcome.invariants;
        for (kind, times) in outcome.faults {
            *self.faults.entry(kind).or_default() += times;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, steps, checks, tasks, simulated, took, faults, invariants } = self;
        writeln!(f, "{histories:>12} histories, each played twice with the same result")?;
        writeln!(f, "{steps:>12} steps, {tasks} tasks")?;
        let (days, secs) = (2.0 * simulated.as_secs_f64() / 86_400.0, took.as_secs_f64().max(0.001));
        writeln!(f, "{days:>12.2} cluster-days in {secs:.1} s, {:.2} in 60 s; both runs count", days * 60.0 / secs)?;
        writeln!(f, "{:>12.0} events a second", 2.0 * num(*steps) / secs)?;
        for (kind, times) in faults {
            writeln!(f, "{times:>12} {kind}")?;
        }
        writeln!(f, "{checks:>12} checks of {} invariants: {}", invariants.len(), invariants.join(", "))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rounded figure to be read")]
fn num(count: u64) -> f64 {
    count as f64
}

/// Plays the seeds from `base` on until so many are played or the time is over.
pub(super) fn play_many(base: u64, most: u64, time: Duration, threads: usize) -> Tally {
    let clock = Clock::system();
    let start = clock.now();
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        while clock.now().since(start.mono_ns) < time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= most {
                return;
            }
            let outcome = play_twice(base + number, None);
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(failure) = worker.join() {
                panic::resume_unwind(failure);
            }
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Tally { took: clock.now().since(start.mono_ns), ..tally }
}

/// Plays a seed twice and panics when an invariant is broken, or at the first step that differs.
fn play_twice(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    let play = || history(seed, Plan::drawn(seed), sabotage);
    let one = play().unwrap_or_else(|failure| panic!("{failure}\n{}", shrink::smaller(&failure, sabotage)));
    let other = play().unwrap_or_else(|failure| panic!("the second time: {failure}"));
    if one.digests != other.digests {
        let step = one.digests.iter().zip(&other.digests).position(|(one, other)| one != other);
        let step = step.unwrap_or_else(|| one.digests.len().min(other.digests.len()));
        panic!("seed {seed}: step {} is not the same twice:\n{}", step + 1, differing(seed, sabotage));
    }
    one
}

/// The first lines that differ in two runs of a seed.
pub(super) fn differing(seed: u64, sabotage: Option<Sabotage>) -> String {
    let (one, other) = (stream(seed, sabotage), stream(seed, sabotage));
    match one.iter().zip(&other).find(|(one, other)| one != other) {
        Some((one, other)) => format!("first:  {one}\nsecond: {other}"),
        None => format!("{} lines the first time, {} the second", one.len(), other.len()),
    }
}

/// All facts and effects of a history, as text.
pub(super) fn stream(seed: u64, sabotage: Option<Sabotage>) -> Vec<String> {
    let mut world = World::new(seed, Plan::drawn(seed), sabotage);
    world.trace.record();
    // The result does not matter: only the stream is compared.
    let _ = play(&mut world);
    world.trace.stream.take().unwrap_or_default()
}
