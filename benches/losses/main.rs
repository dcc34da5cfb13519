//! Many losses at once, through the real master core: how long each takes, and the longest turn meanwhile.
//!
//! `cargo bench --bench losses [-- --agents N] [--tasks N] [--frameworks N]`, 100,000 agents with 10 tasks each and 50
//! frameworks unless set otherwise. There is no network: the time is that of the core's turns, with the making and
//! dropping of their effects.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../measure/mod.rs"]
mod measure;

use std::time::Duration;

use divvy::{master::scripted::ScriptedCluster, types::Resources};
use measure::{Outcome, Samples, timed};

/// The service ends a batch of inputs after this long, as here.
const TURN: Duration = Duration::from_millis(4);
/// Longer than an agent may be disconnected.
const TOO_LONG: Duration = Duration::from_mins(11);

/// The turns of a step.
#[derive(Default)]
struct Turns {
    each: Samples,
    /// The longest, and which it was.
    longest: (Duration, usize),
    all: Duration,
    effects: usize,
}

impl Turns {
    /// Gives the core these inputs, as many in a turn as the service would, and runs turns until no more are due.
    fn run<I>(
        &mut self,
        cluster: &mut ScriptedCluster,
        inputs: impl IntoIterator<Item = I>,
        apply: impl Fn(&mut ScriptedCluster, I),
    ) {
        let mut inputs = inputs.into_iter().peekable();
        loop {
            let mut took = Duration::ZERO;
            while let Some(input) = inputs.next_if(|_| took < TURN) {
                took += timed(|| apply(cluster, input)).0;
            }
            let (more, turned) = timed(|| cluster.turn());
            took += more;
            self.all += took;
            self.each.push(took);
            self.longest = self.longest.max((took, self.each.len()));
            self.effects += turned.effects;
            if !turned.goes_on && inputs.peek().is_none() {
                return;
            }
        }
    }

    fn print(&self, what: &str) -> Outcome<()> {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let (all, most, (longest, at)) = (ms(self.all), ms(self.each.quantile(0.99)), self.longest);
        let longest = ms(longest);
        let resident = measure::resident_kib(std::process::id())? / 1024;
        let (turns, effects) = (self.each.len(), self.effects);
        println!(
            "  {what:<42} {all:>8.1} ms in {turns:>5} turns, p99 {most:>6.2}, longest {longest:>6.2} ms (turn {at}), {effects:>7} effects, {resident:>5} MiB"
        );
        Ok(())
    }
}

fn main() -> Outcome<()> {
    println!("losses: {}", measure::machine());
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: usize| -> Outcome<usize> {
        let at = words.iter().position(|word| word == name);
        Ok(at.and_then(|at| words.get(at + 1)).map(|word| word.parse()).transpose()?.unwrap_or(usual))
    };
    let (agents, tasks) = (number("--agents", 100_000)?, number("--tasks", 10)?);
    let frameworks = number("--frameworks", 50)?;
    println!("{agents} agents, each with {tasks} tasks, of {frameworks} frameworks\n");
    let mut cluster = ScriptedCluster::new();
    (0..frameworks).for_each(|at| cluster.add_framework(&format!("role{at}")));
    let total: Resources = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]".parse()?;
    let used = Resources::cpus_mem(0.1, 64.0);
    let few = Resources::cpus_mem(0.001, 0.1);
    let lost = agents / 10;
    let mut step = |what: &str, step: &mut dyn FnMut(&mut Turns, &mut ScriptedCluster)| {
        let mut turns = Turns::default();
        step(&mut turns, &mut cluster);
        turns.print(what)
    };
    step("all agents register", &mut |turns, cluster| {
        turns.run(cluster, 0..agents, |cluster, _| cluster.add_agent_with(&total, &used, tasks));
    })?;
    step("one with 10,000 tasks registers", &mut |turns, cluster| {
        turns.run(cluster, [()], |cluster, ()| cluster.add_agent_with(&total, &few, 10_000));
    })?;
    step("a snapshot is taken", &mut |turns, cluster| {
        turns.run(cluster, [()], |cluster, ()| cluster.snapshot());
    })?;
    step("the streams of a tenth break", &mut |turns, cluster| {
        turns.run(cluster, 0..lost, |cluster, at| cluster.detach_agents(at..at + 1));
    })?;
    step("these are marked unreachable", &mut |turns, cluster| {
        turns.run(cluster, [()], |cluster, ()| cluster.advance(TOO_LONG));
    })?;
    step("every framework reconciles all its tasks", &mut |turns, cluster| {
        turns.run(cluster, 0..frameworks, ScriptedCluster::reconcile);
    })?;
    step("the stream of a framework breaks", &mut |turns, cluster| {
        turns.run(cluster, [0], ScriptedCluster::detach_framework);
    })?;
    step("a framework is torn down", &mut |turns, cluster| turns.run(cluster, [1], ScriptedCluster::tear_down))?;
    step("the stream of one agent breaks", &mut |turns, cluster| {
        turns.run(cluster, [lost], |cluster, at| cluster.detach_agents(at..at + 1));
    })?;
    Ok(())
}
