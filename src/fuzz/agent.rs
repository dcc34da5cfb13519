//! The agent's core and the frames it receives.
//!
//! The script plays the master, the supervisors, the disk and the host. It answers requests of the core late, wrongly or
//! never. At the end, and at times before, the agent restarts from a prefix of its log.

mod generate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost::Message as _;

use super::script::Script;
use crate::{
    agent::core::{
        Agent, Config, ContainerId, Effect, Found, FoundSupervisor, Input, Retention, SessionId, Step, SupervisorId,
    },
    harness::Harness,
    proto::{
        internal::{
            self, AgentRecord, SupervisorEvent, agent_message, agent_record, exited, master_message::Kind as Order,
            supervisor_event::Kind as Event, supervisor_request::Kind as Asked,
        },
        v1,
    },
};

/// The supervisor that is always there.
const ONE: SupervisorId = SupervisorId(0);

/// A record as a log may hold it.
pub(super) fn record(script: &mut Script<'_>) -> AgentRecord {
    generate::record(script)
}

/// An agent that starts with these records.
pub(super) fn begin_with(records: &[AgentRecord]) {
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script, records.to_vec());
    play.handle(&script, Input::SupervisorEnded { supervisor: ONE });
    play.restart(&mut script);
}

/// A frame of a master, to an agent that is registered.
pub(super) fn frame(bytes: &[u8]) {
    let Ok(frame) = internal::MasterFrame::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script, Vec::new());
    play.register(&mut script);
    for message in frame.messages {
        let session = play.session;
        play.handle(&script, Input::Received { session, message });
    }
    play.restart(&mut script);
}

/// Events of a supervisor, to an agent that has just launched four tasks.
pub(super) fn supervised(events: Vec<SupervisorEvent>) {
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script, Vec::new());
    play.register(&mut script);
    for number in 0..4 {
        let Order::RunTask(run) = generate::run_task(&mut script, "f0".to_owned(), format!("t{number}")) else {
            return;
        };
        let message = message(Order::RunTask(internal::RunTask { container_id: format!("c{number}"), ..run }));
        play.handle(&script, Input::Received { session: play.session, message });
    }
    while let Some(input) = play.host.pop_front() {
        play.handle(&script, input);
    }
    for event in events {
        play.handle(&script, Input::Supervised { supervisor: ONE, event });
    }
    play.restart(&mut script);
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    play(bytes);
}

/// Plays a script on a core, and returns what it reached.
pub(super) fn play(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut script = Script::new(bytes);
    let mut play = Play::begin(&mut script, Vec::new());
    while script.has_step() {
        play.step(&mut script);
    }
    play.restart(&mut script);
    play.reached
}

struct Play {
    harness: Harness<Agent>,
    session: SessionId,
    /// Everything ever persisted since the last start, after what that start found.
    records: Vec<AgentRecord>,
    boot: usize,
    starts: usize,
    ticks: u32,
    /// The pending answers of the host and the supervisor.
    host: VecDeque<Input>,
    running: BTreeSet<String>,
    exited: BTreeMap<String, internal::Exited>,
    /// At which start each container was accepted.
    accepted: BTreeMap<String, usize>,
    /// Statuses that were sent.
    sent: Vec<internal::Acknowledge>,
    reached: BTreeSet<&'static str>,
}

impl Play {
    fn begin(script: &mut Script<'_>, records: Vec<AgentRecord>) -> Self {
        let (core, out) = recover(script, &records, "boot0");
        let mut play = Self {
            harness: Harness::new(core),
            records,
            session: SessionId(0),
            boot: 0,
            starts: 0,
            ticks: 0,
            host: VecDeque::new(),
            running: BTreeSet::new(),
            exited: BTreeMap::new(),
            accepted: BTreeMap::new(),
            sent: Vec::new(),
            reached: BTreeSet::new(),
        };
        play.execute(out);
        play.harness.core.check();
        play
    }

    /// Restarts the process or the host, with any prefix of the log.
    fn restart(&mut self, script: &mut Script<'_>) {
        let left = self.records.len() - script.below(self.records.len().min(8) + 1);
        self.records.truncate(left);
        self.boot += usize::from(script.one_in(3));
        self.starts += 1;
        self.host.clear();
        let (core, out) = recover(script, &self.records, &format!("boot{}", self.boot));
        self.harness = Harness::new(core);
        self.execute(out);
        self.harness.core.check();
    }

    fn register(&mut self, script: &mut Script<'_>) {
        let event = if script.one_in(2) { generate::welcome(script) } else { self.welcome() };
        let input = self.supervisor_event(ONE, event);
        self.handle(script, input);
        for _ in 0..4 {
            if let Some(at) = self.harness.deadline() {
                script.now.mono_ns = script.now.mono_ns.max(at);
            }
            self.handle(script, Input::Tick);
        }
        self.handle(script, Input::Attached { session: self.session });
        let order = Order::Registered(Box::new(generate::registered(script)));
        self.handle(script, Input::Received { session: self.session, message: message(order) });
    }

