//! One agent under test: gives it inputs one at a time and compares the exact effects.

use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::agent::core::{
    Agent, Config, ContainerId, Effect, Found, FoundSupervisor, Input, Level, Retention, SessionId, Step, SupervisorId,
};
use crate::harness::Harness;
use crate::proto::internal::{self as wire, agent_message, agent_record, master_message, supervisor_event};
use crate::proto::v1::{self, TaskState};
use crate::types::Now;

pub(in crate::agent::core) const ONE: SupervisorId = SupervisorId(1);
pub(in crate::agent::core) const FRAMEWORK: &str = "f";

pub(in crate::agent::core) struct Fixture {
    pub(in crate::agent::core) harness: Harness<Agent>,
    pub(in crate::agent::core) now: Now,
    out: Vec<Effect>,
    /// Everything persisted, as the log would hold it.
    pub(in crate::agent::core) log: Vec<wire::AgentRecord>,
    /// Whether nothing is ever left of a container that no supervisor names.
    pub(in crate::agent::core) host_answers: bool,
}

pub(in crate::agent::core) fn config() -> Config {
    Config {
        info: v1::AgentInfo { hostname: "h".to_owned(), ..Default::default() },
        divvy_version: "0.1.0".to_owned(),
        user: "me".to_owned(),
        sandboxes: "/w/runs".to_owned(),
        retention: Retention::default(),
        spread_first: Duration::from_secs(1),
    }
}

pub(in crate::agent::core) fn found(supervisors: &[SupervisorId]) -> Found {
    let supervisors = supervisors.iter().map(|id| FoundSupervisor { id: *id, died: false }).collect();
    Found { boot_id: "boot".to_owned(), supervisors, ..Found::default() }
}

pub(in crate::agent::core) fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

impl Fixture {
    /// An agent recovered from a log, waiting for supervisor 1.
    pub(in crate::agent::core) fn recovered(log: &[wire::AgentRecord]) -> Self {
        Self::recovered_at(log, Now { mono_ns: 0, wall_ns: 1_000_000_000_000 }, found(&[ONE]))
    }

    pub(in crate::agent::core) fn recovered_at(log: &[wire::AgentRecord], now: Now, found: Found) -> Self {
        Self::recovered_by(StdRng::seed_from_u64(7), log, now, found)
    }

    /// The same with another source of randomness, as in another run.
    pub(in crate::agent::core) fn recovered_by(rng: StdRng, log: &[wire::AgentRecord], now: Now, found: Found) -> Self {
        let mut out = vec![];
        let agent = Agent::recover(log, config(), found, rng, now, &mut out);
        let mut fixture = Self { harness: Harness::new(agent), now, out, log: log.to_vec(), host_answers: true };
        fixture.write_down(0);
        fixture.end_leftovers(0);
        fixture
    }

    /// A new agent, registered with a master, with one supervisor and one framework of the capabilities given.
    pub(in crate::agent::core) fn registered(capabilities: &[v1::framework_info::capability::Type]) -> Self {
        Self::recovered(&[]).with_a_framework(capabilities)
    }

    /// The same, out of an agent without a log.
    pub(in crate::agent::core) fn with_a_framework(
        self,
        capabilities: &[v1::framework_info::capability::Type],
    ) -> Self {
        let mut fixture = self;
        fixture.welcome(&[], &[]);
        fixture.register();
        fixture.receive(master_message::Kind::UpdateFramework(Box::new(wire::UpdateFramework {
            info: Some(framework(capabilities)),
        })));
        fixture.take();
        fixture
    }

    pub(in crate::agent::core) fn give(&mut self, input: Input) {
        let before = self.out.len();
        self.harness.handle(self.now, input);
        self.harness.deliver(self.now, &mut self.out);
        self.write_down(before);
        self.end_leftovers(before);
    }

    /// Answers at once that nothing of them is left, unless the test answers itself.
    fn end_leftovers(&mut self, from: usize) {
        let mut ended = vec![];
        for effect in &self.out[from..] {
            if let Effect::EndLeftovers { leftovers } = effect {
                ended.extend(leftovers.iter().map(|leftover| leftover.container.clone()));
            }
        }
        if self.host_answers && !ended.is_empty() {
            self.out.retain(|effect| !matches!(effect, Effect::EndLeftovers { .. }));
            self.give(Input::LeftoversEnded { containers: ended });
        }
    }

