//! Injects faults: draws their kind, time, node and duration, and carries them out.

use std::time::Duration;

use rand::Rng as _;

use super::Fault;
use crate::sim::{
    chance::{between, millis, nanos, percent},
    fact::Fact,
    links::Directions,
    nodes::{Client, Node},
    queue::Event,
    world::{Phase, World, bound_ns},
};

impl World {
    pub(in crate::sim) fn next_fault(&mut self) {
        let every = self.plan.faults.every;
        let after = between(&mut self.chance.faults, Duration::from_millis(10), every * 2);
        self.after(after, Event::Fault);
    }

    /// Injects a fault of a random kind, and schedules the next one.
    pub(in crate::sim) fn inject_random(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        self.next_fault();
        if self.plan.misbehaviour.kills && percent(&mut self.chance.faults, 30) {
            return self.kill_some();
        }
        if self.plan.misbehaviour.failovers && percent(&mut self.chance.faults, 15) {
            return self.fail_over_some();
        }
        let kinds: Vec<Fault> = self.plan.faults.kinds().collect();
        if kinds.is_empty() {
            return;
        }
        let kind = kinds[self.chance.faults.random_range(0..kinds.len())];
        self.inflict(kind, None);
    }

    /// Injects a fault of this kind, on this agent if the kind affects agents.
    pub(in crate::sim) fn inflict(&mut self, kind: Fault, agent: Option<usize>) {
        let drawn = self.chance.faults.random_range(0..self.agents.len());
        let agent = agent.unwrap_or(drawn);
        self.count(&format!("{kind:?}"));
        self.fact(Fact::Fault(format!("{kind:?}")));
        match kind {
            Fault::AgentCrash => self.schedule_crash(Node::Agent(agent), false),
            Fault::HostCrash => self.schedule_crash(Node::Agent(agent), true),
            Fault::LongAbsence => self.start_long_absence(agent),
            Fault::MassLoss => self.crash_most(),
            Fault::SupervisorDeath => self.supervisor_dies(agent),
            Fault::MasterCrash => self.schedule_crash(Node::Master, false),
            Fault::RegistryOutage => {
                let time = millis(&mut self.chance.faults, 500, 60_000);
                self.registry_until_ns = self.now_ns + nanos(time);
            }
            Fault::FrameworkCrash => {
                if let Some(node) = self.some_framework() {
                    self.schedule_crash(node, false);
                }
            }
            Fault::Cut => self.cut_one(Directions::Both),
            Fault::OneWayCut => {
                let directions = if self.chance.faults.random() { Directions::ToClient } else { Directions::ToMaster };
                self.cut_one(directions);
            }
            Fault::Isolation => self.isolate_some(agent),
            Fault::SlowLink => {
                let (client, until_ns) = (self.some_client(agent), self.until(60_000));
                self.links.slow(client, until_ns);
            }
            Fault::SlowDisk => {
                let node = if percent(&mut self.chance.faults, 25) { Node::Master } else { Node::Agent(agent) };
                let until_ns = self.until(60_000);
                self.slow_until.insert(node, until_ns);
            }
            Fault::WallStep => self.step_wall_clock(agent),
            Fault::MarkedGone => self.mark_gone(agent),
            Fault::FullDisk => {
                let node = if percent(&mut self.chance.faults, 25) { Node::Master } else { Node::Agent(agent) };
                let until_ns = self.until(20_000);
                match node {
                    Node::Agent(agent) => self.fill_disk(agent, until_ns),
                    node => drop(self.full_until.insert(node, until_ns)),
                }
            }
            Fault::Pause => self.pause_some(agent),
            Fault::SupervisorStopped | Fault::SupervisorsRemoved | Fault::FolderCopied => {
                self.inflict_on_supervisors_soon(agent, kind);
            }
            Fault::SlowReader => {
                let framework = (!self.frameworks.is_empty() && percent(&mut self.chance.faults, 50))
                    .then(|| Client::Framework(self.chance.faults.random_range(0..self.frameworks.len())));
                let client = framework.unwrap_or_else(|| self.some_client(agent));
                self.stop_some_reader(client);
            }
        }
    }

    /// Counts an event by its name.
    pub(in crate::sim) fn count(&mut self, what: &str) {
        match self.counted.get_mut(what) {
            Some(times) => *times += 1,
            None => drop(self.counted.insert(what.to_owned(), 1)),
        }
    }

