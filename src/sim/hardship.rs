//! What a host does to an agent short of a crash: supervisors that are stopped or lose their folder, a disk that is full.
//!
//! A stopped supervisor does nothing until it goes on; its processes run. An agent that starts meanwhile finds it silent.
//! Without their folder supervisors are not found by the next agent, and what they ran goes on without them.

use std::time::Duration;

use rand::Rng as _;

use super::{
    chance::{millis, percent},
    fact::Fact,
    faults::Fault,
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
        let Some(supervisor) = self.latest_supervisor(agent) else { return };
        let until_ns = self.until(40_000);
        self.agents[agent].host.stopped_until.insert(supervisor, until_ns);
        self.queue.at(until_ns, Event::SupervisorGoesOn { agent, supervisor });
        if percent(&mut self.chance.faults, 70) && self.agents[agent].process.is_some() {
            self.fuses.entry(Node::Agent(agent)).or_insert((1, false));
        }
    }

    /// The latest that an agent could find.
    pub(super) fn latest_supervisor(&self, agent: usize) -> Option<SupervisorId> {
        self.agents[agent].host.found().last().map(|found| found.id)
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
        let waits = node.host.supervisors.get(&supervisor).is_some_and(|one| !one.has_greeted(life) && !one.lost);
        if was_stopped && waits && node.process.is_some() && !self.end_supervisor_if_empty(agent, supervisor) {
            self.greet(agent, supervisor);
        }
    }

    /// A request gets to a supervisor, which takes it up once it is not stopped.
    pub(super) fn request_arrives(
        &mut self,
        agent: usize,
        (boot, life): (u64, u64),
        supervisor: SupervisorId,
        request: SupervisorRequest,
    ) {
        if let Some(until_ns) = self.stopped(agent, supervisor) {
            self.queue.at(until_ns, Event::Requested { agent, boot, life, supervisor, request });
        } else if self.agents[agent].host.boot == boot {
            self.requested(agent, life, supervisor, request);
        }
    }

    /// A supervisor is about to have started a process, once it is not stopped.
    pub(super) fn spawn_is_due(&mut self, agent: usize, supervisor: SupervisorId, container: String) {
        match self.stopped(agent, supervisor) {
            Some(until_ns) => self.queue.at(until_ns, Event::Spawned { agent, supervisor, container }),
            None => self.spawned(agent, supervisor, container),
        }
    }

    /// The agent has looked for what is left: supervisors without a folder have ended, and what they ran.
    pub(super) fn leftovers_ended(&mut self, agent: usize, life: u64, containers: Vec<ContainerId>) {
        if self.agents[agent].life != life || self.agents[agent].process.is_none() {
            return;
        }
        if self.sabotage != Some(Sabotage::EndsBeforeDead) {
            let lost = |(id, one): (&SupervisorId, &super::host::Supervisor)| one.lost.then_some(*id);
            let lost: Vec<SupervisorId> = self.agents[agent].host.supervisors.iter().filter_map(lost).collect();
            for supervisor in lost {
                self.tear_processes(agent, supervisor, true);
                self.agents[agent].host.supervisors.remove(&supervisor);
            }
        }
        self.give_agent(agent, Input::LeftoversEnded { containers });
    }

    /// The folder of the supervisors is removed, or that of the latest copied, or that one is stopped, now or with the next
    /// start of a container; the agent is started again.
    pub(super) fn trouble_supervisors_soon(&mut self, agent: usize, fault: Fault) {
        if percent(&mut self.chance.faults, 50) {
            self.agents[agent].host.at_next_start = Some(fault);
        } else {
            self.trouble_supervisors(agent, fault);
        }
    }

    pub(super) fn trouble_supervisors(&mut self, agent: usize, fault: Fault) {
        if fault == Fault::SupervisorStopped {
            return self.stop_supervisor(agent);
        }
        let host = &mut self.agents[agent].host;
        host.folder_lost |= fault == Fault::SupervisorsRemoved;
        host.folder_copied |= fault == Fault::FolderCopied;
        if self.agents[agent].process.is_some() {
            let effects = self.chance.faults.random_range(1..6);
            self.fuses.entry(Node::Agent(agent)).or_insert((effects, false));
        }
    }

    /// An agent starts: supervisors whose folder is gone are not found, and what they ran goes on.
    pub(super) fn forget_lost_supervisors(&mut self, agent: usize) {
        let host = &mut self.agents[agent].host;
        if !std::mem::take(&mut host.folder_lost) {
            return;
        }
        let mut unseen = Vec::new();
        host.supervisors.retain(|_, one| {
            unseen.extend(one.containers.iter().map(|(id, it)| (id.clone(), !matches!(it, Container::Ended(_)))));
            one.lose_folder()
        });
        let started = self.agents[agent].starts_on_disk();
        for (container, goes_on) in unseen {
            if goes_on && !started.contains(&container) {
                self.count("a start of which no record is left");
            }
            self.lose_sight_of(container);
        }
    }

    /// An agent starts and finds the copy of a folder: its records are served, and what they name is the original's.
    pub(super) fn find_copy(&mut self, agent: usize) {
        let copied = std::mem::take(&mut self.agents[agent].host.folder_copied);
        let Some(original) = self.latest_supervisor(agent).filter(|_| copied) else { return };
        let copy = self.start_supervisor(agent);
        let believes = self.believes_copies();
        let supervisors = &mut self.agents[agent].host.supervisors;
        let Some(one) = supervisors.get(&original) else { return };
        if one.running().next().is_some() {
            *self.counted.entry("a copied folder that names what runs".to_owned()).or_default() += 1;
        }
        let records = one.served_by_heir("the folder is a copy");
        let supervisors = &mut self.agents[agent].host.supervisors;
        supervisors.insert(copy, records.clone());
        if believes {
            self.tear_processes(agent, original, false);
            self.agents[agent].host.supervisors.insert(original, records);
        }
    }

    /// From here on no agent finds a record of what becomes of this container.
    pub(super) fn lose_sight_of(&mut self, container: String) {
        self.fact(Fact::EndUnseen { container });
    }

    /// The agent wants all processes of these containers ended.
    pub(super) fn end_leftovers(&mut self, agent: usize, leftovers: &[Leftover]) {
        let life = self.agents[agent].life;
        let containers = leftovers.iter().map(|leftover| leftover.container.clone()).collect();
        for container in leftovers.iter().map(|leftover| leftover.container.to_string()) {
            let host = &mut self.agents[agent].host;
            let is_supervised = |it: &super::host::Supervisor| {
                !it.lost
                    && matches!(it.containers.get(&container), Some(Container::Running(_) | Container::Starting(..)))
            };
            if host.supervisors.values().any(is_supervised) {
                let text = format!("{container} is killed as a leftover of agent {agent}, and its supervisor lives");
                self.broken = Some(("spared", text));
                return;
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
