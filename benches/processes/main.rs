//! Real processes: `true` through a master and an agent, against bare spawn-and-wait on two threads in the same run.
//!
//! `cargo bench --bench processes -- [--tasks N] [--slots N]`. First with the work directory in memory, then on a disk,
//! which is named and compared with a loop that makes and removes a sandbox as well. Bare and divvy take turns, so that
//! other load affects both alike. Then what a task costs in system calls and context switches, and one task at a time,
//! from the call of `launch_tasks` to RUNNING at the framework. Master, agent and framework share this process; the
//! supervisor is a process of its own, this program again, as in production.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod bare;
mod cluster;
mod counts;
#[path = "../measure/mod.rs"]
mod measure;
mod place;

use std::{path::Path, process::ExitCode, time::Duration};

use tokio::runtime::{Builder, Runtime};

use self::{
    cluster::{Cluster, Work},
    counts::{Calls, ChildCalls, Counted, Part},
    measure::{Samples, timed},
    place::Place,
};

pub(crate) use self::measure::Outcome;

const ROUNDS: usize = 3;
const ONE_AT_A_TIME: usize = 200;
/// Calls that are named.
const NAMED_CALLS: usize = 12;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, .., flag, directory] = words.as_slice()
        && (verb.as_str(), flag.as_str()) == ("supervise", "--directory")
    {
        return divvy::agent::supervisor::run(Path::new(directory), divvy::agent::supervisor::IDLE);
    }
    match bench(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("processes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(words: &[String]) -> Outcome<()> {
    let (tasks, slots) = (number(words, "--tasks", 5_000)?, number(words, "--slots", 64)?);
    println!("processes: {}", measure::machine());
    println!("{tasks} x `true` each time, {slots} slots");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Place::memory() {
        Some(place) => everything(&runtime, &place, tasks, slots, |_| bare::spawn_and_wait(tasks))?,
        None => println!("there is no tmpfs at /dev/shm"),
    }
    everything(&runtime, &Place::disk(), tasks, slots, |parent| bare::with_sandboxes(tasks, parent))
}

fn everything(
    runtime: &Runtime,
    place: &Place,
    tasks: usize,
    slots: usize,
    bare: impl Fn(&Path) -> Outcome<()>,
) -> Outcome<()> {
    println!("work directory in {} ({})", place.path.display(), place.system);
    with_cluster(runtime, place, slots, |cluster| {
        turns(runtime, cluster, tasks, slots, || bare(cluster.path()))?;
        cost(runtime, cluster, Work { tasks: tasks / 5, at_once: slots })
    })?;
    with_cluster(runtime, place, 1, |cluster| one_at_a_time(runtime, cluster))
}

fn with_cluster(
    runtime: &Runtime,
    place: &Place,
    slots: usize,
    use_it: impl FnOnce(&Cluster) -> Outcome<()>,
) -> Outcome<()> {
    let cluster = runtime.block_on(Cluster::start(&place.path, slots))?;
    let outcome = use_it(&cluster);
    runtime.block_on(cluster.stop());
    outcome
}

fn number(words: &[String], name: &str, default: usize) -> Outcome<usize> {
    let at = words.iter().position(|word| word == name);
    Ok(at.and_then(|at| words.get(at + 1)).map_or(Ok(default), |word| word.parse())?)
}

fn turns(
    runtime: &Runtime,
    cluster: &Cluster,
    tasks: usize,
    slots: usize,
    bare_loop: impl Fn() -> Outcome<()>,
) -> Outcome<()> {
    let (mut bare, mut through) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let (took, outcome) = timed(&bare_loop);
        outcome?;
        bare.push(took);
        let ran = runtime.block_on(cluster.run(Work { tasks, at_once: slots }))?;
        through.push(ran.took);
        println!("  bare {:.0}/s, divvy {:.0}/s", rate(tasks, took), rate(tasks, ran.took));
    }
    let (bare, through) = (rate(tasks, bare.median()), rate(tasks, through.median()));
    println!("medians of {ROUNDS}: bare {bare:.0}/s, divvy {through:.0}/s, {:.0} % of bare", 100.0 * through / bare);
    Ok(())
}

fn cost(runtime: &Runtime, cluster: &Cluster, work: Work) -> Outcome<()> {
    let parts = counts::parts(&cluster.supervisors())?;
    let before: Vec<[u64; 2]> = parts.iter().map(Part::context_switches).collect();
    let ran = runtime.block_on(cluster.run(work))?;
    let after = parts.iter().map(Part::context_switches);
    let switches: Vec<[u64; 2]> = after.zip(before).map(|(after, [a, b])| [after[0] - a, after[1] - b]).collect();
    let named: Vec<String> = parts
        .iter()
        .zip(&switches)
        .map(|(part, [waits, others])| {
            format!("{} {:.1} + {:.1}", part.name, per_task(*waits, work), per_task(*others, work))
        })
        .collect();
    let sum: u64 = switches.iter().flatten().sum();
    println!(
        "context switches per task: {:.1} (waits + preemptions: {}), at {:.0}/s",
        per_task(sum, work),
        named.join(", "),
        rate(work.tasks, ran.took)
    );
    let mut calls = Vec::new();
    for part in &parts {
        calls.extend(Calls::begin(part)?.map(|calls| (part.name, calls)));
    }
    if calls.is_empty() {
        println!("system calls per task: not counted, there is no strace");
        return Ok(());
    }
    runtime.block_on(cluster.run(work))?;
    let counted: Vec<(&str, Counted)> =
        calls.into_iter().map(|(name, calls)| Ok((name, calls.end()?))).collect::<Outcome<_>>()?;
    let sum: u64 = counted.iter().map(|(_, (sum, _))| sum).sum();
    println!("system calls per task: {:.1}", per_task(sum, work));
    for (name, counted) in &counted {
        println!("  {name} {}", described(counted, work));
    }
    if let Some(calls) = ChildCalls::begin(&cluster.supervisors())? {
        let work = Work { tasks: work.tasks / 5, ..work };
        runtime.block_on(cluster.run(work))?;
        println!("  the child, up to its exec {}", described(&calls.end()?, work));
    }
    Ok(())
}

fn described((sum, calls): &Counted, work: Work) -> String {
    let named = calls.iter().take(NAMED_CALLS).map(|(name, count)| format!("{name} {:.1}", per_task(*count, work)));
    format!("{:.1} ({})", per_task(*sum, work), named.collect::<Vec<_>>().join(", "))
}

fn one_at_a_time(runtime: &Runtime, cluster: &Cluster) -> Outcome<()> {
    let alone = runtime.block_on(cluster.run(Work { tasks: ONE_AT_A_TIME, at_once: 1 }))?.started;
    println!(
        "one at a time, launch_tasks -> RUNNING: p50 {:.2?}, p99 {:.2?} ({} of them)",
        alone.median(),
        alone.quantile(0.99),
        alone.len()
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
fn rate(tasks: usize, took: Duration) -> f64 {
    tasks as f64 / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
fn per_task(count: u64, work: Work) -> f64 {
    count as f64 / work.tasks as f64
}
