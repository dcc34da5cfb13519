//! Inflicts faults: what goes wrong, when, and for how long.

use std::time::Duration;

use rand::Rng as _;

use super::Fault;
use crate::sim::{
    chance::{between, millis, nanos, percent},
    fact::Fact,
    links::Ways,
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

    /// A fault of any kind there is.
    pub(in crate::sim) fn fault(&mut self) {
        if self.phase != Phase::Trouble {
            return;
        }
        self.next_fault();
        if self.plan.oddities.kills && percent(&mut self.chance.faults, 30) {
            return self.kill_some();
        }
        if self.plan.oddities.failovers && percent(&mut self.chance.faults, 15) {
            return self.fail_over_some();
        }
        let kinds: Vec<Fault> = self.plan.faults.kinds().collect();
        if kinds.is_empty() {
            return;
        }
        let kind = kinds[self.chance.faults.random_range(0..kinds.len())];
        self.inflict(kind, None);
    }

    /// A fault of this kind, on this agent where it is one that strikes an agent.
    pub(in crate::sim) fn inflict(&mut self, kind: Fault, agent: Option<usize>) {
        let drawn = self.chance.faults.random_range(0..self.agents.len());
        let agent = agent.unwrap_or(drawn);
        self.count(&format!("{kind:?}"));
        self.fact(Fact::Fault(format!("{kind:?}")));
        match kind {
            Fault::AgentCrash => self.doom(Node::Agent(agent), false),
            Fault::HostCrash => self.doom(Node::Agent(agent), true),
            Fault::LongAbsence => self.send_away(agent),
            Fault::MassLoss => self.lose_most(),
            Fault::SupervisorDeath => self.supervisor_dies(agent),
            Fault::MasterCrash => self.doom(Node::Master, false),
            Fault::RegistryOutage => {
                let time = millis(&mut self.chance.faults, 500, 60_000);
                self.registry_until_ns = self.now_ns + nanos(time);
            }
            Fault::FrameworkCrash => {
                if let Some(node) = self.some_framework() {
                    self.doom(node, false);
                }
            }
            Fault::Cut => self.cut_one(Ways::Both),
            Fault::OneWayCut => {
                let ways = if self.chance.faults.random() { Ways::ToClient } else { Ways::ToMaster };
                self.cut_one(ways);
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
                self.trouble_supervisors_soon(agent, kind);
            }
            Fault::SlowReader => {
                let framework = (!self.frameworks.is_empty() && percent(&mut self.chance.faults, 50))
                    .then(|| Client::Framework(self.chance.faults.random_range(0..self.frameworks.len())));
                let client = framework.unwrap_or_else(|| self.some_client(agent));
                self.stop_some_reader(client);
            }
        }
    }

    /// Something that is counted came about.
    pub(in crate::sim) fn count(&mut self, what: &str) {
        match self.counted.get_mut(what) {
            Some(times) => *times += 1,
            None => drop(self.counted.insert(what.to_owned(), 1)),
        }
    }

    /// A time to come, within so many milliseconds.
    pub(in crate::sim) fn until(&mut self, most_ms: u64) -> u64 {
        self.now_ns + nanos(millis(&mut self.chance.faults, 100, most_ms))
    }

    /// A framework that may crash.
    fn some_framework(&mut self) -> Option<Node> {
        let own = (0..self.frameworks.len()).map(Node::Framework);
        let authors = (0..self.authors.len()).filter(|index| self.authors[*index].restarts()).map(Node::Author);
        let all: Vec<Node> = own.chain(authors).collect();
        (!all.is_empty()).then(|| all[self.chance.faults.random_range(0..all.len())])
    }

    /// This agent, or less often a framework.
    fn some_client(&mut self, agent: usize) -> Client {
        let own = (0..self.frameworks.len()).map(Client::Framework);
        let all: Vec<Client> = own.chain((0..self.authors.len()).map(Client::Author)).collect();
        if all.is_empty() || percent(&mut self.chance.faults, 70) {
            return Client::Agent(agent);
        }
        all[self.chance.faults.random_range(0..all.len())]
    }

    /// The node crashes at one of its next effects, or now.
    fn doom(&mut self, node: Node, host: bool) {
        let effects = self.chance.faults.random_range(0..12);
        self.fuses.insert(node, (effects, host));
        if effects == 0 {
            self.crash(node);
        }
    }

    /// Whether the node crashes before its next effect.
    pub(in crate::sim) fn blows(&mut self, node: Node) -> bool {
        let Some((left, _)) = self.fuses.get_mut(&node) else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// Ends the node's process here and now; it starts again after a while.
    pub(in crate::sim) fn crash(&mut self, node: Node) {
        let host = self.fuses.remove(&node).is_some_and(|(_, host)| host);
        if self.goes_down(node, host) {
            let after = self.outage();
            self.after(after, Event::Restart { node });
        }
    }

    /// A process is stopped. One that is already goes on when it was to.
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

    /// Whether the node's disk takes nothing.
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
    fn goes_down(&mut self, node: Node, host: bool) -> bool {
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

    /// The agent's host goes down for longer than the master waits.
    fn send_away(&mut self, agent: usize) {
        let config = &self.plan.master;
        let patience = config.ping_interval * (config.pings_missed + 1);
        let least = patience.max(config.reregister_timeout);
        if self.goes_down(Node::Agent(agent), true) {
            let after = between(&mut self.chance.faults, least, least * 2);
            self.after(after, Event::Restart { node: Node::Agent(agent) });
        }
    }

    /// Most agents crash, or are cut off, at once.
    fn lose_most(&mut self) {
        let isolates = percent(&mut self.chance.faults, 50);
        let host = !isolates && percent(&mut self.chance.faults, 50);
        for agent in 0..self.agents.len() {
            if percent(&mut self.chance.faults, 20) {
                continue;
            }
            if isolates {
                let until_ns = self.until(90_000);
                self.isolate(Client::Agent(agent), until_ns);
            } else if self.goes_down(Node::Agent(agent), host) {
                let after = self.outage();
                self.after(after, Event::Restart { node: Node::Agent(agent) });
            }
        }
    }

    fn cut_one(&mut self, ways: Ways) {
        let links = self.links.ids();
        if links.is_empty() {
            return;
        }
        let link = links[self.chance.faults.random_range(0..links.len())];
        let quiet = ways != Ways::Both || percent(&mut self.chance.faults, 30);
        let notice = Duration::from_millis(if quiet { 90_000 } else { 200 });
        self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, ways, notice);
    }

    fn isolate_some(&mut self, agent: usize) {
        let client = self.some_client(agent);
        let long = percent(&mut self.chance.faults, 30);
        let until_ns = self.until(if long { 90_000 } else { 5_000 });
        self.isolate(client, until_ns);
    }

    /// A client and the master cannot reach each other for a while; neither is told.
    pub(in crate::sim) fn isolate(&mut self, client: Client, until_ns: u64) {
        self.isolated_until.insert(client, until_ns);
        for link in self.links.of(client) {
            let notice = Duration::from_mins(1);
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, Ways::Both, notice);
        }
    }

    pub(in crate::sim) fn isolated(&self, client: Client) -> bool {
        self.isolated_until.get(&client).is_some_and(|until_ns| *until_ns > self.now_ns)
    }

    /// Whether what the node writes takes long.
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

    /// From here on nothing goes wrong; what is down comes up.
    pub(in crate::sim) fn heal(&mut self) {
        self.fuses.clear();
        self.isolated_until.clear();
        self.slow_until.clear();
        self.full_until.clear();
        for agent in 0..self.agents.len() {
            self.queue.at(self.now_ns, Event::DiskChanged { agent });
            for supervisor in std::mem::take(&mut self.agents[agent].host.stopped_until).into_keys() {
                self.agents[agent].host.stopped_until.insert(supervisor, self.now_ns);
                self.queue.at(self.now_ns, Event::SupervisorGoesOn { agent, supervisor });
            }
        }
        self.links.quicken();
        self.read_on();
        self.registry_until_ns = 0;
        self.fact(Fact::Fault("the trouble ends".to_owned()));
        if self.authors.is_empty() {
            self.phase = Phase::Settling { until_ns: self.now_ns + bound_ns() };
            self.after(Duration::from_secs(1), Event::Look);
        } else {
            self.phase = Phase::Calm;
        }
    }
}
