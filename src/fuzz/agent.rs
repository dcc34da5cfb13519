//! The agent's core and the master's frames.
//!
//! The script is the master, the supervisors, the disk and the host at once; what the core asks for is answered late,
//! wrongly or never. At the end, and at times in between, the agent starts again from a prefix of what it wrote.

use prost::Message as _;

use super::script::Script;
use crate::{
    agent::core::{
        Agent, Config, ContainerId, Effect, Found, FoundSupervisor, Input, Retention, SessionId, SupervisorId,
    },
    proto::{
        internal::{self, AgentRecord, master_message::Kind as Said, supervisor_event::Kind as Event},
        v1,
    },
};

/// An agent that starts with these records.
pub(super) fn begin_with(records: &[AgentRecord]) {
    let mut script = Script::new(&[]);
    let (mut agent, mut out) = recover(&mut script, records, "boot0");
    agent.check();
    agent.handle(script.now, Input::SupervisorEnded { supervisor: SupervisorId(0) }, &mut out);
    agent.check();
}

/// A frame of a master, to an agent that is registered.
pub(super) fn frame(bytes: &[u8]) {
    let Ok(frame) = internal::MasterFrame::decode(bytes) else { return };
    let mut script = Script::new(&[]);
    let mut play = Play::begin(&mut script);
    play.register(&mut script);
    for message in frame.messages {
        let session = play.session;
        play.handle(&script, Input::Received { session, message });
    }
    play.restart(&mut script);
}

/// Plays a script on a core.
pub(super) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut play = Play::begin(&mut script);
    while script.goes_on() {
        play.step(&mut script);
    }
    play.restart(&mut script);
}

struct Play {
    core: Agent,
    session: SessionId,
    /// Everything ever persisted since the last start, after what that start found.
    records: Vec<AgentRecord>,
    boot: usize,
}

fn recover(script: &mut Script<'_>, records: &[AgentRecord], boot_id: &str) -> (Agent, Vec<Effect>) {
    let config = Config {
        info: v1::AgentInfo { hostname: "h".to_owned(), ..Default::default() },
        divvy_version: "0.1.0".to_owned(),
        user: "root".to_owned(),
        sandboxes: "/work/runs".to_owned(),
        retention: Retention::default(),
        spread_first: std::time::Duration::from_secs(1),
    };
    let supervisor = FoundSupervisor { id: SupervisorId(0), died: false };
    let found = Found { boot_id: boot_id.to_owned(), supervisors: vec![supervisor], ..Found::default() };
    let mut out = Vec::new();
    let agent = Agent::recover(records, config, found, script.rng(), script.now, &mut out);
    (agent, out)
}

impl Play {
    fn begin(script: &mut Script<'_>) -> Self {
        let (core, out) = recover(script, &[], "boot0");
        let mut play = Self { core, session: SessionId(0), records: Vec::new(), boot: 0 };
        play.heed(out);
        play
    }

    /// The process or the host ends, and what is left of the log is any prefix.
    fn restart(&mut self, script: &mut Script<'_>) {
        let left = self.records.len() - script.below(self.records.len().min(8) + 1);
        self.records.truncate(left);
        self.boot += usize::from(script.one_in(3));
        let (core, out) = recover(script, &self.records, &format!("boot{}", self.boot));
        self.core = core;
        self.heed(out);
        self.core.check();
    }

    fn register(&mut self, script: &mut Script<'_>) {
        let event = welcome(script);
        self.handle(script, Input::Supervised { supervisor: SupervisorId(0), event });
        for _ in 0..4 {
            if let Some(at) = self.core.deadline() {
                script.now.mono_ns = script.now.mono_ns.max(at);
            }
            self.handle(script, Input::Tick);
        }
        self.handle(script, Input::Attached { session: self.session });
        let said = Said::Registered(Box::new(registered(script)));
        self.handle(script, Input::Received { session: self.session, message: message(said) });
    }

    fn step(&mut self, script: &mut Script<'_>) {
        script.wait();
        let session = if script.one_in(8) { SessionId(script.below(4) as u64) } else { self.session };
        let supervisor = SupervisorId(u32::from(script.one_in(2)));
        let container = ContainerId::parse(&script.name("c", 4));
        let input = match (script.below(16), container) {
            (0, _) => return self.restart(script),
            (1, _) => Input::Attached { session },
            (2, _) => Input::Detached { session },
            (3, _) => Input::Tick,
            (4, _) => Input::SupervisorLost { supervisor, text: "killed".to_owned() },
            (5, _) => Input::SupervisorEnded { supervisor },
            (6, Some(container)) => Input::SandboxMade { container },
            (7, Some(container)) => Input::SandboxFailed { container, text: "no room".to_owned() },
            (8, _) => return self.register(script),
            (9, _) if script.one_in(4) => Input::ShutDown,
            (9 | 10, _) => Input::Supervised { supervisor, event: event(script) },
            _ => Input::Received { session, message: message(said(script)) },
        };
        self.handle(script, input);
    }

