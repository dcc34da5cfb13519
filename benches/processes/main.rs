//! Real processes: `true` through a master and an agent, against bare spawn-and-wait on two threads in the same run.
//!
//! `cargo bench --bench processes -- [--tasks N] [--slots N]`. Bare and divvy take turns, so that a neighbour's load meets
//! both. Then one task at a time, from the call of `launch_tasks` to RUNNING in the author's hands. Master, agent and
//! framework share this process; the supervisor is a process of its own, this program again, as in production.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod cluster;
#[path = "../measure/mod.rs"]
mod measure;

use std::{
    error::Error,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use self::{
    cluster::{Cluster, Work},
    measure::{Samples, timed},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ROUNDS: usize = 3;
const ONE_AT_A_TIME: usize = 200;

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
    with_cluster(&runtime, slots, |cluster| turns(&runtime, cluster, tasks, slots))?;
    with_cluster(&runtime, 1, |cluster| one_at_a_time(&runtime, cluster))
}

fn with_cluster(runtime: &Runtime, slots: usize, use_it: impl FnOnce(&Cluster) -> Outcome<()>) -> Outcome<()> {
    let cluster = runtime.block_on(Cluster::start(slots))?;
    let outcome = use_it(&cluster);
    runtime.block_on(cluster.stop());
    outcome
}

fn number(words: &[String], name: &str, default: usize) -> Outcome<usize> {
    let at = words.iter().position(|word| word == name);
    Ok(at.and_then(|at| words.get(at + 1)).map_or(Ok(default), |word| word.parse())?)
}

fn turns(runtime: &Runtime, cluster: &Cluster, tasks: usize, slots: usize) -> Outcome<()> {
    let (mut bare, mut through) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let (took, outcome) = timed(|| spawn_and_wait(tasks));
        outcome?;
        bare.push(took);
        let work = Work { tasks, at_once: slots };
        let ran = runtime.block_on(cluster.run(work))?;
        through.push(ran.took);
        println!("  bare {:.0}/s, divvy {:.0}/s", rate(tasks, took), rate(tasks, ran.took));
    }
    let (bare, through) = (rate(tasks, bare.median()), rate(tasks, through.median()));
    println!("medians of {ROUNDS}: bare {bare:.0}/s, divvy {through:.0}/s, {:.0} % of bare", 100.0 * through / bare);
    Ok(())
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

/// The same work with nothing around it.
fn spawn_and_wait(tasks: usize) -> Outcome<()> {
    let started = AtomicUsize::new(0);
    let worker = || -> std::io::Result<()> {
        while started.fetch_add(1, Relaxed) < tasks {
            Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_panic| "a worker panicked")?.map_err(Into::into))
    })
}
