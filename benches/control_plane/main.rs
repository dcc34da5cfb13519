//! The control plane under load: a real master in a process of its own, simulated agents and one framework over TCP.
//!
//! `cargo bench --bench control_plane -- [--agents N] [--tasks N] [--slots N] [--hold | --churn | --latency | --echo]`;
//! without a mode all run in turn, the bare echo of as many messages last. *hold* starts all tasks and keeps them;
//! *churn* ends each once its RUNNING is acknowledged, `slots` at a time on an agent; *latency* runs one task at a
//! time.
//!
//! CPU is what the kernel charged to every thread of both processes, by thread name. Memory is the resident set of the
//! master's process; the peers are in this one.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod agents;
mod echo;
mod framework;
#[path = "../measure/mod.rs"]
mod measure;
mod scenario;
mod usage;

use std::{error::Error, net::SocketAddr};

use divvy::master::Options;

use self::scenario::Mode;

pub(crate) use self::measure::Outcome;
use self::measure::child;

/// The options of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) agents: usize,
    pub(crate) tasks: usize,
    pub(crate) slots: usize,
    pub(crate) modes: Vec<Mode>,
}

fn wanted() -> Outcome<Wanted> {
    let mut wanted = Wanted { agents: 500, tasks: 100_000, slots: 20, modes: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            words
                .next()
                .ok_or_else(|| format!("{word} takes a number"))?
                .parse::<usize>()
                .map_err(Box::<dyn Error + Send + Sync>::from)
        };
        match word.as_str() {
            "--agents" => wanted.agents = number()?.max(1),
            "--tasks" => wanted.tasks = number()?.max(1),
            "--slots" => wanted.slots = number()?.max(1),
            "--hold" => wanted.modes.push(Mode::Hold),
            "--churn" => wanted.modes.push(Mode::Churn),
            "--latency" => wanted.modes.push(Mode::Latency),
            "--echo" => wanted.modes.push(Mode::Echo),
            // What `cargo bench` itself adds.
            "--bench" => {}
            other => return Err(format!("{other} is no option of this bench").into()),
        }
    }
    if wanted.modes.is_empty() {
        wanted.modes = vec![Mode::Hold, Mode::Churn, Mode::Latency, Mode::Echo];
    }
    Ok(wanted)
}

fn main() -> Outcome<()> {
    match child::role().as_deref() {
        Some(scenario::MASTER) => {
            let mut options = Options::default();
            options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
            return child::master(options);
        }
        Some(_) => return child::serve(async { echo::serve() }),
        None => {}
    }
    let wanted = wanted()?;
    println!("control_plane: {}", measure::machine());
    scenario::play(&wanted)
}
