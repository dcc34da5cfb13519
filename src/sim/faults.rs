//! What goes wrong, when, and for how long.

use std::time::Duration;

use rand::Rng as _;

use super::{
    chance::{between, millis, percent},
    fact::Fact,
    nodes::{Client, Node},
    queue::Event,
    world::{Phase, World, bound_ns},
};

/// The kinds of fault that come at random times.
#[derive(Clone, Copy, Debug)]
enum Kind {
    AgentCrash,
    HostCrash,
    MasterCrash,
    FrameworkCrash,
    SupervisorDeath,
    Cut,
    Isolation,
    Kill,
    WallStep,
}

impl World {
    pub(super) fn next_fault(&mut self) {
        let every = self.plan.faults.every;
        let after = between(&mut self.chance.faults, Duration::from_millis(10), every * 2);
        self.after(after, Event::Fault);
    }

    pub(super) fn fault(&mut self) {
        if self.phase != Phase::Trouble {
            return;
        }
        self.next_fault();
        let faults = &self.plan.faults;
        let kinds = [
            (Kind::AgentCrash, faults.agent_crashes),
            (Kind::HostCrash, faults.host_crashes),
            (Kind::MasterCrash, faults.master_crashes),
            (Kind::FrameworkCrash, faults.framework_crashes),
            (Kind::SupervisorDeath, faults.supervisor_deaths),
            (Kind::Cut, faults.cuts),
            (Kind::Isolation, faults.isolation),
            (Kind::Kill, faults.kills),
            (Kind::WallStep, faults.wall_steps),
        ];
        let on: Vec<Kind> = kinds.into_iter().filter_map(|(kind, on)| on.then_some(kind)).collect();
        let kind = on[self.chance.faults.random_range(0..on.len())];
        *self.counted.entry(format!("{kind:?}")).or_default() += 1;
        self.fact(Fact::Fault(format!("{kind:?}")));
        self.inflict(kind);
    }

    fn inflict(&mut self, kind: Kind) {
        let agent = self.chance.faults.random_range(0..self.agents.len());
        let framework = self.chance.faults.random_range(0..self.frameworks.len());
        match kind {
            Kind::AgentCrash => self.doom(Node::Agent(agent), false),
            Kind::HostCrash => self.doom(Node::Agent(agent), true),
            Kind::MasterCrash => self.doom(Node::Master, false),
            Kind::FrameworkCrash => self.doom(Node::Framework(framework), false),
            Kind::SupervisorDeath => self.supervisor_dies(agent),
            Kind::Cut => self.cut_one(),
            Kind::Isolation => self.isolate(agent, framework),
            Kind::Kill => self.kill_one(framework),
            Kind::WallStep => self.step_wall_clock(agent, framework),
        }
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
    pub(super) fn blows(&mut self, node: Node) -> bool {
        let Some((left, _)) = self.fuses.get_mut(&node) else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// Ends the node's process here and now; it starts again after a while.
    pub(super) fn crash(&mut self, node: Node) {
        let host = self.fuses.remove(&node).is_some_and(|(_, host)| host);
        match node {
            Node::Master if self.master.process.is_some() => self.crash_master(),
            Node::Agent(index) if self.agents[index].process.is_some() => self.crash_agent(index, host),
            Node::Framework(index) if self.frameworks[index].process.is_some() => self.crash_framework(index),
            Node::Master | Node::Agent(_) | Node::Framework(_) => return,
        }
        let after = self.outage();
        self.after(after, Event::Restart { node });
    }

    pub(super) fn restart(&mut self, node: Node) {
        match node {
            Node::Master if self.master.process.is_none() => self.start_master(),
            Node::Agent(index) if self.agents[index].process.is_none() => self.start_agent(index),
            Node::Framework(index) if self.frameworks[index].process.is_none() && !self.frameworks[index].over => {
                self.start_framework(index);
            }
            Node::Master | Node::Agent(_) | Node::Framework(_) => {}
        }
    }

    fn cut_one(&mut self) {
        let links = self.links.ids();
        if links.is_empty() {
            return;
        }
        let link = links[self.chance.faults.random_range(0..links.len())];
        let quiet = percent(&mut self.chance.faults, 30);
        let notice = Duration::from_millis(if quiet { 90_000 } else { 200 });
        self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, notice);
    }

    /// A client and the master cannot reach each other for a while; neither is told.
    fn isolate(&mut self, agent: usize, framework: usize) {
        let client =
            if percent(&mut self.chance.faults, 70) { Client::Agent(agent) } else { Client::Framework(framework) };
        let long = percent(&mut self.chance.faults, 30);
        let time = millis(&mut self.chance.faults, 100, if long { 90_000 } else { 5_000 });
        let until_ns = self.now_ns + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.isolated_until.insert(client, until_ns);
        for link in self.links.of(client) {
            let notice = Duration::from_mins(1);
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, notice);
        }
    }

    pub(super) fn isolated(&self, client: Client) -> bool {
        self.isolated_until.get(&client).is_some_and(|until_ns| *until_ns > self.now_ns)
    }

    fn step_wall_clock(&mut self, agent: usize, framework: usize) {
        let nodes = [Node::Master, Node::Agent(agent), Node::Framework(framework)];
        let node = nodes[self.chance.faults.random_range(0..nodes.len())];
        let step_ns = self.chance.faults.random_range(-3_600_000_000_000..=3_600_000_000_000);
        self.wall_steps.insert(node, step_ns);
    }

    /// From here on nothing goes wrong; what is down comes up.
    pub(super) fn heal(&mut self) {
        self.phase = Phase::Settling { until_ns: self.now_ns + bound_ns() };
        self.fuses.clear();
        self.isolated_until.clear();
        self.fact(Fact::Fault("the trouble ends".to_owned()));
        self.after(Duration::from_secs(1), Event::Look);
    }
}