    fn write_down(&mut self, from: usize) {
        for effect in &self.out[from..] {
            if let Effect::Persist { records, .. } = effect {
                self.log.extend(records.iter().cloned());
            }
        }
    }

    pub(in crate::agent::core) fn pass(&mut self, time: Duration) {
        self.now = self.now.advanced(time);
        self.give(Input::Tick);
    }

    /// Lets time pass up to the deadline.
    pub(in crate::agent::core) fn pass_to_deadline(&mut self) {
        let at = self.harness.deadline().expect("something is due");
        self.pass(Duration::from_nanos(at.saturating_sub(self.now.mono_ns)));
    }

    pub(in crate::agent::core) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// The effects since the last time, in short words.
    pub(in crate::agent::core) fn effects(&mut self) -> Vec<String> {
        self.take().iter().map(in_short).collect()
    }

    pub(in crate::agent::core) fn attach(&mut self) -> SessionId {
        self.pass_to_deadline();
        let asked = self.out.iter().rev().find_map(|effect| match effect {
            Effect::Attach { session, .. } => Some(*session),
            _ => None,
        });
        let session = asked.expect("the agent attaches");
        self.give(Input::Attached { session });
        session
    }

    pub(in crate::agent::core) fn register(&mut self) {
        let session = self.attach();
        let message = registered_by(1);
        self.give(Input::Received { session, message });
    }

    pub(in crate::agent::core) fn receive(&mut self, kind: master_message::Kind) {
        let session = self.harness.core.session().expect("registered");
        self.give(Input::Received { session, message: wire::MasterMessage { kind: Some(kind) } });
    }

    pub(in crate::agent::core) fn supervised(&mut self, kind: supervisor_event::Kind) {
        self.give(Input::Supervised { supervisor: ONE, event: wire::SupervisorEvent { kind: Some(kind) } });
    }

    pub(in crate::agent::core) fn welcome(&mut self, running: &[&str], exited: &[(&str, i32)]) {
        self.supervised(supervisor_event::Kind::Welcome(wire::SupervisorWelcome {
            version: 1,
            pid: 1,
            running: running.iter().map(|id| started(id)).collect(),
            exited: exited.iter().map(|(id, code)| exit(id, *code)).collect(),
            ..Default::default()
        }));
    }

    /// A supervisor greets that is just starting these containers.
    pub(in crate::agent::core) fn welcome_starting(&mut self, starting: &[&str]) {
        let starting = starting.iter().map(|id| (*id).to_owned()).collect();
        let welcome = wire::SupervisorWelcome { version: 2, pid: 1, starting, ..Default::default() };
        self.supervised(supervisor_event::Kind::Welcome(welcome));
    }

    pub(in crate::agent::core) fn run(&mut self, container: &str, info: &v1::TaskInfo) {
        self.receive(master_message::Kind::RunTask(wire::RunTask {
            framework_id: FRAMEWORK.to_owned(),
            container_id: container.to_owned(),
            task_info: Bytes::from(info.encode_to_vec()),
        }));
    }

    /// The same in a container nested in another.
    pub(in crate::agent::core) fn run_in(&mut self, parent: &str, container: &str) {
        let before = self.out.len();
        let run = wire::RunTask {
            framework_id: FRAMEWORK.to_owned(),
            container_id: container.to_owned(),
            task_info: Bytes::from(task(container).encode_to_vec()),
        };
        self.harness.core.launch(self.now, run, Some(&id(parent)), &mut self.out);
        self.harness.core.check();
        self.write_down(before);
    }

    /// Runs a task in a nested container up to its start.
    pub(in crate::agent::core) fn running_in(&mut self, parent: &str, container: &str) {
        self.run_in(parent, container);
        self.give(Input::StepDone { container: id(container), step: Step::Sandbox });
        self.supervised(supervisor_event::Kind::Started(started(container)));
    }

    /// Runs `task-ID` in a container up to its start.
    pub(in crate::agent::core) fn running(&mut self, container: &str) {
        self.started_as(container, &task(container));
    }