    fn handle(&mut self, script: &Script<'_>, input: Input) {
        let mut out = Vec::new();
        self.core.handle(script.now, input, &mut out);
        self.core.check();
        self.heed(out);
    }

    fn heed(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { records, .. } => self.records.extend(records),
                Effect::Attach { session, .. } => self.session = session,
                _ => {}
            }
        }
    }
}

fn message(kind: Said) -> internal::MasterMessage {
    internal::MasterMessage { kind: Some(kind) }
}

fn said(script: &mut Script<'_>) -> Said {
    let (framework_id, task_id) = (script.name("f", 2), script.name("t", 4));
    match script.below(10) {
        0 => Said::Registered(Box::new(registered(script))),
        1 => Said::Refused(internal::Refused { text: "no".to_owned(), permanent: script.one_in(2) }),
        2 => {
            let container_id = if script.one_in(2) { script.name("c", 4) } else { String::new() };
            Said::KillTask(internal::KillTask { framework_id, task_id, kill_policy: None, container_id })
        }
        3 => Said::Acknowledge(internal::Acknowledge { framework_id, task_id, uuid: script.raw().to_vec().into() }),
        4 => {
            let id = Some(v1::FrameworkId { value: framework_id });
            let info = v1::FrameworkInfo { id, ..v1::FrameworkInfo::new("f") };
            Said::UpdateFramework(Box::new(internal::UpdateFramework { info: Some(info) }))
        }
        5 => Said::ShutdownFramework(internal::ShutdownFramework { framework_id }),
        6 => Said::Ping(internal::Ping {}),
        7 if script.one_in(4) => Said::Gone(internal::Gone {}),
        8 => internal::MasterMessage::decode(script.raw())
            .ok()
            .and_then(|message| message.kind)
            .unwrap_or(Said::Ping(internal::Ping {})),
        _ => {
            let command = v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() };
            let task = v1::TaskInfo {
                name: "t".to_owned(),
                task_id: v1::TaskId { value: task_id },
                command: Some(Box::new(command)),
                ..Default::default()
            };
            let task_info = if script.one_in(8) { script.raw().to_vec() } else { task.encode_to_vec() };
            Said::RunTask(internal::RunTask {
                framework_id,
                container_id: script.name("c", 4),
                task_info: task_info.into(),
            })
        }
    }
}

fn registered(script: &mut Script<'_>) -> internal::Registered {
    let missing = (0..script.below(3)).map(|_| internal::MissingTask {
        framework_id: script.name("f", 2),
        task_id: script.name("t", 4),
        container_id: script.name("c", 4),
        state: v1::TaskState::TaskDropped.into(),
    });
    internal::Registered {
        version: 1,
        agent_id: "S0".to_owned(),
        master_id: "m".to_owned(),
        missing: missing.collect(),
        epoch: script.below(3) as u64 + 1,
        ping_timeout_ms: 75_000,
        removed_frameworks: (0..script.below(2)).map(|_| script.name("f", 2)).collect(),
    }
}

fn welcome(script: &mut Script<'_>) -> internal::SupervisorEvent {
    let running = (0..script.below(3)).map(|_| started(script)).collect();
    let exited = (0..script.below(3)).map(|_| exited(script)).collect();
    let starting = (0..script.below(2)).map(|_| script.name("c", 4)).collect();
    let version = if script.one_in(2) { 1 } else { 2 };
    let retired = script.one_in(4);
    let welcome =
        internal::SupervisorWelcome { version, pid: 7, running, exited, starting, retired, build: String::new() };
    internal::SupervisorEvent { kind: Some(Event::Welcome(welcome)) }
}

fn event(script: &mut Script<'_>) -> internal::SupervisorEvent {
    let kind = match script.below(5) {
        0 => return welcome(script),
        1 => return internal::SupervisorEvent::decode(script.raw()).unwrap_or_default(),
        2 => Event::Started(started(script)),
        3 => {
            let container_id = script.name("c", 4);
            Event::StartFailed(internal::StartFailed { container_id, step: "execute".to_owned(), errno: 2 })
        }
        _ => Event::Exited(exited(script)),
    };
    internal::SupervisorEvent { kind: Some(kind) }
}

fn started(script: &mut Script<'_>) -> internal::Started {
    internal::Started { container_id: script.name("c", 4), pid: 100, start_time: 1 }
}

fn exited(script: &mut Script<'_>) -> internal::Exited {
    let status = match script.below(3) {
        0 => internal::exited::Status::Code(0),
        1 => internal::exited::Status::Signal(9),
        _ => internal::exited::Status::Lost("its supervisor died".to_owned()),
    };
    internal::Exited { container_id: script.name("c", 4), status: Some(status), wall_ns: 1, core_dumped: false }
}
