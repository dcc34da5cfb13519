//! An agent's host: its supervisors and the processes they run.
//!
//! A supervisor outlives the agent's process. It reports an exit until the agent sends a Forget request for it, and its
//! processes end with it.

use std::{collections::BTreeMap, time::Duration};

use rand::Rng as _;

use super::{
    chance::{millis, percent},
    disk::Disk,
    fact::{Fact, How},
    faults::Fault,
    nodes::Node,
    queue::Event,
    sabotage::Sabotage,
    task_run::{End, TaskRun},
    world::{Phase, World},
};
use crate::{
    agent::core::{ContainerId, FoundSupervisor, Input, Step, SupervisorId},
    proto::internal::{
        Exited, StartFailed, Started, SupervisorEvent, SupervisorRequest, SupervisorWelcome, exited, supervisor_event,
        supervisor_request,
    },
};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// The state of one host besides the agent's process.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Counts the runs of its kernel.
    pub(super) boot: u64,
    pub(super) supervisors: BTreeMap<SupervisorId, Supervisor>,
    latest: u32,
    pids: u32,
    /// Stopped supervisors, with the end of that time.
    pub(super) stopped_until: BTreeMap<SupervisorId, u64>,
    /// Whether the folder of the supervisors was removed since the agent started, or that of one of them copied.
    pub(super) folder_lost: bool,
    pub(super) folder_copied: bool,
    /// The fault to inject with the next start of a container.
    pub(super) at_next_start: Option<Fault>,
    /// Sandboxes and when they were made, on the wall clock.
    pub(super) sandboxes: BTreeMap<ContainerId, i64>,
    /// Requested starts, which a planted bug repeats.
    pub(super) requests: Vec<(SupervisorId, SupervisorRequest)>,
    /// The times at which the last event reached the agent, and the last request a supervisor.
    event_ns: u64,
    request_ns: u64,
}

/// One supervisor.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervisor {
    /// Whether it only replays the journal of a dead supervisor.
    is_replay: bool,
    retired: bool,
    /// Whether its folder was removed: no agent finds it, but it still runs.
    pub(super) lost: bool,
    /// The life of the agent's process that it has sent its welcome to.
    welcomed_life: u64,
    pub(super) containers: BTreeMap<String, Container>,
}

/// One container.
#[derive(Clone, Debug)]
pub(super) enum Container {
    /// With its planned run and the signals received meanwhile.
    Starting(TaskRun, Vec<i32>),
    Running(Running),
    Ended(Exited),
}

/// A first process that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    started: Started,
    end: End,
    ignores_term: bool,
}

impl Host {
    /// The supervisors that a starting agent finds.
    pub(super) fn found(&self) -> Vec<FoundSupervisor> {
        let found = |(id, one): (&SupervisorId, &Supervisor)| FoundSupervisor { id: *id, died: one.is_replay };
        self.supervisors.iter().filter(|(_, one)| !one.lost).map(found).collect()
    }

    /// The containers whose end a supervisor has on record.
    pub(super) fn ends(&self) -> impl Iterator<Item = String> {
        let containers = self.supervisors.values().filter(|one| !one.lost).flat_map(|one| &one.containers);
        containers.filter(|(_, container)| matches!(container, Container::Ended(_))).map(|(id, _)| id.clone())
    }
}

impl Supervisor {
    /// Whether it has sent its welcome to the agent's process of this life.
    pub(super) fn has_welcomed(&self, life: u64) -> bool {
        self.welcomed_life == life
    }

    pub(super) fn takes_starts(&self) -> bool {
        !self.is_replay && !self.retired && !self.lost
    }

    /// The running containers.
    pub(super) fn running(&self) -> impl Iterator<Item = &String> {
        self.containers.iter().filter(|(_, it)| matches!(it, Container::Running(_))).map(|(id, _)| id)
    }

    /// Replays its records: a container without a recorded end counts as lost for this reason.
    pub(super) fn to_replay(&self, lost: &str) -> Self {
        let ended = |(id, container): (&String, &Container)| {
            let status = Some(exited::Status::Lost(lost.to_owned()));
            let exited = Exited { container_id: id.clone(), status, wall_ns: 0, core_dumped: false };
            let container = match container {
                Container::Ended(exited) => exited.clone(),
                Container::Starting(..) | Container::Running(_) => exited,
            };
            (id.clone(), Container::Ended(container))
        };
        let containers = self.containers.iter().map(ended).collect();
        Self { is_replay: true, retired: self.retired, lost: false, welcomed_life: 0, containers }
    }

