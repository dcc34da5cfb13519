//! What a host does to an agent short of a crash: supervisors that are stopped or lose their folder, a disk that is full.
//!
//! A stopped supervisor does nothing until it goes on; its processes run. An agent that starts meanwhile finds it silent.
//! Without their folder supervisors are not found by the next agent, and what they ran goes on without them.

use std::time::Duration;

use super::{
    chance::{millis, percent},
    fact::{Fact, How},
    host::Container,
    nodes::Node,
    queue::Event,
    sabotage::Sabotage,
    world::World,
};
use crate::{
    agent::core::{ContainerId, Input, Leftover, SupervisorId},
    proto::internal::SupervisorRequest,
};

/// How long an agent tries before it takes a supervisor for silent.
const GREETING: Duration = Duration::from_secs(2);

impl World {
    /// The latest supervisor of an agent is stopped for a while, and often the agent is started again meanwhile.
    pub(super) fn stop_supervisor(&mut self, agent: usize) {
        let Some(supervisor) = self.agents[agent].host.supervisors.keys().next_back().copied() else { return };
        let until_ns = self.until(40_000);
        self.agents[agent].host.stopped_until.insert(supervisor, until_ns);
        self.queue.at(until_ns, Event::SupervisorGoesOn { agent, supervisor });
        if percent(&mut self.chance.faults, 70) && self.agents[agent].process.is_some() {
            self.fuses.entry(Node::Agent(agent)).or_insert((1, false));
        }
    }

    /// Until when a supervisor is stopped, if it is.
    pub(super) fn stopped(&self, agent: usize, supervisor: SupervisorId) -> Option<u64> {
        let until_ns = self.agents[agent].host.stopped_until.get(&supervisor).copied();
        until_ns.filter(|until_ns| *until_ns > self.now_ns)
    }

    /// The agent's process has tried to reach a supervisor that is stopped.
    pub(super) fn wait_for_silent(&mut self, agent: usize, supervisor: SupervisorId) {
        let life = self.agents[agent].life;
        self.after(GREETING, Event::SupervisorSilent { agent, life, supervisor });
    }

    pub(super) fn supervisor_silent(&mut self, agent: usize, life: u64, supervisor: SupervisorId) {
        let is_of_now = |world: &Self| world.agents[agent].life == life && world.agents[agent].process.is_some();
        let silent = self.agents[agent].host.supervisors.get(&supervisor).is_some_and(|one| !one.has_greeted(life));
        if !is_of_now(self) || !silent {
            return;
        }
        let text = "it does not answer".to_owned();
        if self.sabotage == Some(Sabotage::TakesSilenceForDeath) {
            self.give_agent(agent, Input::SupervisorLost { supervisor, text });
            self.give_agent(agent, Input::SupervisorEnded { supervisor });
        } else {
            self.give_agent(agent, Input::SupervisorSilent { supervisor, text });
        }
        let mut others = self.agents[agent].host.supervisors.iter();
        if is_of_now(self) && !others.any(|(_, one)| one.has_greeted(life) && one.takes_starts()) {
            let next = self.start_supervisor(agent);
            self.greet(agent, next);
        }
    }

    /// A stopped supervisor goes on, and greets the agent that is there now.
    pub(super) fn supervisor_goes_on(&mut self, agent: usize, supervisor: SupervisorId) {
        if self.stopped(agent, supervisor).is_some() {
            return;
        }
        let node = &mut self.agents[agent];
        let was_stopped = node.host.stopped_until.remove(&supervisor).is_some();
        let life = node.life;
        let waits = node.host.supervisors.get(&supervisor).is_some_and(|one| !one.has_greeted(life));
        if was_stopped && waits && node.process.is_some() && !self.end_supervisor_if_empty(agent, supervisor) {
            self.greet(agent, supervisor);
        }
    }

