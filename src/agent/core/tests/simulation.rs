//! One agent's core against a simulated master, supervisor and disk, with the agent crashing between any two effects,
//! connections breaking, and records torn apart; everything from one seed.
//!
//! The oracle: whatever breaks, a scheduler sees each task's states in order, each after it was recorded, and
//! exactly one last state, which is the one its process ended in; and no task is started twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::agent::core::tests::fixture::{FRAMEWORK, config, found, framework, id, registered_by, started, task};
use crate::agent::core::{Agent, Effect, Input, SessionId, SupervisorId};
use crate::harness::Harness;
use crate::proto::internal::{self as wire, agent_message, agent_record, master_message, supervisor_event};
use crate::proto::v1::{TaskState, framework_info::capability::Type as Capability};
use crate::types::Now;

/// A container at the supervisor.
#[derive(Clone, Copy, PartialEq)]
enum Process {
    /// With the highest signal received meanwhile.
    Starting(Option<i32>),
    Running,
    Exited(End),
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Code(i32),
    Signal(i32),
}

/// A task that the master launched, and the statuses received for it.
#[derive(Default)]
struct Launched {
    seen: Vec<(Bytes, TaskState)>,
    acknowledged_last: bool,
    kill_asked: bool,
}

impl Launched {
    fn last(&self) -> Option<TaskState> {
        self.seen.last().map(|(_, state)| *state).filter(|state| state.is_terminal())
    }
}