    /// Marks its folder as removed; returns whether it still runs. A replay is part of the agent's process and does not.
    pub(super) fn lose_folder(&mut self) -> bool {
        self.lost = true;
        !self.is_replay
    }

    /// What a restarted host finds of it: any prefix of its journal, which is not synced.
    fn after_power_cut(mut self, cut_ns: i64) -> Option<Self> {
        if self.lost {
            return None;
        }
        let kept = |container: &Container| matches!(container, Container::Ended(exited) if exited.wall_ns <= cut_ns);
        self.containers.retain(|_, container| kept(container));
        (self.is_replay, self.welcomed_life) = (true, 0);
        (!self.containers.is_empty()).then_some(self)
    }
}

impl World {
    /// The supervisors that a starting agent finds; starts one if none accepts starts.
    pub(super) fn supervisors_found(&mut self, agent: usize) -> Vec<SupervisorId> {
        self.forget_lost_supervisors(agent);
        self.find_copy(agent);
        let upgraded = self.agents[agent].life > 1 && percent(&mut self.chance.hosts, 10);
        let host = &mut self.agents[agent].host;
        host.supervisors.retain(|_, one| !((one.is_replay || one.retired) && one.containers.is_empty()));
        if upgraded || host.supervisors.values().all(|one| !one.takes_starts()) {
            self.start_supervisor(agent);
        }
        self.agents[agent].host.found().into_iter().map(|found| found.id).collect()
    }

    pub(super) fn start_supervisor(&mut self, agent: usize) -> SupervisorId {
        let host = &mut self.agents[agent].host;
        host.latest += 1;
        host.supervisors.insert(SupervisorId(host.latest), Supervisor::default());
        SupervisorId(host.latest)
    }

