//! Generates the messages of masters and supervisors in a script.

use prost::Message as _;

use crate::{
    fuzz::script::Script,
    proto::{
        internal::{
            self, AgentRecord, agent_record::Kind as Recorded, master_message::Kind as Order,
            supervisor_event::Kind as Event,
        },
        v1,
    },
};

pub(super) fn registered(script: &mut Script<'_>) -> internal::Registered {
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

pub(super) fn welcome(script: &mut Script<'_>) -> internal::SupervisorEvent {
    let running = (0..script.below(3)).map(|_| started(script)).collect();
    let exited = (0..script.below(3)).map(|_| exited(script)).collect();
    let starting = (0..script.below(2)).map(|_| script.name("c", 4)).collect();
    let version = if script.one_in(2) { 1 } else { 2 };
    let retired = script.one_in(4);
    let welcome =
        internal::SupervisorWelcome { version, pid: 7, running, exited, starting, retired, ..Default::default() };
    internal::SupervisorEvent { kind: Some(Event::Welcome(welcome)) }
}

pub(super) fn event(script: &mut Script<'_>) -> internal::SupervisorEvent {
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

pub(super) fn started(script: &mut Script<'_>) -> internal::Started {
    internal::Started { container_id: script.name("c", 4), pid: 100, start_time: 1 }
}

pub(super) fn exited(script: &mut Script<'_>) -> internal::Exited {
    let status = match script.below(3) {
        0 => internal::exited::Status::Code(0),
        1 => internal::exited::Status::Signal(9),
        _ => internal::exited::Status::Lost("its supervisor died".to_owned()),
    };
    internal::Exited { container_id: script.name("c", 4), status: Some(status), wall_ns: 1, core_dumped: false }
}

/// The launch of a task; rarely with bytes that are no task.
pub(super) fn run_task(script: &mut Script<'_>, framework_id: String, task_id: String) -> Order {
    let command = v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() };
    let task = v1::TaskInfo {
        name: "t".to_owned(),
        task_id: v1::TaskId { value: task_id },
        command: Some(Box::new(command)),
        ..Default::default()
    };
    let task_info = if script.one_in(8) { script.raw().to_vec() } else { task.encode_to_vec() };
    Order::RunTask(internal::RunTask { framework_id, container_id: script.name("c", 4), task_info: task_info.into() })
}

/// A record as a log may hold it.
pub(super) fn record(script: &mut Script<'_>) -> AgentRecord {
    let container_id = script.name("c", 4);
    let kind = match script.below(10) {
        0 => return AgentRecord::decode(script.raw()).ok().filter(|it| it.kind.is_some()).unwrap_or_else(epoch),
        1 => {
            let identity = internal::Identity {
                agent_id: script.name("S", 2),
                boot_id: script.name("boot", 2),
                ..Default::default()
            };
            Recorded::Identity(identity)
        }
        2 => Recorded::CutOff(i64::try_from(script.below(2_000)).unwrap_or(0) * 1_000_000_000),
        3 => {
            let id = Some(v1::FrameworkId { value: script.name("f", 2) });
            Recorded::Framework(Box::new(v1::FrameworkInfo { id, ..v1::FrameworkInfo::new("f") }))
        }
        4 => Recorded::FrameworkForgotten(script.name("f", 2)),
        5 => {
            let (framework_id, task_id) = (script.name("f", 2), script.name("t", 4));
            let Order::RunTask(run) = run_task(script, framework_id.clone(), task_id) else { return epoch() };
            let task_info = run.task_info;
            let parent_id = script.one_in(4).then(|| script.name("c", 4));
            Recorded::Accepted(internal::TaskAccepted { framework_id, container_id, task_info, wall_ns: 1, parent_id })
        }
        6 => Recorded::Started(internal::Started { container_id, pid: 100, start_time: 1 }),
        7 => {
            let all = [v1::TaskState::TaskRunning, v1::TaskState::TaskFinished, v1::TaskState::TaskFailed];
            let uuid = Some(vec![u8::try_from(script.below(4)).unwrap_or(0); 16].into());
            let status = v1::TaskStatus { state: all[script.below(3)].into(), uuid, ..Default::default() };
            Recorded::Status(Box::new(internal::StatusMade { container_id, status: Some(status) }))
        }
        8 => {
            let uuid = vec![u8::try_from(script.below(4)).unwrap_or(0); 16].into();
            Recorded::Acknowledged(internal::StatusAcknowledged { container_id, uuid })
        }
        _ if script.one_in(2) => Recorded::Forgotten(container_id),
        _ if script.one_in(4) => Recorded::StartsGoTo(script.name("folder", 2)),
        _ if script.one_in(4) => Recorded::SupervisorEnded(script.name("folder", 2)),
        _ => {
            let grace_ms = [0, 3_000, u64::MAX][script.below(3)];
            Recorded::Kill(internal::KillAsked { container_id, grace_ms, wall_ns: 1, reason: None })
        }
    };
    AgentRecord { kind: Some(kind), ..Default::default() }
}

fn epoch() -> AgentRecord {
    AgentRecord { kind: Some(Recorded::Epoch(1)), ..Default::default() }
}