    /// A request gets to a supervisor, which takes it up once it is not stopped.
    pub(super) fn request_arrives(
        &mut self,
        agent: usize,
        boot: u64,
        supervisor: SupervisorId,
        request: SupervisorRequest,
    ) {
        if let Some(until_ns) = self.stopped(agent, supervisor) {
            self.queue.at(until_ns, Event::Requested { agent, boot, supervisor, request });
        } else if self.agents[agent].host.boot == boot {
            self.requested(agent, supervisor, request);
        }
    }

    /// A supervisor is about to have started a process, once it is not stopped.
    pub(super) fn spawn_is_due(&mut self, agent: usize, supervisor: SupervisorId, container: String) {
        match self.stopped(agent, supervisor) {
            Some(until_ns) => self.queue.at(until_ns, Event::Spawned { agent, supervisor, container }),
            None => self.spawned(agent, supervisor, container),
        }
    }

    pub(super) fn leftovers_ended(&mut self, agent: usize, life: u64, containers: Vec<ContainerId>) {
        if self.agents[agent].life == life {
            self.give_agent(agent, Input::LeftoversEnded { containers });
        }
    }

    /// The folder of the supervisors is removed, and the agent is started again.
    pub(super) fn lose_folder(&mut self, agent: usize) {
        self.agents[agent].host.folder_lost = true;
        if self.agents[agent].process.is_some() {
            self.fuses.entry(Node::Agent(agent)).or_insert((1, false));
        }
    }

    /// An agent starts: supervisors whose folder is gone are not found, and what they ran goes on.
    pub(super) fn forget_lost_supervisors(&mut self, agent: usize) {
        let host = &mut self.agents[agent].host;
        if !std::mem::take(&mut host.folder_lost) {
            return;
        }
        host.stopped_until.clear();
        let containers = std::mem::take(&mut host.supervisors).into_values().flat_map(|one| one.containers);
        let mut unseen = Vec::new();
        for (id, container) in containers {
            unseen.push(id.clone());
            if let Container::Running(running) = container {
                host.strays.insert(id, running);
            }
        }
        for container in unseen {
            self.fact(Fact::EndUnseen { container });
        }
    }

    /// The agent wants all processes of these containers ended.
    pub(super) fn end_leftovers(&mut self, agent: usize, leftovers: &[Leftover]) {
        let life = self.agents[agent].life;
        let containers = leftovers.iter().map(|leftover| leftover.container.clone()).collect();
        for container in leftovers.iter().map(|leftover| leftover.container.to_string()) {
            let host = &mut self.agents[agent].host;
            let is_supervised = |it: &super::host::Supervisor| {
                matches!(it.containers.get(&container), Some(Container::Running(_) | Container::Starting(..)))
            };
            if host.supervisors.values().any(is_supervised) {
                let text = format!("{container} is killed as a leftover of agent {agent}, and its supervisor lives");
                self.broken = Some(("spared", text));
                return;
            }
            let kills = self.sabotage != Some(Sabotage::EndsBeforeDead);
            if kills && self.agents[agent].host.strays.remove(&container).is_some() {
                self.fact(Fact::ProcessEnded { agent, container, how: How::Torn });
            }
        }
        let after = millis(&mut self.chance.hosts, 0, 200);
        self.after(after, Event::LeftoversEnded { agent, life, containers });
    }

    /// The disk of an agent is full for a while: what it must write it writes, or waits until there is room.
    pub(super) fn fill_disk(&mut self, agent: usize, until_ns: u64) {
        self.full_until.insert(Node::Agent(agent), until_ns);
        self.queue.at(self.now_ns, Event::DiskChanged { agent });
        self.queue.at(until_ns, Event::DiskChanged { agent });
    }

    pub(super) fn disk_changed(&mut self, agent: usize) {
        let full = self.disk_is_full(Node::Agent(agent));
        let text = "no space left on device".to_owned();
        self.give_agent(agent, if full { Input::DiskFull { text } } else { Input::DiskHasRoom });
    }
}