    /// Sends the supervisor's welcome, with all its containers, to the agent's process.
    pub(super) fn send_welcome(&mut self, agent: usize, supervisor: SupervisorId) {
        if self.stopped(agent, supervisor).is_some() {
            return self.schedule_silence(agent, supervisor);
        }
        let (life, folder) = (self.agents[agent].life, self.folder_of(supervisor));
        let Some(one) = self.agents[agent].host.supervisors.get_mut(&supervisor) else { return };
        one.welcomed_life = life;
        let retired = one.is_replay || one.retired;
        let mut welcome =
            SupervisorWelcome { version: 3, pid: supervisor.0, retired, folder, ..SupervisorWelcome::default() };
        for (id, container) in &one.containers {
            match container {
                Container::Starting(..) => welcome.starting.push(id.clone()),
                Container::Running(running) => welcome.running.push(running.started.clone()),
                Container::Ended(exited) => welcome.exited.push(exited.clone()),
            }
        }
        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::Welcome(welcome));
    }

    /// Sends an event to the agent's process that received the welcome; a later process gets the state in its welcome.
    fn send_supervisor_event(&mut self, agent: usize, supervisor: SupervisorId, kind: supervisor_event::Kind) {
        let (life, running) = (self.agents[agent].life, self.agents[agent].process.is_some());
        let host = &mut self.agents[agent].host;
        if !running || host.supervisors.get(&supervisor).is_none_or(|one| one.welcomed_life != life) {
            return;
        }
        let travel_ns = self.chance.hosts.random_range(10_000..300_000);
        let stopped_until = host.stopped_until.get(&supervisor).copied().filter(|until_ns| *until_ns > self.now_ns);
        let at_ns = stopped_until.unwrap_or_else(|| (self.now_ns + travel_ns).max(host.event_ns + 1));
        if stopped_until.is_none() {
            host.event_ns = at_ns;
        }
        let event = SupervisorEvent { kind: Some(kind) };
        self.queue.at(at_ns, Event::Supervised { agent, life, supervisor, event });
    }

    pub(super) fn send_supervisor_request(
        &mut self,
        agent: usize,
        supervisor: SupervisorId,
        request: SupervisorRequest,
    ) {
        let travel_ns = self.chance.hosts.random_range(10_000..300_000);
        let host = &mut self.agents[agent].host;
        host.request_ns = (self.now_ns + travel_ns).max(host.request_ns + 1);
        let is_start = matches!(request.kind, Some(supervisor_request::Kind::Start(_)));
        let fault = host.at_next_start.take_if(|_| is_start);
        if self.sabotage == Some(Sabotage::StartsAgainAfterRestart) && is_start {
            host.requests.push((supervisor, request.clone()));
        }
        let (at_ns, boot, life) = (host.request_ns, host.boot, self.agents[agent].life);
        self.queue.at(at_ns, Event::Requested { agent, boot, life, supervisor, request });
        if let Some(fault) = fault {
            self.inflict_on_supervisors(agent, fault);
        }
    }

    /// Processes a request, unless a later life of the agent has received the welcome.
    pub(super) fn requested(&mut self, agent: usize, life: u64, supervisor: SupervisorId, request: SupervisorRequest) {
        let replays = self.sabotage == Some(Sabotage::StartsAgainAfterRestart);
        let serves_all = self.serves_the_replaced();
        let supervisors = &mut self.agents[agent].host.supervisors;
        let Some(one) = supervisors.get_mut(&supervisor).filter(|one| serves_all || one.welcomed_life <= life) else {
            return;
        };
        match request.kind {
            Some(supervisor_request::Kind::Start(start)) => {
                let id = start.container_id;
                match one.containers.get(&id).filter(|_| !replays).cloned() {
                    Some(Container::Starting(..)) => {}
                    Some(Container::Running(running)) => {
                        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::Started(running.started));
                    }
                    Some(Container::Ended(exited)) => {
                        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::Exited(exited));
                    }
                    None if one.retired || one.is_replay => self.start_fails(agent, supervisor, id, 108),
                    None => self.spawn(agent, supervisor, id),
                }
            }
            Some(supervisor_request::Kind::Signal(signal)) => {
                self.fact(Fact::EndExpected { container: signal.container_id.clone() });
                self.signal(agent, supervisor, &signal.container_id, signal.signal);
            }
            Some(supervisor_request::Kind::Forget(forget)) => {
                if matches!(one.containers.get(&forget.container_id), Some(Container::Ended(_))) {
                    one.containers.remove(&forget.container_id);
                    self.end_supervisor_if_empty(agent, supervisor);
                }
            }
            Some(supervisor_request::Kind::Retire(_)) => {
                one.retired = true;
                self.end_supervisor_if_empty(agent, supervisor);
            }
            Some(supervisor_request::Kind::Hello(_)) | None => {}
        }
    }

    fn spawn(&mut self, agent: usize, supervisor: SupervisorId, container: String) {
        let run = self.run_of(&container);
        let Some(one) = self.agents[agent].host.supervisors.get_mut(&supervisor) else { return };
        let (after, lost) = (run.starts_after, one.lost);
        one.containers.insert(container.clone(), Container::Starting(run, Vec::new()));
        self.after(after, Event::Spawned { agent, supervisor, container: container.clone() });
        if lost {
            self.mark_end_unrecorded(container);
        }
    }

    /// Decides what the task in a container does.
    fn run_of(&mut self, container: &str) -> TaskRun {
        if let Some(task_behaviour) = &self.task_behaviour.0 {
            let info = self.launched.remove(container).unwrap_or_default();
            return task_behaviour(&info, &mut self.chance.workload);
        }
        let bad = self.misbehaviour().bad_tasks;
        let fails = bad && percent(&mut self.chance.workload, 5);
        let ignores_term = bad && percent(&mut self.chance.workload, 30);
        let pace = if self.phase == Phase::Faults { self.plan.pace } else { 1 };
        let life = millis(&mut self.chance.workload, 0, 20_000) * pace;
        let life = if percent(&mut self.chance.workload, 40) { life / 1_000 } else { life };
        let code = if percent(&mut self.chance.workload, 20) { self.chance.workload.random_range(1..4) } else { 0 };
        let slow = percent(&mut self.chance.hosts, 5);
        let starts_after = millis(&mut self.chance.hosts, 0, if slow { 500 } else { 5 });
        let end = if fails { End::NotStarted } else { End::Code(code) };
        TaskRun { starts_after, runs_for: Some(life), end, ignores_term }
    }

    fn start_fails(&mut self, agent: usize, supervisor: SupervisorId, container_id: String, errno: i32) {
        let failed = StartFailed { container_id, step: "execute".to_owned(), errno };
        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::StartFailed(failed));
    }

    pub(super) fn spawned(&mut self, agent: usize, supervisor: SupervisorId, container: String) {
        let host = &mut self.agents[agent].host;
        let Some(one) = host.supervisors.get_mut(&supervisor) else { return };
        let Some(Container::Starting(run, signals)) = one.containers.remove(&container) else { return };
        if run.end == End::NotStarted {
            return self.start_fails(agent, supervisor, container, 2);
        }
        host.pids += 1;
        let started = Started { container_id: container.clone(), pid: host.pids, start_time: host.boot };
        let running = Running { started: started.clone(), end: run.end, ignores_term: run.ignores_term };
        one.containers.insert(container.clone(), Container::Running(running));
        self.fact(Fact::ProcessStarted { agent, container: container.clone() });
        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::Started(started));
        if let Some(life) = run.runs_for {
            self.after(life, Event::ProcessEnds { agent, container: container.clone(), signal: None });
        }
        for signal in signals {
            self.signal(agent, supervisor, &container, signal);
        }
    }

    fn signal(&mut self, agent: usize, supervisor: SupervisorId, container: &str, signal: i32) {
        let Some(one) = self.agents[agent].host.supervisors.get_mut(&supervisor) else { return };
        match one.containers.get_mut(container) {
            Some(Container::Starting(_, signals)) => signals.push(signal),
            Some(Container::Running(running)) if signal == SIGKILL || !running.ignores_term => {
                let after = millis(&mut self.chance.hosts, 0, if signal == SIGTERM { 200 } else { 5 });
                let ends = |container| Event::ProcessEnds { agent, container, signal: Some(signal) };
                let other = self.also_ended(agent, container).filter(|_| signal == SIGKILL);
                self.after(after, ends(container.to_owned()));
                if let Some(other) = other {
                    self.after(after, ends(other));
                }
            }
            Some(Container::Running(_) | Container::Ended(_)) | None => {}
        }
    }

    pub(super) fn process_ends(&mut self, agent: usize, container: &str, signal: Option<i32>) {
        let wall_ns = self.time(Node::Agent(agent)).wall_ns;
        let awaits_kill = self.is_to_be_killed(container);
        let supervisors = &mut self.agents[agent].host.supervisors;
        let running = |one: &Supervisor| match one.containers.get(container) {
            Some(Container::Running(running)) => Some(running.end),
            Some(Container::Starting(..) | Container::Ended(_)) | None => None,
        };
        let found = supervisors.iter_mut().find_map(|(id, one)| running(one).map(|end| (*id, one, end)));
        let Some((supervisor, one, end)) = found else { return };
        if signal.is_none() && awaits_kill {
            return;
        }
        let (how, status) = match (signal, end) {
            (Some(signal), _) | (None, End::Signal(signal)) => (How::Signal(signal), exited::Status::Signal(signal)),
            (None, End::Code(code)) => (How::Code(code), exited::Status::Code(code)),
            (None, End::NotStarted) => return,
        };
        let exited = Exited { container_id: container.to_owned(), status: Some(status), wall_ns, core_dumped: false };
        one.containers.insert(container.to_owned(), Container::Ended(exited.clone()));
        if signal.is_none() {
            self.fact(Fact::EndExpected { container: container.to_owned() });
        }
        self.fact(Fact::ProcessEnded { agent, container: container.to_owned(), how });
        self.send_supervisor_event(agent, supervisor, supervisor_event::Kind::Exited(exited));
    }

    /// Ends a supervisor and its processes. Its journal is replayed, and the agent starts another supervisor.
    pub(super) fn supervisor_dies(&mut self, agent: usize) {
        let Some(supervisor) = self.latest_supervisor(agent) else { return };
        self.agents[agent].host.stopped_until.remove(&supervisor);
        self.end_processes(agent, supervisor, true);
        let life = self.agents[agent].life;
        let Some(one) = self.agents[agent].host.supervisors.get_mut(&supervisor) else { return };
        *one = one.to_replay("its supervisor died");
        if self.agents[agent].process.is_some() {
            let after = millis(&mut self.chance.hosts, 1, 50);
            self.after(after, Event::SupervisorLost { agent, life, supervisor });
        }
    }

    pub(super) fn supervisor_lost(&mut self, agent: usize, life: u64, supervisor: SupervisorId) {
        if self.agents[agent].life != life || self.agents[agent].process.is_none() {
            return;
        }
        self.give_agent(agent, Input::SupervisorLost { supervisor, text: "the supervisor died".to_owned() });
        if self.agents[agent].life != life || self.agents[agent].process.is_none() {
            return;
        }
        if !self.end_supervisor_if_empty(agent, supervisor) {
            self.send_welcome(agent, supervisor);
        }
        if self.agents[agent].process.is_some() {
            let next = self.start_supervisor(agent);
            self.send_welcome(agent, next);
        }
    }

    /// Ends a supervisor that accepts no starts and has no containers; notifies the agent.
    pub(super) fn end_supervisor_if_empty(&mut self, agent: usize, supervisor: SupervisorId) -> bool {
        let supervisors = &mut self.agents[agent].host.supervisors;
        let ends = |one: &Supervisor| (one.is_replay || one.retired) && one.containers.is_empty();
        if !supervisors.get(&supervisor).is_some_and(ends) {
            return false;
        }
        if supervisors.remove(&supervisor).is_some_and(|one| one.lost) {
            return true;
        }
        let (life, after) = (self.agents[agent].life, millis(&mut self.chance.hosts, 0, 5));
        self.after(after, Event::SupervisorEnded { agent, life, supervisor });
        true
    }

    /// Whether its scheduler requested a kill; such a process does not end by itself.
    fn is_to_be_killed(&self, container: &str) -> bool {
        self.tasks.get(container).is_some_and(|task| self.to_be_killed.contains(task))
    }

    pub(super) fn end_processes(&mut self, agent: usize, supervisor: SupervisorId, is_due: bool) {
        let Some(one) = self.agents[agent].host.supervisors.get(&supervisor) else { return };
        let running: Vec<String> = one.running().cloned().collect();
        for container in running {
            if is_due {
                self.fact(Fact::EndExpected { container: container.clone() });
            }
            self.fact(Fact::ProcessEnded { agent, container, how: How::WithSupervisor });
        }
    }

    /// Removes everything that an agent left on its host; its processes have ended before.
    pub(super) fn clear_host(&mut self, agent: usize) {
        let node = &mut self.agents[agent];
        let containers = node.host.supervisors.values().flat_map(|one| &one.containers);
        if let Some((id, _)) = containers.into_iter().find(|(_, it)| matches!(it, Container::Running(_))) {
            self.broken = Some(("gone", format!("agent {agent} has left, and {id} still runs there")));
            return;
        }
        let (boot, latest, pids) = (node.host.boot, node.host.latest, node.host.pids);
        let (event_ns, request_ns) = (node.host.event_ns, node.host.request_ns);
        node.host = Host { boot, latest, pids, event_ns, request_ns, ..Host::default() };
        node.disk = Disk::default();
    }

    /// Ends the kernel, and with it all processes.
    pub(super) fn take_host_down(&mut self, agent: usize) {
        let all: Vec<SupervisorId> = self.agents[agent].host.supervisors.keys().copied().collect();
        for supervisor in all {
            self.end_processes(agent, supervisor, true);
        }
        self.agents[agent].host.stopped_until.clear();
        let (rng, host) = (&mut self.chance.faults, &mut self.agents[agent].host);
        let left = std::mem::take(&mut host.supervisors).into_iter().filter_map(|(id, one)| {
            let ends = one.containers.values().filter_map(|container| match container {
                Container::Ended(exited) => Some(exited.wall_ns),
                Container::Starting(..) | Container::Running(_) => None,
            });
            let ends: Vec<i64> = std::iter::once(-1).chain(ends).collect();
            one.after_power_cut(ends[rng.random_range(0..ends.len())]).map(|one| (id, one))
        });
        host.supervisors = left.collect();
        host.requests.clear();
        host.boot += 1;
    }

    pub(super) fn step_done(&mut self, agent: usize, life: u64, container: ContainerId, step: Step, fails: bool) {
        let wall_ns = self.time(Node::Agent(agent)).wall_ns;
        if self.agents[agent].life != life || self.agents[agent].process.is_none() {
            return;
        }
        if fails {
            let text = "no space left on device".to_owned();
            return self.give_agent(agent, Input::StepFailed { container, step, text });
        }
        self.agents[agent].host.sandboxes.insert(container.clone(), wall_ns);
        self.give_agent(agent, Input::StepDone { container, step });
    }

    /// Draws how long a node is down.
    pub(super) fn outage(&mut self) -> Duration {
        let rng = &mut self.chance.faults;
        if percent(rng, 15) { millis(rng, 1_000, 120_000) } else { millis(rng, 1, 3_000) }
    }
}