    fn step(&mut self, script: &mut Script<'_>) {
        script.wait();
        let session = if script.one_in(8) { SessionId(script.below(4) as u64) } else { self.session };
        let supervisor = SupervisorId(u32::from(script.one_in(2)));
        let container = ContainerId::parse(&script.name("c", 4));
        let input = match (script.below(20), container) {
            (0, _) => return self.restart(script),
            (1, _) => Input::Attached { session },
            (2, _) => Input::Detached { session, leader: None },
            // In turn, without a draw, so that stored inputs keep their meaning.
            (3, _) => {
                self.ticks += 1;
                match self.ticks % 8 {
                    5 => Input::SupervisorSilent { supervisor, text: "it does not answer".to_owned() },
                    6 => Input::DiskFull { text: "no space left on device".to_owned() },
                    7 => Input::DiskHasRoom,
                    _ => Input::Tick,
                }
            }
            (4, _) => Input::SupervisorLost { supervisor, text: "killed".to_owned() },
            (5, _) => Input::SupervisorEnded { supervisor },
            (6, Some(container)) => Input::StepDone { container, step: Step::Sandbox },
            (7, Some(container)) => Input::StepFailed { container, step: Step::Sandbox, text: "no room".to_owned() },
            (8, _) => return self.register(script),
            (9, _) if script.one_in(4) => [Input::ShutDown, Input::Stopping][script.below(2)].clone(),
            (9 | 10, _) => self.supervisor_event(supervisor, generate::event(script)),
            (11..=15, _) => return self.answer(script),
            _ => Input::Received { session, message: message(self.order(script)) },
        };
        self.handle(script, input);
    }

    /// Wraps an event of a supervisor, which may be untrue. An agent believes an end, and may start the container again.
    fn supervisor_event(&mut self, supervisor: SupervisorId, event: SupervisorEvent) -> Input {
        match &event.kind {
            Some(Event::Welcome(welcome)) => {
                let runs = |id: &String| welcome.running.iter().any(|started| started.container_id == *id);
                self.running.retain(|id| runs(id) || welcome.starting.contains(id));
            }
            Some(Event::Exited(exited)) => drop(self.running.remove(&exited.container_id)),
            Some(Event::StartFailed(failed)) => drop(self.running.remove(&failed.container_id)),
            _ => {}
        }
        Input::Supervised { supervisor, event }
    }

    /// The host answers the next request, or a process ends.
    fn answer(&mut self, script: &mut Script<'_>) {
        let ends = script.one_in(3);
        if let Some(input) = self.host.pop_front_if(|_| !ends) {
            return self.handle(script, input);
        }
        let running: Vec<String> = self.running.iter().cloned().collect();
        if let Some(container_id) = script.pick(&running) {
            self.ends(script, container_id, exited::Status::Code(0));
        }
    }

    fn ends(&mut self, script: &Script<'_>, container_id: &str, status: exited::Status) {
        self.running.remove(container_id);
        let container_id = container_id.to_owned();
        let exited = internal::Exited { container_id, status: Some(status), wall_ns: 1, core_dumped: false };
        self.exited.insert(exited.container_id.clone(), exited.clone());
        let event = SupervisorEvent { kind: Some(Event::Exited(exited)) };
        self.handle(script, Input::Supervised { supervisor: ONE, event });
    }

    /// The true welcome of the supervisor.
    fn welcome(&self) -> SupervisorEvent {
        let started = |id: &String| internal::Started { container_id: id.clone(), pid: 100, start_time: 1 };
        let welcome = internal::SupervisorWelcome {
            version: 2,
            pid: 7,
            running: self.running.iter().map(started).collect(),
            exited: self.exited.values().cloned().collect(),
            ..internal::SupervisorWelcome::default()
        };
        SupervisorEvent { kind: Some(Event::Welcome(welcome)) }
    }

