//! The parts of a run: a master, agents and a scheduler, each a process that can be killed, stopped and restarted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use divvy::transport::clock::Clock;
use serde_json::Value;

use super::{
    framework,
    plan::{Action, Step, Target},
};
use crate::part::{Part, Running, Site, connected_agents, state, until};

/// What each agent has.
pub(super) const RESOURCES: &str = "cpus:12;mem:1024;ports:[31000-31011]";

pub(super) struct Parts<'a> {
    site: &'a Site,
    seed: u64,
    pub(super) address: String,
    master: Option<Part>,
    agents: Vec<Option<Part>>,
    framework: Option<Running>,
    pub(super) fault_counts: BTreeMap<String, u64>,
}

impl<'a> Parts<'a> {
    pub(super) fn start(site: &'a Site, seed: u64, agents: usize) -> Self {
        fs::create_dir_all(site.path().join("tasks")).expect("a folder");
        // A master restarts on its port, so the port must be outside the range that the system gives to connections.
        let address = own_port();
        let master = Some(master(site, &address));
        let agents = (0..agents).map(|number| Some(agent(site, &address, number))).collect();
        let mut parts = Self { site, seed, address, master, agents, framework: None, fault_counts: BTreeMap::new() };
        parts.framework = Some(parts.start_framework());
        parts
    }

    fn start_framework(&self) -> Running {
        Running::start(self.site, "framework", framework::command(self.site.path(), &self.address, self.seed))
    }

    /// Applies every step at its time.
    pub(super) fn apply_faults(&mut self, steps: &[Step]) {
        let clock = Clock::system();
        let began = clock.now();
        let file = self.site.path().join("timeline");
        let mut timeline = File::create(file).expect("a file");
        for step in steps {
            let passed = Duration::from_nanos(clock.now().mono_ns - began.mono_ns);
            // The seed decides the times; this sleep waits for no condition.
            std::thread::sleep(step.at.saturating_sub(passed));
            writeln!(timeline, "{step}").expect("written");
            *self.fault_counts.entry(format!("{:?} {}", step.action, kind(step.target))).or_default() += 1;
            self.apply(*step);
        }
    }

    fn apply(&mut self, step: Step) {
        let site = self.site;
        match (step.action, step.target) {
            (Action::Kill, Target::Master) => drop(self.master.take().expect("it runs").kill()),
            (Action::Kill, Target::Agent(number)) => drop(self.agents[number].take().expect("it runs").kill()),
            (Action::Kill, Target::Framework) => drop(self.framework.take().expect("it runs")),
            (Action::Start, Target::Master) => self.master = Some(master(site, &self.address)),
            (Action::Start, Target::Agent(number)) => self.agents[number] = Some(agent(site, &self.address, number)),
            (Action::Start, Target::Framework) => self.framework = Some(self.start_framework()),
            (Action::Stop, target) => self.signal(target, "STOP"),
            (Action::Continue, target) => self.signal(target, "CONT"),
        }
    }

    fn signal(&self, target: Target, signal: &str) {
        match target {
            Target::Master => self.master.as_ref().expect("it runs").signal(signal),
            Target::Agent(number) => self.agents[number].as_ref().expect("it runs").signal(signal),
            Target::Framework => self.framework.as_ref().expect("it runs").signal(signal),
        }
    }

    /// Stops the scheduler's launching and waits until every launched task has ended.
    pub(super) fn drain(&self) {
        fs::write(self.site.path().join(framework::STOP), "").expect("written");
        until("every task to have ended at the callback", || {
            let entries = super::event_log::read(self.site.path());
            if entries.contains(&super::event_log::Entry::Drained) {
                return Ok(());
            }
            let (open, launched) = super::event_log::open_tasks(&entries);
            Err(format!("{} of {launched} are open: {open:?}", open.len()))
        });
    }

    /// Tears the framework down and waits for its process.
    pub(super) fn stop_framework(&mut self) {
        fs::write(self.site.path().join(framework::LEAVE), "").expect("written");
        let (status, _, err) = self.framework.take().expect("it runs").wait();
        assert!(status.success(), "the scheduler ends well: {err}");
    }

    /// The master's `/state`.
    pub(super) fn state(&self) -> Value {
        state(&self.address)
    }

    /// The ids of all agents, as the master lists them; waits until all are connected.
    pub(super) fn agent_ids(&self) -> Vec<String> {
        connected_agents(&self.address, self.agents.len())
    }
}

fn kind(target: Target) -> &'static str {
    match target {
        Target::Master => "master",
        Target::Agent(_) => "agent",
        Target::Framework => "framework",
    }
}

/// Its ping timeout is shorter than the longest faults.
fn master(site: &Site, address: &str) -> Part {
    site.master_with(address, &["--agent-ping-timeout", "2500ms"])
}

fn agent(site: &Site, master: &str, number: usize) -> Part {
    site.agent(&agent_name(number), master, RESOURCES)
}

fn agent_name(number: usize) -> String {
    format!("agent{number}")
}

/// Where the sandboxes of an agent's tasks are.
pub(super) fn runs(site: &Path, number: usize) -> PathBuf {
    site.join(agent_name(number)).join("runs")
}

/// A free port below those that the system gives to connections.
fn own_port() -> String {
    let first = 10_000 + u16::try_from(std::process::id() % 15_000).expect("small");
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (first..first + 1_000).find(free).expect("one of a thousand ports is free");
    format!("127.0.0.1:{port}")
}