    /// A random time within the next `most_ms` milliseconds.
    pub(in crate::sim) fn until(&mut self, most_ms: u64) -> u64 {
        self.now_ns + nanos(millis(&mut self.chance.faults, 100, most_ms))
    }

    /// A framework that may crash.
    fn some_framework(&mut self) -> Option<Node> {
        let own = (0..self.frameworks.len()).map(Node::Framework);
        let authors = (0..self.authors.len()).filter(|index| self.authors[*index].can_restart()).map(Node::Author);
        let all: Vec<Node> = own.chain(authors).collect();
        (!all.is_empty()).then(|| all[self.chance.faults.random_range(0..all.len())])
    }

    /// This agent, or less often a random client.
    fn some_client(&mut self, agent: usize) -> Client {
        let own = (0..self.frameworks.len()).map(Client::Framework);
        let all: Vec<Client> = own.chain((0..self.authors.len()).map(Client::Author)).collect();
        if all.is_empty() || percent(&mut self.chance.faults, 70) {
            return Client::Agent(agent);
        }
        all[self.chance.faults.random_range(0..all.len())]
    }

    /// Makes the node crash at one of its next effects, or now.
    fn schedule_crash(&mut self, node: Node, host: bool) {
        let effects = self.chance.faults.random_range(0..12);
        self.crash_points.insert(node, (effects, host));
        if effects == 0 {
            self.crash(node);
        }
    }

    /// Counts down to the node's crash point; returns whether it crashes before its next effect.
    pub(in crate::sim) fn crash_due(&mut self, node: Node) -> bool {
        let Some((left, _)) = self.crash_points.get_mut(&node) else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// Ends the node's process now; it restarts after a while.
    pub(in crate::sim) fn crash(&mut self, node: Node) {
        let host = self.crash_points.remove(&node).is_some_and(|(_, host)| host);
        if self.stop_process(node, host) {
            let after = self.outage();
            self.after(after, Event::Restart { node });
        }
    }

    /// Stops a process for a while, unless it is already stopped.
    fn pause_some(&mut self, agent: usize) {
        let node = if percent(&mut self.chance.faults, 40) { Node::Master } else { self.some_client(agent).node() };
        let long = percent(&mut self.chance.faults, 30);
        let until_ns = self.until(if long { 90_000 } else { 5_000 });
        self.paused_until.retain(|_, until_ns| *until_ns > self.now_ns);
        if self.runs(node) {
            self.paused_until.entry(node).or_insert(until_ns);
        }
    }

    /// Until when the node is stopped, if it is.
    pub(in crate::sim) fn paused(&self, node: Node) -> Option<u64> {
        self.paused_until.get(&node).copied().filter(|until_ns| *until_ns > self.now_ns)
    }

    /// Whether the node's disk is full.
    pub(in crate::sim) fn disk_is_full(&self, node: Node) -> bool {
        self.full_until.get(&node).is_some_and(|until_ns| *until_ns > self.now_ns)
    }

    fn runs(&self, node: Node) -> bool {
        match node {
            Node::Master => self.master.process.is_some(),
            Node::Agent(index) => self.agents[index].process.is_some(),
            Node::Framework(index) => self.frameworks[index].process.is_some(),
            Node::Replaced(index) => self.replaced[index].is_some(),
            Node::Author(index) => self.authors[index].process.is_some(),
        }
    }

    /// Ends the node's process, if there is one.
    fn stop_process(&mut self, node: Node, host: bool) -> bool {
        self.paused_until.remove(&node);
        match node {
            Node::Master if self.master.process.is_some() => self.crash_master(),
            Node::Agent(index) if self.agents[index].process.is_some() => self.crash_agent(index, host),
            Node::Framework(index) if self.frameworks[index].process.is_some() => self.crash_framework(index),
            Node::Author(index) if self.authors[index].process.is_some() => self.crash_author(index),
            Node::Master | Node::Agent(_) | Node::Framework(_) | Node::Replaced(_) | Node::Author(_) => return false,
        }
        true
    }

    pub(in crate::sim) fn restart(&mut self, node: Node) {
        match node {
            Node::Master if self.master.process.is_none() => self.start_master(),
            Node::Agent(index) if self.agents[index].process.is_none() => self.start_agent(index),
            Node::Framework(index) if self.frameworks[index].process.is_none() && !self.frameworks[index].over => {
                self.start_framework(index);
            }
            Node::Author(index) if self.authors[index].process.is_none() && self.authors[index].ended.is_none() => {
                self.start_author(index);
            }
            Node::Master | Node::Agent(_) | Node::Framework(_) | Node::Replaced(_) | Node::Author(_) => {}
        }
    }

    /// Takes the agent's host down for longer than the master waits.
    fn start_long_absence(&mut self, agent: usize) {
        let config = &self.plan.master;
        let ping_timeout = config.ping_interval * (config.pings_missed + 1);
        let least = ping_timeout.max(config.reregister_timeout);
        if self.stop_process(Node::Agent(agent), true) {
            let after = between(&mut self.chance.faults, least, least * 2);
            self.after(after, Event::Restart { node: Node::Agent(agent) });
        }
    }

    /// Crashes or isolates most agents at once.
    fn crash_most(&mut self) {
        let isolates = percent(&mut self.chance.faults, 50);
        let host = !isolates && percent(&mut self.chance.faults, 50);
        for agent in 0..self.agents.len() {
            if percent(&mut self.chance.faults, 20) {
                continue;
            }
            if isolates {
                let until_ns = self.until(90_000);
                self.isolate(Client::Agent(agent), until_ns);
            } else if self.stop_process(Node::Agent(agent), host) {
                let after = self.outage();
                self.after(after, Event::Restart { node: Node::Agent(agent) });
            }
        }
    }

    fn cut_one(&mut self, directions: Directions) {
        let links = self.links.ids();
        if links.is_empty() {
            return;
        }
        let link = links[self.chance.faults.random_range(0..links.len())];
        let quiet = directions != Directions::Both || percent(&mut self.chance.faults, 30);
        let notice = Duration::from_millis(if quiet { 90_000 } else { 200 });
        self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, directions, notice);
    }