struct World {
    seed: u64,
    chance: StdRng,
    now: Now,
    harness: Harness<Agent>,
    log: Vec<wire::AgentRecord>,
    written: BTreeSet<Bytes>,
    supervisor: SupervisorId,
    processes: BTreeMap<String, Process>,
    starts: BTreeSet<String>,
    /// Containers that had a process.
    ran: BTreeSet<String>,
    ends: BTreeMap<String, End>,
    /// Inputs on their way to the agent, in order.
    inbox: VecDeque<Input>,
    session: Option<SessionId>,
    tasks: BTreeMap<String, Launched>,
    faults: bool,
    /// Few kinds of fault in one run reach further than all at once.
    supervisors_die: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Now { mono_ns: 0, wall_ns: 1_000_000_000 };
        let supervisor = SupervisorId(1);
        let rng = StdRng::seed_from_u64(seed ^ 0xa5);
        let mut out = vec![];
        let agent = Agent::recover(&[], config(), found(&[supervisor]), rng, now, &mut out);
        let mut world = Self {
            seed,
            chance: StdRng::seed_from_u64(seed),
            now,
            harness: Harness::new(agent),
            log: vec![],
            written: BTreeSet::new(),
            supervisor,
            processes: BTreeMap::new(),
            starts: BTreeSet::new(),
            ran: BTreeSet::new(),
            ends: BTreeMap::new(),
            inbox: VecDeque::new(),
            session: None,
            tasks: BTreeMap::new(),
            faults: true,
            supervisors_die: seed.is_multiple_of(2),
        };
        world.greet();
        for effect in out {
            world.effect(effect);
        }
        world
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.chance.random_ratio(percent, 100)
    }

    fn give(&mut self, input: Input) {
        let mut out = vec![];
        self.harness.handle(self.now, input);
        self.harness.deliver(self.now, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Effect>) {
        for effect in out {
            if self.faults && self.percent(2) {
                if let Effect::Persist { records, .. } = effect {
                    let torn = self.chance.random_range(0..=records.len());
                    self.write(&records[..torn]);
                }
                return self.crash();
            }
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { records, .. } => self.write(&records),
            Effect::Attach { session, .. } => {
                self.session = Some(session);
                self.inbox.push_back(Input::Attached { session });
            }
            Effect::Detach { session } => self.session = self.session.filter(|it| *it != session),
            Effect::Send { session, message } if self.session == Some(session) => self.master(session, message),
            Effect::Supervise { supervisor, request } if supervisor == self.supervisor => self.supervise(request),
            Effect::Send { .. }
            | Effect::Supervise { .. }
            | Effect::RemoveSandbox { .. }
            | Effect::CancelStep { .. } => {}
            Effect::EndLeftovers { leftovers } => {
                let containers = leftovers.into_iter().map(|it| it.container).collect();
                self.inbox.push_back(Input::LeftoversEnded { containers });
            }
            Effect::Provision { container, step } => self.inbox.push_back(Input::StepDone { container, step }),
            Effect::Stop { reason } => panic!("seed {}: stopped for {reason:?}", self.seed),
        }
    }

    fn write(&mut self, records: &[wire::AgentRecord]) {
        for record in records {
            if let Some(agent_record::Kind::Status(made)) = &record.kind {
                self.written.insert(made.status.clone().unwrap().uuid.unwrap());
            }
        }
        self.log.extend_from_slice(records);
    }

    /// `kill -9` of the agent; sometimes its successor works on a compacted log.
    fn crash(&mut self) {
        self.inbox.clear();
        self.session = None;
        if self.supervisors_die && self.percent(30) {
            self.lose_supervisor();
        }
        let (found, rng) = (found(&[self.supervisor]), StdRng::seed_from_u64(self.chance.random()));
        let mut out = vec![];
        self.harness = Harness::new(Agent::recover(&self.log, config(), found, rng, self.now, &mut out));
        if self.percent(50) {
            self.log = self.harness.core.snapshot();
        }
        self.greet();
        self.carry_out(out);
    }

    /// The supervisor is gone and all its containers with it; another one is there.
    fn lose_supervisor(&mut self) {
        self.processes.clear();
        self.supervisor.0 += 1;
    }

    fn greet(&mut self) {
        let folder = format!("folder {}", self.supervisor.0);
        let mut welcome = wire::SupervisorWelcome { version: 3, folder, ..wire::SupervisorWelcome::default() };
        for (container, process) in &self.processes {
            match process {
                Process::Starting(_) => welcome.starting.push(container.clone()),
                Process::Running => welcome.running.push(started(container)),
                Process::Exited(end) => welcome.exited.push(exited(container, *end)),
            }
        }
        self.report(supervisor_event::Kind::Welcome(welcome));
    }

    fn report(&mut self, kind: supervisor_event::Kind) {
        let event = wire::SupervisorEvent { kind: Some(kind) };
        self.inbox.push_back(Input::Supervised { supervisor: self.supervisor, event });
    }

    fn supervise(&mut self, request: wire::SupervisorRequest) {
        match request.kind.unwrap() {
            wire::supervisor_request::Kind::Start(start) => {
                let new = self.starts.insert(start.container_id.clone());
                assert!(new, "seed {}: {} started twice", self.seed, start.container_id);
                self.processes.insert(start.container_id, Process::Starting(None));
            }
            wire::supervisor_request::Kind::Signal(signal) if signal.signal == 9 || self.percent(50) => {
                match self.processes.get_mut(&signal.container_id) {
                    Some(Process::Starting(hardest)) => {
                        *hardest = Some(hardest.map_or(signal.signal, |it| it.min(signal.signal)));
                    }
                    Some(Process::Running | Process::Exited(_)) | None => {
                        self.end(&signal.container_id, End::Signal(signal.signal));
                    }
                }
            }
            wire::supervisor_request::Kind::Signal(_) | wire::supervisor_request::Kind::Hello(_) => {}
            wire::supervisor_request::Kind::Forget(forget) => {
                self.processes.remove(&forget.container_id);
            }
            wire::supervisor_request::Kind::Retire(_) => panic!("there is one supervisor"),
        }
    }

    /// A start that is under way comes to its end.
    fn start_one(&mut self) {
        let starting = |(id, process): (&String, &Process)| match process {
            Process::Starting(signal) => Some((id.clone(), *signal)),
            Process::Running | Process::Exited(_) => None,
        };
        let Some((container, signal)) = self.processes.iter().find_map(starting) else { return };
        self.processes.insert(container.clone(), Process::Running);
        self.ran.insert(container.clone());
        self.report(supervisor_event::Kind::Started(started(&container)));
        if let Some(signal) = signal {
            self.end(&container, End::Signal(signal));
        }
    }

    fn end(&mut self, container: &str, end: End) {
        if self.processes.get(container) == Some(&Process::Running) {
            self.processes.insert(container.to_owned(), Process::Exited(end));
            self.ends.insert(container.to_owned(), end);
            self.report(supervisor_event::Kind::Exited(exited(container, end)));
        }
    }

    fn master(&mut self, session: SessionId, message: wire::AgentMessage) {
        match message.kind.unwrap() {
            agent_message::Kind::Register(register) => {
                let there: BTreeSet<&str> = register.tasks.iter().map(|task| task.container_id.as_str()).collect();
                let gone = self.tasks.iter().filter(|(id, it)| !it.acknowledged_last && !there.contains(id.as_str()));
                let missing: Vec<wire::MissingTask> = gone.map(|(id, _)| missing(id)).collect();
                let mut answer = registered_by(1);
                if let Some(master_message::Kind::Registered(registered)) = &mut answer.kind {
                    registered.missing = missing;
                }
                self.inbox.push_back(Input::Received { session, message: answer });
                let aware = [Capability::TaskKillingState, Capability::PartitionAware];
                let info = Some(framework(&aware[..if self.seed.is_multiple_of(3) { 1 } else { 2 }]));
                self.say(master_message::Kind::UpdateFramework(Box::new(wire::UpdateFramework { info })));
            }
            agent_message::Kind::Update(update) => self.seen(*update),
            agent_message::Kind::Pong(_)
            | agent_message::Kind::Message(_)
            | agent_message::Kind::Unregister(_)
            | agent_message::Kind::OrphanGone(_) => {}
        }
    }

    fn say(&mut self, kind: master_message::Kind) {
        if let Some(session) = self.session {
            self.inbox.push_back(Input::Received { session, message: wire::MasterMessage { kind: Some(kind) } });
        }
    }

    fn seen(&mut self, update: wire::Update) {
        let (seed, container) = (self.seed, update.container_id);
        let status = update.status.unwrap();
        let (state, uuid) = (status.state(), status.uuid.clone().unwrap());
        assert!(self.written.contains(&uuid), "seed {seed}: {container} {state:?} was sent before it was written");
        let task = self.tasks.get_mut(&container).expect("launched");
        assert!(!task.acknowledged_last, "seed {seed}: {container} {state:?} after its end was acknowledged");
        if task.seen.iter().all(|(known, _)| *known != uuid) {
            assert_eq!(task.last(), None, "seed {seed}: {container} {state:?} after its end");
            task.seen.push((uuid.clone(), state));
        }
        assert_eq!(task.seen.last().unwrap().0, uuid, "seed {seed}: {container} goes back to {state:?}");
        if self.faults && self.percent(20) {
            return;
        }
        let (framework_id, task_id) = (update.framework_id, status.task_id.value);
        let acknowledge = wire::Acknowledge { framework_id, task_id, uuid };
        for _ in 0..if self.percent(20) { 2 } else { 1 } {
            self.say(master_message::Kind::Acknowledge(acknowledge.clone()));
        }
    }

    /// Marks tasks that the agent removed after the acknowledgement of their end: the master removes them too.
    fn mark_acknowledged(&mut self) {
        for (container, task) in &mut self.tasks {
            task.acknowledged_last = task.last().is_some() && !self.harness.core.tasks.contains_key(&id(container));
        }
    }

    fn launch(&mut self) {
        if self.tasks.len() == 8 || self.session.is_none() || !self.harness.core.is_registered() {
            return;
        }
        let container = format!("c{}", self.tasks.len());
        self.tasks.insert(container.clone(), Launched::default());
        let task_info = Bytes::from(task(&container).encode_to_vec());
        let run = wire::RunTask { framework_id: FRAMEWORK.to_owned(), container_id: container, task_info };
        self.say(master_message::Kind::RunTask(run));
    }

    fn kill_one(&mut self) {
        let Some(nth) = self.tasks.len().checked_sub(1).map(|last| self.chance.random_range(0..=last)) else { return };
        let container = format!("c{nth}");
        if let Some(task) = self.tasks.get_mut(&container).filter(|task| !task.acknowledged_last) {
            task.kill_asked = true;
        }
        let (framework_id, task_id) = (FRAMEWORK.to_owned(), format!("task-{container}"));
        let kill = wire::KillTask { framework_id, task_id, ..wire::KillTask::default() };
        self.say(master_message::Kind::KillTask(kill));
    }

    fn end_one(&mut self) {
        let running = self.processes.iter().filter(|(_, process)| **process == Process::Running);
        let running: Vec<String> = running.map(|(container, _)| container.clone()).collect();
        if !running.is_empty() {
            let nth = self.chance.random_range(0..running.len());
            let code = self.chance.random_range(0..2);
            self.end(&running[nth], End::Code(code));
        }
    }

    fn step(&mut self) {
        match self.chance.random_range(0..11) {
            0..=4 => {
                if let Some(input) = self.inbox.pop_front() {
                    self.give(input);
                }
            }
            5 => self.launch(),
            6 => self.end_one(),
            7 if self.percent(20) => self.kill_one(),
            8 if self.faults && self.percent(10) => {
                if let Some(session) = self.session.take() {
                    self.inbox.push_back(Input::Detached { session, leader: None });
                }
            }
            9 if self.faults && self.supervisors_die && self.percent(3) => {
                let supervisor = self.supervisor;
                self.lose_supervisor();
                self.inbox.push_back(Input::SupervisorLost { supervisor, text: "gone".to_owned() });
                self.inbox.push_back(Input::SupervisorEnded { supervisor });
                self.greet();
            }
            10 => self.start_one(),
            _ => {
                let step = self.harness.deadline().map_or(0, |at| at.saturating_sub(self.now.mono_ns));
                self.now = self.now.advanced(Duration::from_nanos(step.min(500_000_000)));
                self.give(Input::Tick);
            }
        }
        self.mark_acknowledged();
        self.harness.core.check();
    }

    fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.processes.is_empty()
    }

    fn verify(&self) {
        let seed = self.seed;
        assert_eq!(self.harness.core.task_count(), 0, "seed {seed}: tasks left");
        assert_eq!(self.processes.len(), 0, "seed {seed}: containers left at the supervisor");
        for (container, task) in &self.tasks {
            let last = task.last().unwrap_or_else(|| panic!("seed {seed}: {container} has no end: {:?}", task.seen));
            let expected: &[TaskState] = match self.ends.get(container) {
                _ if task.kill_asked => continue,
                Some(End::Code(0)) if !self.supervisors_die => &[TaskState::TaskFinished],
                Some(_) if !self.supervisors_die => &[TaskState::TaskFailed],
                Some(End::Code(0)) => &[TaskState::TaskFinished],
                Some(End::Code(_) | End::Signal(_)) | None if self.starts.contains(container) => {
                    &[TaskState::TaskFailed, TaskState::TaskLost, TaskState::TaskGone]
                }
                // Whether it began is not known where a supervisor that may have received it is gone.
                Some(_) | None if self.supervisors_die => {
                    &[TaskState::TaskLost, TaskState::TaskDropped, TaskState::TaskGone]
                }
                Some(_) | None => &[TaskState::TaskLost, TaskState::TaskDropped],
            };
            let began = self.ran.contains(container) == self.ends.contains_key(container);
            assert!(began || self.supervisors_die, "seed {seed}: {container} ran and its end was not observed");
            // The exits that a dead supervisor had not reported are lost.
            let unseen = [TaskState::TaskFailed, TaskState::TaskLost, TaskState::TaskGone];
            let known = expected.contains(&last) || (self.supervisor.0 > 1 && unseen.contains(&last));
            assert!(known, "seed {seed}: {container} ended {last:?}, expected {expected:?}");
        }
    }
}

fn exited(container: &str, end: End) -> wire::Exited {
    let status = match end {
        End::Code(code) => wire::exited::Status::Code(code),
        End::Signal(signal) => wire::exited::Status::Signal(signal),
    };
    wire::Exited { container_id: container.to_owned(), status: Some(status), ..Default::default() }
}

fn missing(container: &str) -> wire::MissingTask {
    wire::MissingTask {
        framework_id: FRAMEWORK.to_owned(),
        task_id: format!("task-{container}"),
        container_id: container.to_owned(),
        state: TaskState::TaskDropped as i32,
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..1_500 {
        world.step();
    }
    world.faults = false;
    for _ in 0..20_000 {
        world.step();
        if world.tasks.len() == 8 && world.tasks.values().all(|task| task.acknowledged_last) && world.is_quiet() {
            break;
        }
    }
    world.verify();
}

#[test]
fn every_task_ends_once_whatever_breaks() {
    for seed in 0..300 {
        run(seed);
    }
}