    /// Runs this task in a container up to its start.
    pub(in crate::agent::core) fn started_as(&mut self, container: &str, info: &v1::TaskInfo) {
        self.run(container, info);
        self.give(Input::StepDone { container: id(container), step: Step::Sandbox });
        self.supervised(supervisor_event::Kind::Started(started(container)));
    }

    /// Runs a task up to its start and has RUNNING acknowledged.
    pub(in crate::agent::core) fn running_and_known(&mut self, container: &str) {
        self.running(container);
        self.acknowledge(container);
        self.take();
    }

    pub(in crate::agent::core) fn exited(&mut self, container: &str, code: i32) {
        self.supervised(supervisor_event::Kind::Exited(exit(container, code)));
    }

    pub(in crate::agent::core) fn kill(&mut self, container: &str, grace: Option<Duration>) {
        let nanoseconds = |grace: Duration| i64::try_from(grace.as_nanos()).unwrap();
        let grace_period = grace.map(|grace| v1::DurationInfo { nanoseconds: nanoseconds(grace) });
        self.receive(master_message::Kind::KillTask(wire::KillTask {
            framework_id: FRAMEWORK.to_owned(),
            task_id: format!("task-{container}"),
            kill_policy: grace.map(|_| v1::KillPolicy { grace_period }),
            container_id: String::new(),
        }));
    }

    /// Acknowledges the status in flight of a container's task.
    pub(in crate::agent::core) fn acknowledge(&mut self, container: &str) {
        let task = &self.harness.core.tasks[&id(container)];
        let kind = master_message::Kind::Acknowledge(wire::Acknowledge {
            framework_id: task.framework.value.clone(),
            task_id: task.name.value.clone(),
            uuid: task.pending.front().expect("a status is in flight").uuid.clone(),
        });
        self.receive(kind);
    }

    /// The status in flight of a container's task.
    pub(in crate::agent::core) fn status(&self, container: &str) -> v1::TaskStatus {
        self.harness.core.tasks[&id(container)].pending.front().expect("a status is in flight").decoded()
    }
}

pub(in crate::agent::core) fn task(container: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: "n".to_owned(),
        task_id: v1::TaskId { value: format!("task-{container}") },
        command: Some(Box::new(v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() })),
        ..Default::default()
    }
}

