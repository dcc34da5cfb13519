//! The scenarios: each starts a master, connects peers, runs the demand and prints the figures.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use divvy::{proto::v1::TaskState, types::Resources};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Outcome, Wanted,
    agents::{self, Fleet, Traffic},
    echo,
    framework::{self, Demand, Measured},
    measure::{child::Served, resident_kib, timed},
    usage::{Cpu, micros_per},
};

/// The roles of the other process.
pub(crate) const MASTER: &str = "master";
const ECHO: &str = "echo";

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Hold,
    Churn,
    Latency,
    Echo,
}

/// Runs what is wanted.
pub(crate) fn play(wanted: &Wanted) -> Outcome<()> {
    let peers = Peers { agents: runtime("agents", 2)?, framework: runtime("framework", 1)? };
    let mut load = Load { messages: 10 * wanted.tasks, frames: 10 * wanted.tasks / 50 };
    for mode in &wanted.modes {
        match mode {
            Mode::Hold => load = peers.hold(wanted)?,
            Mode::Churn => drop(peers.churn(wanted)?),
            Mode::Latency => peers.latency()?,
            Mode::Echo => peers.echo(wanted, load)?,
        }
    }
    Ok(())
}

fn runtime(name: &str, threads: usize) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()?)
}

/// Frames and messages on all links together.
#[derive(Clone, Copy, Debug)]
struct Load {
    messages: usize,
    frames: usize,
}

/// Long enough for one ping of every agent: until then its stream keeps the memory of its last tasks.
const REST: Duration = Duration::from_secs(20);

/// The threads of the peers, in two runtimes so that their processor time can be separated.
struct Peers {
    agents: Runtime,
    framework: Runtime,
}

/// The results of one scenario.
struct Run {
    fleet: Arc<Fleet>,
    measured: Measured,
    master: Cpu,
    peers: Cpu,
    /// The master's memory: empty, with the agents, with the tasks, and after [`REST`].
    resident_kib: [u64; 4],
}

