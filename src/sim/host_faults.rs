//! Faults of a host short of a crash: stopped supervisors, lost or copied folders, a full disk.
//!
//! A stopped supervisor does nothing until it continues; its processes run. An agent that starts meanwhile gets no answer
//! from it. The next agent does not find supervisors without a folder; their processes keep running.

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

/// How long an agent waits for a supervisor's welcome before it counts as silent.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(2);

impl World {
    /// Stops the latest supervisor of an agent for a while, and often restarts the agent meanwhile.
    pub(super) fn stop_supervisor(&mut self, agent: usize) {
        let Some(supervisor) = self.latest_supervisor(agent) else { return };
        let until_ns = self.until(40_000);
        self.agents[agent].host.stopped_until.insert(supervisor, until_ns);
        self.queue.at(until_ns, Event::SupervisorContinues { agent, supervisor });
        if percent(&mut self.chance.faults, 70) && self.agents[agent].process.is_some() {
            self.crash_points.entry(Node::Agent(agent)).or_insert((1, false));
        }
    }

    /// The latest supervisor that an agent could find.
    pub(super) fn latest_supervisor(&self, agent: usize) -> Option<SupervisorId> {
        self.agents[agent].host.found().last().map(|found| found.id)
    }

    /// Until when a supervisor is stopped, if it is.
    pub(super) fn stopped(&self, agent: usize, supervisor: SupervisorId) -> Option<u64> {
        let until_ns = self.agents[agent].host.stopped_until.get(&supervisor).copied();
        until_ns.filter(|until_ns| *until_ns > self.now_ns)
    }

    /// Schedules the timeout of an agent's connection to a stopped supervisor.
    pub(super) fn schedule_silence(&mut self, agent: usize, supervisor: SupervisorId) {
        let life = self.agents[agent].life;
        self.after(WELCOME_TIMEOUT, Event::SupervisorSilent { agent, life, supervisor });
    }

    pub(super) fn supervisor_silent(&mut self, agent: usize, life: u64, supervisor: SupervisorId) {
        let is_of_now = |world: &Self| world.agents[agent].life == life && world.agents[agent].process.is_some();
        let silent = self.agents[agent].host.supervisors.get(&supervisor).is_some_and(|one| !one.has_welcomed(life));
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
        if is_of_now(self) && !others.any(|(_, one)| one.has_welcomed(life) && one.takes_starts()) {
            let next = self.start_supervisor(agent);
            self.send_welcome(agent, next);
        }
    }

    /// Continues a stopped supervisor, which sends its welcome to the present agent.
    pub(super) fn supervisor_continues(&mut self, agent: usize, supervisor: SupervisorId) {
        if self.stopped(agent, supervisor).is_some() {
            return;
        }
        let node = &mut self.agents[agent];
        let was_stopped = node.host.stopped_until.remove(&supervisor).is_some();
        let life = node.life;
        let waits = node.host.supervisors.get(&supervisor).is_some_and(|one| !one.has_welcomed(life) && !one.lost);
        if was_stopped && waits && node.process.is_some() && !self.end_supervisor_if_empty(agent, supervisor) {
            self.send_welcome(agent, supervisor);
        }
    }

    /// A supervisor receives a request, and processes it once it is not stopped.
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

    /// Completes the start of a process, once its supervisor is not stopped.
    pub(super) fn spawn_is_due(&mut self, agent: usize, supervisor: SupervisorId, container: String) {
        match self.stopped(agent, supervisor) {
            Some(until_ns) => self.queue.at(until_ns, Event::Spawned { agent, supervisor, container }),
            None => self.spawned(agent, supervisor, container),
        }
    }

