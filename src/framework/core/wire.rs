//! Constructors of calls and statuses.

use bytes::Bytes;

use crate::{
    proto::v1::{
        self, AgentId, FrameworkId, OfferId, TaskId, TaskState, TaskStatus,
        scheduler::{Call, call},
        task_status::{Reason, Source},
    },
    types::Now,
};

/// A call of this framework without a body.
pub(super) fn bare(framework_id: Option<&FrameworkId>, kind: call::Type) -> Call {
    Call { framework_id: framework_id.cloned(), r#type: Some(kind as i32), ..Call::default() }
}

pub(super) fn accept(
    offer_ids: Vec<OfferId>,
    operations: Vec<v1::offer::Operation>,
    filters: Option<v1::Filters>,
) -> Call {
    let accept = Some(Box::new(call::Accept { offer_ids, operations, filters }));
    Call { accept, ..bare(None, call::Type::Accept) }
}

pub(super) fn decline(offer_ids: Vec<OfferId>, filters: Option<v1::Filters>) -> Call {
    Call { decline: Some(call::Decline { offer_ids, filters }), ..bare(None, call::Type::Decline) }
}

pub(super) fn kill(task_id: TaskId, agent_id: Option<AgentId>, kill_policy: Option<v1::KillPolicy>) -> Call {
    Call { kill: Some(call::Kill { task_id, agent_id, kill_policy }), ..bare(None, call::Type::Kill) }
}

pub(super) fn acknowledge(task_id: TaskId, agent_id: AgentId, uuid: Bytes) -> Call {
    let acknowledge = Some(call::Acknowledge { agent_id, task_id, uuid });
    Call { acknowledge, ..bare(None, call::Type::Acknowledge) }
}

pub(super) fn reconcile(tasks: Vec<call::reconcile::Task>) -> Call {
    Call { reconcile: Some(call::Reconcile { tasks }), ..bare(None, call::Type::Reconcile) }
}

pub(super) fn revive(roles: Vec<String>) -> Call {
    Call { revive: Some(call::Revive { roles }), ..bare(None, call::Type::Revive) }
}

pub(super) fn suppress(roles: Vec<String>) -> Call {
    Call { suppress: Some(call::Suppress { roles }), ..bare(None, call::Type::Suppress) }
}

pub(super) fn request(requests: Vec<v1::Request>) -> Call {
    Call { request: Some(call::Request { requests }), ..bare(None, call::Type::Request) }
}

pub(super) fn message(agent_id: AgentId, executor_id: v1::ExecutorId, data: Bytes) -> Call {
    let message = Some(call::Message { agent_id, executor_id, data });
    Call { message, ..bare(None, call::Type::Message) }
}

/// The status that the master would send for a task that never reached an agent.
pub(super) fn dropped(now: Now, task: &v1::TaskInfo, state: TaskState, reason: Reason, message: String) -> TaskStatus {
    TaskStatus {
        task_id: task.task_id.clone(),
        state: state as i32,
        message: Some(message),
        source: Some(Source::Master as i32),
        reason: Some(reason as i32),
        agent_id: Some(task.agent_id.clone()).filter(|agent_id| !agent_id.value.is_empty()),
        timestamp: Some(now.wall_secs()),
        ..TaskStatus::default()
    }
}

/// The tasks that an operation launches.
pub(super) fn launched(operation: &mut v1::offer::Operation) -> Option<&mut Vec<v1::TaskInfo>> {
    if let Some(launch) = &mut operation.launch {
        return Some(&mut launch.task_infos);
    }
    operation.launch_group.as_mut().map(|group| &mut group.task_group.tasks)
}