    fn isolate_some(&mut self, agent: usize) {
        let client = self.some_client(agent);
        let long = percent(&mut self.chance.faults, 30);
        let until_ns = self.until(if long { 90_000 } else { 5_000 });
        self.isolate(client, until_ns);
    }

    /// Isolates a client from the master for a while; neither is notified.
    pub(in crate::sim) fn isolate(&mut self, client: Client, until_ns: u64) {
        self.isolated_until.insert(client, until_ns);
        for link in self.links.of(client) {
            let notice = Duration::from_mins(1);
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, Directions::Both, notice);
        }
    }

    pub(in crate::sim) fn isolated(&self, client: Client) -> bool {
        self.isolated_until.get(&client).is_some_and(|until_ns| *until_ns > self.now_ns)
    }

    /// Whether the node's disk is slow.
    pub(in crate::sim) fn writes_slowly(&self, node: Node) -> bool {
        self.slow_until.get(&node).is_some_and(|until_ns| *until_ns > self.now_ns)
    }

    fn step_wall_clock(&mut self, agent: usize) {
        let mut nodes = vec![Node::Master, Node::Agent(agent)];
        nodes.extend((0..self.frameworks.len()).map(Node::Framework));
        nodes.extend((0..self.authors.len()).map(Node::Author));
        let node = nodes[self.chance.faults.random_range(0..nodes.len())];
        let step_ns = self.chance.faults.random_range(-3_600_000_000_000..=3_600_000_000_000);
        self.wall_steps.insert(node, step_ns);
    }

    fn kill_some(&mut self) {
        if !self.frameworks.is_empty() {
            let framework = self.chance.faults.random_range(0..self.frameworks.len());
            if self.paused(Node::Framework(framework)).is_some() {
                return;
            }
            self.count("Kill");
            self.kill_one(framework);
        }
    }

    /// Ends all faults; no new ones are injected.
    pub(in crate::sim) fn heal(&mut self) {
        self.crash_points.clear();
        self.isolated_until.clear();
        self.slow_until.clear();
        self.full_until.clear();
        for agent in 0..self.agents.len() {
            self.queue.at(self.now_ns, Event::DiskChanged { agent });
            for supervisor in std::mem::take(&mut self.agents[agent].host.stopped_until).into_keys() {
                self.agents[agent].host.stopped_until.insert(supervisor, self.now_ns);
                self.queue.at(self.now_ns, Event::SupervisorContinues { agent, supervisor });
            }
        }
        self.links.clear_slow();
        self.resume_reading();
        self.registry_until_ns = 0;
        self.fact(Fact::Fault("the faults end".to_owned()));
        if self.authors.is_empty() {
            self.phase = Phase::Quiescing { until_ns: self.now_ns + bound_ns() };
            self.after(Duration::from_secs(1), Event::CheckQuiescence);
        } else {
            self.phase = Phase::Healed;
        }
    }
}