    /// The agent has ended leftovers: supervisors without a folder, and their processes.
    pub(super) fn leftovers_ended(&mut self, agent: usize, life: u64, containers: Vec<ContainerId>) {
        if self.agents[agent].life != life || self.agents[agent].process.is_none() {
            return;
        }
        if self.sabotage != Some(Sabotage::EndsBeforeDead) {
            let lost = |(id, one): (&SupervisorId, &super::host::Supervisor)| one.lost.then_some(*id);
            let lost: Vec<SupervisorId> = self.agents[agent].host.supervisors.iter().filter_map(lost).collect();
            for supervisor in lost {
                self.end_processes(agent, supervisor, true);
                self.agents[agent].host.supervisors.remove(&supervisor);
            }
        }
        self.give_agent(agent, Input::LeftoversEnded { containers });
    }

    /// Removes the supervisors' folder, copies the latest one, or stops the latest supervisor; restarts the agent.
    ///
    /// This happens now, or with the next start of a container.
    pub(super) fn inflict_on_supervisors_soon(&mut self, agent: usize, fault: Fault) {
        if percent(&mut self.chance.faults, 50) {
            self.agents[agent].host.at_next_start = Some(fault);
        } else {
            self.inflict_on_supervisors(agent, fault);
        }
    }

    pub(super) fn inflict_on_supervisors(&mut self, agent: usize, fault: Fault) {
        if fault == Fault::SupervisorStopped {
            return self.stop_supervisor(agent);
        }
        let host = &mut self.agents[agent].host;
        host.folder_lost |= fault == Fault::SupervisorsRemoved;
        host.folder_copied |= fault == Fault::FolderCopied;
        if self.agents[agent].process.is_some() {
            let effects = self.chance.faults.random_range(1..6);
            self.crash_points.entry(Node::Agent(agent)).or_insert((effects, false));
        }
    }

    /// Removes supervisors without a folder when an agent starts; their processes keep running.
    pub(super) fn forget_lost_supervisors(&mut self, agent: usize) {
        let host = &mut self.agents[agent].host;
        if !std::mem::take(&mut host.folder_lost) {
            return;
        }
        let mut unrecorded = Vec::new();
        host.supervisors.retain(|_, one| {
            unrecorded.extend(one.containers.iter().map(|(id, it)| (id.clone(), !matches!(it, Container::Ended(_)))));
            one.lose_folder()
        });
        let started = self.agents[agent].starts_on_disk();
        for (container, still_runs) in unrecorded {
            if still_runs && !started.contains(&container) {
                self.count("a start of which no record is left");
            }
            self.mark_end_unrecorded(container);
        }
    }

    /// Lets a starting agent find the copy of a folder, whose records name the containers of the original.
    pub(super) fn find_copy(&mut self, agent: usize) {
        let copied = std::mem::take(&mut self.agents[agent].host.folder_copied);
        let Some(original) = self.latest_supervisor(agent).filter(|_| copied) else { return };
        let copy = self.start_supervisor(agent);
        let trusts = self.trusts_copies();
        let supervisors = &mut self.agents[agent].host.supervisors;
        let Some(one) = supervisors.get(&original) else { return };
        if one.running().next().is_some() {
            *self.counted.entry("a copied folder that names what runs".to_owned()).or_default() += 1;
        }
        let records = one.to_replay("the folder is a copy");
        let supervisors = &mut self.agents[agent].host.supervisors;
        supervisors.insert(copy, records.clone());
        if trusts {
            self.end_processes(agent, original, false);
            self.agents[agent].host.supervisors.insert(original, records);
        }
    }

    /// Notes that no agent finds a record of how this container ends.
    pub(super) fn mark_end_unrecorded(&mut self, container: String) {
        self.fact(Fact::EndUnrecorded { container });
    }

    /// Ends all processes of these containers, as the agent requested.
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
                let text =
                    format!("{container} is killed as a leftover of agent {agent}, and its supervisor still runs");
                self.broken = Some(("spared", text));
                return;
            }
        }
        let after = millis(&mut self.chance.hosts, 0, 200);
        self.after(after, Event::LeftoversEnded { agent, life, containers });
    }

    /// Fills an agent's disk for a while: necessary writes succeed, or wait until there is room.
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