pub(in crate::agent::core) fn framework(capabilities: &[v1::framework_info::capability::Type]) -> v1::FrameworkInfo {
    let capability =
        |it: &v1::framework_info::capability::Type| v1::framework_info::Capability { r#type: Some(*it as i32) };
    v1::FrameworkInfo {
        name: "framework".to_owned(),
        id: Some(v1::FrameworkId { value: FRAMEWORK.to_owned() }),
        capabilities: capabilities.iter().map(capability).collect(),
        ..Default::default()
    }
}

pub(in crate::agent::core) fn registered_by(epoch: u64) -> wire::MasterMessage {
    let registered = wire::Registered {
        version: 2,
        agent_id: "S0".to_owned(),
        master_id: "M".to_owned(),
        epoch,
        ping_timeout_ms: 75_000,
        ..Default::default()
    };
    wire::MasterMessage { kind: Some(master_message::Kind::Registered(Box::new(registered))) }
}

pub(in crate::agent::core) fn started(container: &str) -> wire::Started {
    wire::Started { container_id: container.to_owned(), pid: 77, start_time: 5 }
}

pub(in crate::agent::core) fn exit(container: &str, code: i32) -> wire::Exited {
    wire::Exited {
        container_id: container.to_owned(),
        status: Some(wire::exited::Status::Code(code)),
        ..Default::default()
    }
}

/// An effect in a few words, so that a test can name the whole list.
pub(in crate::agent::core) fn in_short(effect: &Effect) -> String {
    match effect {
        Effect::Persist { records, level } => {
            let kinds: Vec<String> = records.iter().map(record_in_short).collect();
            let level = if *level == Level::Host { "!" } else { "" };
            format!("persist{level} {}", kinds.join(" + "))
        }
        Effect::Attach { session, .. } => format!("attach {}", session.0),
        Effect::Detach { session } => format!("detach {}", session.0),
        Effect::Send { session, message } => format!("send {}: {}", session.0, message_in_short(message)),
        Effect::Supervise { supervisor, request } => {
            format!("supervise {}: {}", supervisor.0, request_in_short(request))
        }
        Effect::Provision { container, step } => format!("{step} {container}"),
        Effect::CancelStep { container, step } => format!("cancel {step} {container}"),
        Effect::EndLeftovers { leftovers } => {
            let containers: Vec<String> = leftovers.iter().map(|it| it.container.to_string()).collect();
            format!("end leftovers [{}]", containers.join(", "))
        }
        Effect::RemoveSandbox { container } => format!("remove sandbox {container}"),
        Effect::Stop { reason } => format!("stop {reason:?}"),
    }
}

fn state(state: i32) -> String {
    TaskState::try_from(state).unwrap().as_str_name().trim_start_matches("TASK_").to_owned()
}

fn record_in_short(record: &wire::AgentRecord) -> String {
    match record.kind.as_ref().unwrap() {
        agent_record::Kind::Identity(identity) => format!("identity {} {}", identity.agent_id, identity.boot_id),
        agent_record::Kind::Epoch(epoch) => format!("epoch {epoch}"),
        agent_record::Kind::Framework(info) => format!("framework {}", info.id.as_ref().unwrap().value),
        agent_record::Kind::FrameworkForgotten(id) => format!("framework forgotten {id}"),
        agent_record::Kind::Accepted(accepted) => format!("accepted {}", accepted.container_id),
        agent_record::Kind::Started(started) => format!("started {}", started.container_id),
        agent_record::Kind::Status(made) => {
            format!("status {} {}", made.container_id, state(made.status.as_ref().unwrap().state))
        }
        agent_record::Kind::Acknowledged(acknowledged) => format!("acknowledged {}", acknowledged.container_id),
        agent_record::Kind::Kill(kill) => format!("kill {} {}ms", kill.container_id, kill.grace_ms),
        agent_record::Kind::Forgotten(container) => format!("forgotten {container}"),
        agent_record::Kind::CutOff(since) => format!("cut off {since}"),
        agent_record::Kind::StartsGoTo(name) => format!("starts go to {name}"),
        agent_record::Kind::SupervisorEnded(name) => format!("supervisor ended {name}"),
        agent_record::Kind::Synced(length) => format!("synced {length}"),
    }
}

fn message_in_short(message: &wire::AgentMessage) -> String {
    match message.kind.as_ref().unwrap() {
        agent_message::Kind::Register(register) => {
            let task = |it: &wire::AgentTask| format!("{} {}", it.container_id, state(it.state));
            let tasks: Vec<String> = register.tasks.iter().map(task).collect();
            let orphans: Vec<&str> = register.orphans.iter().map(|it| it.container_id.as_str()).collect();
            let orphans = if orphans.is_empty() { String::new() } else { format!(" orphans [{}]", orphans.join(", ")) };
            format!("register [{}]{orphans}", tasks.join(", "))
        }
        agent_message::Kind::Update(update) => {
            let status = update.status.as_ref().unwrap();
            format!("update {} {} of {}", update.container_id, state(status.state), state(update.latest_state))
        }
        agent_message::Kind::Pong(_) => "pong".to_owned(),
        agent_message::Kind::Message(_) => "message".to_owned(),
        agent_message::Kind::Unregister(_) => "unregister".to_owned(),
        agent_message::Kind::OrphanGone(gone) => format!("orphan gone {}", gone.container_id),
    }
}

fn request_in_short(request: &wire::SupervisorRequest) -> String {
    match request.kind.as_ref().unwrap() {
        wire::supervisor_request::Kind::Hello(_) => "hello".to_owned(),
        wire::supervisor_request::Kind::Start(start) => format!("start {}", start.container_id),
        wire::supervisor_request::Kind::Signal(signal) => {
            format!("signal {} {}{}", signal.container_id, signal.signal, if signal.tree { " tree" } else { "" })
        }
        wire::supervisor_request::Kind::Forget(forget) => format!("forget {}", forget.container_id),
        wire::supervisor_request::Kind::Retire(_) => "retire".to_owned(),
    }
}
