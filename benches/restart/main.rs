//! A master restarts before all its agents: the time until it knows every task and makes offers again.
//!
//! `cargo bench --bench restart -- [--agents N] [--connected N] [--core | --sockets | --memory]`. *core* takes the
//! encoded registrations of 20,000 agents with 5 tasks each through decoding, the core, and the encoding of its
//! messages, in one thread. *sockets* kills the process of a master whose 2,000 agents are connected, starts it again
//! in the same work directory, where all reconnect at once, and waits until every agent is registered and offered. Each
//! has a baseline: the same bytes decoded only, and as many bare connections with as many bytes. *memory* measures what
//! the core alone keeps of a running task: the growth of the resident set between the same agents without tasks and
//! with 100 each.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod bare;
#[path = "../measure/mod.rs"]
mod measure;
mod peers;

use divvy::master::{
    Options,
    scripted::{Played, Restart},
};

pub(crate) use crate::measure::Outcome;
use crate::measure::{Samples, child, timed};

/// Tasks on each agent.
pub(crate) const TASKS: usize = 5;
const REPEATS: usize = 7;

fn main() -> Outcome<()> {
    if let Some(role) = child::role() {
        return serve(&role);
    }
    let (mut agents, mut connected, mut modes) = (20_000, 2_000, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|text| text.parse::<usize>().ok()).ok_or_else(|| format!("{word} takes a number"));
        match word.as_str() {
            "--agents" => agents = number()?.max(1),
            "--connected" => connected = number()?.max(1),
            "--core" | "--sockets" | "--memory" => modes.push(word),
            // What `cargo bench` itself adds.
            "--bench" => {}
            other => return Err(format!("{other} is no option of this bench").into()),
        }
    }
    let wants = |mode: &str| modes.is_empty() || modes.iter().any(|one| one == mode);
    println!("restart: {}", measure::machine());
    if wants("--memory") {
        memory()?;
    }
    if wants("--core") {
        core(agents);
    }
    if wants("--sockets") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(peers::restart(connected))?;
    }
    Ok(())
}

/// Serves as a master if the role holds an address and a directory, otherwise as the bare server.
fn serve(role: &str) -> Outcome<()> {
    let Some((address, work_dir)) = role.split_once(' ') else { return child::serve(async { bare::serve() }) };
    let mut options = Options::default();
    options.listen = address.parse()?;
    options.work_dir = Some(work_dir.into());
    child::master(options)
}

/// Measures what the core keeps of each task and agent, before anything else has used memory.
fn memory() -> Outcome<()> {
    const AGENTS: usize = 1_000;
    const EACH: usize = 100;
    let grown = |restart: &Restart| -> Outcome<(Played, usize)> {
        let before = measure::resident_kib(std::process::id())?;
        let played = restart.played();
        let grown = measure::resident_kib(std::process::id())?.saturating_sub(before);
        Ok((played, usize::try_from(grown)? << 10))
    };
    let (without, with) = (Restart::new(AGENTS, 0), Restart::new(AGENTS, EACH));
    let (_idle, agents) = grown(&without)?;
    let (busy, all) = grown(&with)?;
    let tasks = busy.restarted().tasks;
    println!("\nmemory of the core alone: {AGENTS} agents, {tasks} tasks, {} bytes of registrations", with.bytes());
    println!("  bytes per agent without tasks      {}", agents / AGENTS);
    println!("  bytes per running task             {}", all.saturating_sub(agents) / tasks);
    Ok(())
}

fn core(agents: usize) {
    let restart = Restart::new(agents, TASKS);
    let (mut whole, mut plain) = (Samples::default(), Samples::default());
    let mut last = None;
    for _ in 0..REPEATS {
        let (took, tasks) = timed(|| restart.decoded_only());
        plain.push(took);
        let (took, restarted) = timed(|| restart.play());
        whole.push(took);
        assert_eq!((restarted.tasks, restarted.offers), (tasks, agents), "all is known and offered");
        last = Some(restarted);
    }
    println!("\ncore: {agents} agents x {TASKS} tasks register again, {} bytes in", restart.bytes());
    println!("  until all is known and offered     {whole}");
    println!("  the same bytes decoded only        {plain}");
    println!("  {:?}", last.unwrap_or_default());
}