impl Peers {
    fn run(&self, agents: usize, resources: &Resources, ends: bool, demand: Demand, rest: Duration) -> Outcome<Run> {
        let master = Served::start(MASTER)?;
        let empty = resident_kib(master.pid())?;
        let fleet =
            self.agents.block_on(async { agents::connect(&master.address.to_string(), agents, resources, ends) })?;
        self.agents.block_on(async {
            while fleet.registered.load(Relaxed) < agents {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        });
        let with_agents = resident_kib(master.pid())?;
        let before = (Cpu::of(master.pid())?, Cpu::of(std::process::id())?);
        let (measured, attached) =
            self.framework.block_on(framework::run(&master.address.to_string(), &fleet, demand))?;
        let used = (Cpu::of(master.pid())?.since(&before.0), Cpu::of(std::process::id())?.since(&before.1));
        let with_tasks = resident_kib(master.pid())?;
        self.framework.block_on(async { tokio::time::sleep(rest).await });
        let resident_kib = [empty, with_agents, with_tasks, resident_kib(master.pid())?];
        drop(attached);
        Ok(Run { measured, master: used.0, peers: used.1, resident_kib, fleet })
    }

    fn hold(&self, wanted: &Wanted) -> Outcome<Load> {
        let (agents, tasks) = (wanted.agents, wanted.tasks);
        println!("\nhold: {tasks} tasks on {agents} agents, all running at the end");
        let demand = Demand { tasks, until: TaskState::TaskRunning, at_once: usize::MAX };
        let run = self.run(agents, &room_for(tasks.div_ceil(agents)), false, demand, REST)?;
        print_throughput(&run, tasks);
        print_projection(&run, tasks);
        print_memory(&run, agents, tasks);
        let (fleet, framework) = (&run.fleet.traffic, &run.measured.traffic);
        Ok(Load { messages: fleet.messages() + framework.messages(), frames: fleet.frames() + framework.frames() })
    }

    fn churn(&self, wanted: &Wanted) -> Outcome<Run> {
        let (agents, tasks, slots) = (wanted.agents, wanted.tasks, wanted.slots);
        println!("\nchurn: {tasks} tasks through {agents} agents, {slots} at a time on each, all finished at the end");
        let demand = Demand { tasks, until: TaskState::TaskFinished, at_once: usize::MAX };
        let run = self.run(agents, &room_for(slots), true, demand, Duration::ZERO)?;
        print_throughput(&run, tasks);
        print_offer_latency(&run.measured);
        Ok(run)
    }

    fn latency(&self) -> Outcome<()> {
        let tasks = 2_000;
        println!("\nlatency: {tasks} tasks on one agent, one at a time");
        let demand = Demand { tasks, until: TaskState::TaskFinished, at_once: 1 };
        let run = self.run(1, &room_for(1), true, demand, Duration::ZERO)?;
        let launched = &run.measured.launched;
        println!(
            "  ACCEPT sent -> RUNNING received    p50 {:.2?}  p99 {:.2?}",
            launched.median(),
            launched.quantile(0.99)
        );
        print_offer_latency(&run.measured);
        Ok(())
    }

    /// Exchanges as many messages in as many frames with a bare server.
    fn echo(&self, wanted: &Wanted, load: Load) -> Outcome<()> {
        let server = Served::start(ECHO)?;
        let size = (load.messages / load.frames.max(1)).max(1);
        let frames = (load.frames / 2 / wanted.agents).max(1);
        let messages = 2 * size * frames * wanted.agents;
        println!("\necho: {messages} messages in frames of {size} on {} bare connections", wanted.agents);
        let before = (Cpu::of(server.pid())?, Cpu::of(std::process::id())?);
        let (took, outcome) =
            timed(|| self.agents.block_on(echo::exchange(&server.address.to_string(), wanted.agents, frames, size)));
        outcome?;
        let (there, here) = (Cpu::of(server.pid())?.since(&before.0), Cpu::of(std::process::id())?.since(&before.1));
        let cpu = there.total() + here.total();
        println!("  wall {took:.2?}; cpu {:.2} us per message on both ends together", micros_per(cpu, messages));
        Ok(())
    }
}

/// Resources for just so many tasks.
fn room_for(tasks: usize) -> Resources {
    let each = framework::task_resources();
    let count = i64::try_from(tasks).unwrap_or(i64::MAX);
    let of = |amount: divvy::types::Milli| divvy::types::Milli::from_raw(amount.raw().saturating_mul(count));
    Resources::from_scalars(&[("cpus", of(each.cpus())), ("mem", of(each.mem_mib()))])
}

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
fn per(count: usize, tasks: usize) -> f64 {
    count as f64 / tasks as f64
}

fn print_throughput(run: &Run, tasks: usize) {
    let Run { measured, master, peers, .. } = run;
    let rate = per(tasks, 1) / measured.took.as_secs_f64();
    println!("  wall {:.2?}, {rate:.0} tasks/s; first offer after {:.2?}", measured.took, measured.first_offer);
    println!(
        "  RUNNING: first {:.2?}, p50 {:.2?}, p95 {:.2?}, p99 {:.2?}",
        measured.running.quantile(0.0),
        measured.running.median(),
        measured.running.quantile(0.95),
        measured.running.quantile(0.99)
    );
    let all = micros_per(master.total() + peers.total(), tasks);
    println!(
        "  cpu per task {all:.1} us everywhere: master {:.1}, peers {:.1}",
        micros_per(master.total(), tasks),
        micros_per(peers.total(), tasks)
    );
    println!("    master: {}; peers: {}", master.per(tasks), peers.per(tasks));
    print_traffic("agents -> master", "master -> agents", &run.fleet.traffic, tasks);
    print_traffic("framework -> master", "master -> framework", &measured.traffic, tasks);
}

fn print_traffic(up: &str, down: &str, traffic: &Traffic, tasks: usize) {
    let line = |name: &str, frames: usize, messages: usize| {
        println!("    {name:<22} {:.3} messages, {:.3} frames per task", per(messages, tasks), per(frames, tasks));
    };
    line(up, traffic.frames_sent.load(Relaxed), traffic.messages_sent.load(Relaxed));
    line(down, traffic.frames_received.load(Relaxed), traffic.messages_received.load(Relaxed));
}

fn print_projection(run: &Run, tasks: usize) {
    if tasks >= 1_000_000 {
        return;
    }
    let million = run.measured.took.as_secs_f64() * 1e6 / per(tasks, 1);
    println!("  projected, not measured: 1,000,000 tasks at this pace take {million:.0} s");
}

fn print_memory(run: &Run, agents: usize, tasks: usize) {
    let [empty, with_agents, with_tasks, at_rest] = run.resident_kib;
    let kib = |more: u64, less: u64| usize::try_from(more.saturating_sub(less)).unwrap_or(usize::MAX);
    println!(
        "  master's resident memory: {empty} KiB empty, +{:.1} KiB per agent with its connection, +{:.2} KiB per task; \
         {:.2} {} s later",
        per(kib(with_agents, empty), agents),
        per(kib(with_tasks, with_agents), tasks),
        per(kib(at_rest, with_agents), tasks),
        REST.as_secs()
    );
}

fn print_offer_latency(measured: &Measured) {
    let again = &measured.offered_again;
    println!("  SUBSCRIBE -> first offer           {:.2?}", measured.first_offer);
    println!(
        "  task's end at the agent -> offer   p50 {:.2?}  p99 {:.2?}  ({} of them)",
        again.median(),
        again.quantile(0.99),
        again.len()
    );
}