    fn handle(&mut self, script: &Script<'_>, input: Input) {
        self.harness.handle(script.now, input);
        self.harness.core.check();
        let effects = self.harness.take();
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { records, .. } => self.persist(records),
                Effect::Attach { session, .. } => self.session = session,
                Effect::Provision { container, step } => self.host.push_back(Input::StepDone { container, step }),
                Effect::EndLeftovers { leftovers } => {
                    let containers = leftovers.into_iter().map(|leftover| leftover.container).collect();
                    self.host.push_back(Input::LeftoversEnded { containers });
                }
                Effect::Supervise { supervisor: ONE, request } => self.supervise(request.kind),
                Effect::Send { message, .. } => self.send(message.kind),
                Effect::Supervise { .. }
                | Effect::CancelStep { .. }
                | Effect::Detach { .. }
                | Effect::RemoveSandbox { .. }
                | Effect::Stop { .. } => {}
            }
        }
    }

    fn persist(&mut self, records: Vec<AgentRecord>) {
        for record in &records {
            if let Some(agent_record::Kind::Accepted(accepted)) = &record.kind {
                self.accepted.insert(accepted.container_id.clone(), self.starts);
            }
            if let Some(agent_record::Kind::Acknowledged(_)) = &record.kind {
                self.reached.insert("a status was acknowledged");
            }
        }
        self.records.extend(records);
    }

    fn supervise(&mut self, request: Option<Asked>) {
        match request {
            Some(Asked::Start(start)) => {
                let started = internal::Started { container_id: start.container_id.clone(), pid: 100, start_time: 1 };
                let event = SupervisorEvent { kind: Some(Event::Started(started)) };
                assert!(self.running.insert(start.container_id), "a container is started once");
                self.host.push_back(Input::Supervised { supervisor: ONE, event });
                self.reached.insert("a container was started");
            }
            Some(Asked::Forget(forget)) => drop(self.exited.remove(&forget.container_id)),
            Some(Asked::Hello(_) | Asked::Signal(_) | Asked::Retire(_)) | None => {}
        }
    }

    fn send(&mut self, message: Option<agent_message::Kind>) {
        let Some(agent_message::Kind::Update(update)) = message else { return };
        let status = update.status.unwrap_or_default();
        if status.state().is_terminal() {
            self.reached.insert("a task's end was sent");
            if self.accepted.get(&update.container_id).is_some_and(|start| *start < self.starts) {
                self.reached.insert("a task's end was sent after a restart");
            }
        }
        self.sent.push(internal::Acknowledge {
            framework_id: update.framework_id,
            task_id: status.task_id.value,
            uuid: status.uuid.unwrap_or_default(),
        });
    }

    fn order(&self, script: &mut Script<'_>) -> Order {
        let (framework_id, task_id) = (script.name("f", 2), script.name("t", 4));
        match script.below(10) {
            0 => Order::Registered(Box::new(generate::registered(script))),
            1 => Order::Refused(internal::Refused { text: "no".to_owned(), permanent: script.one_in(2) }),
            2 => {
                let container_id = if script.one_in(2) { script.name("c", 4) } else { String::new() };
                Order::KillTask(internal::KillTask { framework_id, task_id, kill_policy: None, container_id })
            }
            3 => {
                let recent = &self.sent[self.sent.len().saturating_sub(4)..];
                let other = internal::Acknowledge { framework_id, task_id, uuid: vec![1; 16].into() };
                Order::Acknowledge(script.pick(recent).cloned().unwrap_or(other))
            }
            4 => {
                let id = Some(v1::FrameworkId { value: framework_id });
                let info = v1::FrameworkInfo { id, ..v1::FrameworkInfo::new("f") };
                Order::UpdateFramework(Box::new(internal::UpdateFramework { info: Some(info) }))
            }
            5 => Order::ShutdownFramework(internal::ShutdownFramework { framework_id }),
            6 => Order::Ping(internal::Ping {}),
            7 if script.one_in(4) => Order::Gone(internal::Gone {}),
            8 => internal::MasterMessage::decode(script.raw())
                .ok()
                .and_then(|message| message.kind)
                .unwrap_or(Order::Ping(internal::Ping {})),
            _ => generate::run_task(script, framework_id, task_id),
        }
    }
}

fn recover(script: &mut Script<'_>, records: &[AgentRecord], boot_id: &str) -> (Agent, Vec<Effect>) {
    let config = Config {
        info: v1::AgentInfo { hostname: "h".to_owned(), ..Default::default() },
        divvy_version: "0.1.0".to_owned(),
        user: "root".to_owned(),
        sandboxes: "/work/runs".to_owned(),
        retention: Retention { keep_at_most: 2, ..Retention::default() },
        spread_first: std::time::Duration::from_secs(1),
    };
    let mut supervisors = vec![FoundSupervisor { id: ONE, died: false }];
    if script.one_in(4) {
        supervisors.push(FoundSupervisor { id: SupervisorId(1), died: script.one_in(2) });
    }
    let left = (0..script.below(3)).filter_map(|_| ContainerId::parse(&script.name("c", 4)));
    let sandboxes = left.map(|id| (id, 1_000)).collect();
    let loss = script.one_in(4).then(|| "its log is damaged".to_owned());
    let found = Found { boot_id: boot_id.to_owned(), boot_ns: Some(0), supervisors, loss, sandboxes, work_dir: None };
    let mut out = Vec::new();
    let agent = Agent::recover(records, config, found, script.rng(), script.now, &mut out);
    (agent, out)
}

fn message(kind: Order) -> internal::MasterMessage {
    internal::MasterMessage { kind: Some(kind) }
}
