//! Logs that earlier builds wrote are read correctly.

use prost::Message as _;
use prost::bytes::Bytes;

use super::*;
use crate::proto::internal::{Identity, KillAsked, Started, StatusAcknowledged, StatusMade, TaskAccepted};
use crate::proto::v1::{FrameworkId, FrameworkInfo, TaskId, TaskInfo, TaskState, TaskStatus};

/// One record of each kind.
fn records() -> Vec<AgentRecord> {
    let task = TaskInfo { name: "n".to_owned(), task_id: TaskId { value: "t".to_owned() }, ..TaskInfo::default() };
    let container_id = || "c".to_owned();
    let status = TaskStatus {
        task_id: TaskId { value: "t".to_owned() },
        state: TaskState::TaskRunning as i32,
        uuid: Some(Bytes::from_static(&[7; 16])),
        timestamp: Some(1.5),
        ..TaskStatus::default()
    };
    let framework = FrameworkInfo {
        user: "u".to_owned(),
        name: "f".to_owned(),
        id: Some(FrameworkId { value: "F".to_owned() }),
        ..FrameworkInfo::default()
    };
    let kinds = [
        Kind::Identity(Identity { agent_id: "S0".to_owned(), boot_id: "boot".to_owned(), ..Default::default() }),
        Kind::Epoch(300),
        Kind::Framework(Box::new(framework)),
        Kind::Accepted(TaskAccepted {
            framework_id: "F".to_owned(),
            container_id: container_id(),
            task_info: Bytes::from(task.encode_to_vec()),
            wall_ns: 1_700_000_000_000_000_000,
            parent_id: None,
        }),
        Kind::Started(Started { container_id: container_id(), pid: 4321, start_time: 99 }),
        Kind::Status(Box::new(StatusMade { container_id: container_id(), status: Some(status) })),
        Kind::Acknowledged(StatusAcknowledged { container_id: container_id(), uuid: Bytes::from_static(&[7; 16]) }),
        Kind::Kill(KillAsked { container_id: container_id(), grace_ms: 3_000, wall_ns: 5, reason: Some(10) }),
        Kind::CutOff(1_700_000_000_000_000_001),
        Kind::Forgotten(container_id()),
        Kind::FrameworkForgotten("F".to_owned()),
    ];
    kinds.into_iter().map(|kind| AgentRecord { kind: Some(kind), ..AgentRecord::default() }).collect()
}

#[test]
fn the_samples_of_every_version_are_read_and_the_newest_is_what_is_written() {
    let sample = crate::agent::ending::sample("agent-log-1", || written(&records()));
    let (_directory, again) = opened(&sample);
    assert_eq!((again.records, again.damage, again.torn_bytes), (records(), None, 0));
    assert_eq!(written(&records()), sample, "the format has changed: it needs a new version and a new sample");
}
