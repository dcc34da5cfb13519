//! A status update's way: judged, told, and acknowledged when the callback took it.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    Driver,
    deliveries::{Told, UnderWay},
    input::{Effect, Outcome},
    link::Sent,
    tasks::{Verdict, over, uuid_of},
    wire,
};
use crate::{
    framework::event::SchedulerEvent,
    proto::{
        ext,
        v1::{AgentId, TaskId, TaskInfo, TaskState, TaskStatus, framework_info::capability, task_status::Reason},
    },
    types::Now,
};

/// A status that no agent will send again is told again after this long when the callback did not take it.
const AGAIN: Duration = Duration::from_secs(10);

/// Statuses without a uuid that a callback did not take.
#[derive(Debug, Default)]
pub(super) struct Again {
    statuses: VecDeque<(u64, Box<TaskStatus>)>,
}

impl Again {
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.statuses.front().map(|(due_ns, _)| *due_ns)
    }
}

impl Driver {
    pub(super) fn status(&mut self, status: TaskStatus, out: &mut Vec<Effect>) {
        self.reconciliation.answered(&status.task_id.value);
        match self.tasks.judge(&status) {
            Verdict::Deliver => self.tell(SchedulerEvent::StatusUpdate(Box::new(status))),
            Verdict::Drop => self.repeats += 1,
            Verdict::Acknowledge => {
                self.repeats += 1;
                if let (Some(agent_id), Some(uuid)) = (status.agent_id, status.uuid) {
                    self.acknowledge(status.task_id, agent_id, uuid, out);
                }
            }
        }
    }

    pub(super) fn returned(&mut self, now: Now, callback: u64, outcome: Outcome, out: &mut Vec<Effect>) {
        match self.deliveries.returned(now, callback) {
            Some(UnderWay::Status(told)) => match outcome {
                Outcome::Ok => self.took(told, out),
                Outcome::Err | Outcome::Panicked => self.did_not_take(now, told),
            },
            Some(UnderWay::Other) | None => {}
        }
    }

    /// The user acknowledges by hand.
    pub(super) fn acknowledged(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        self.tasks.acknowledged(&task_id.value, uuid_of(&uuid));
        self.acknowledge(task_id, agent_id, uuid, out);
    }

    /// A task that never got to the master, told as the master would tell it.
    pub(super) fn drop_task(&mut self, now: Now, task: &TaskInfo, reason: Reason, message: String) {
        self.tasks.launched(&task.task_id.value, &task.agent_id);
        let lost = !self.capable_of(capability::Type::PartitionAware);
        let state = if lost { TaskState::TaskLost } else { TaskState::TaskDropped };
        let status = wire::dropped(now, task, state, reason, message);
        if self.tasks.judge(&status) == Verdict::Deliver {
            self.tell(SchedulerEvent::StatusUpdate(Box::new(status)));
        }
    }

    pub(super) fn refused(&mut self, now: Now, refused: ext::Refused) {
        let call = self.link.refused(refused.seq);
        let user_seq = call.as_ref().map_or(0, |call| call.user_seq);
        if let Some(Sent::Launch(task_ids)) = call.map(|call| call.sent) {
            for task_id in
                task_ids.iter().filter(|task_id| self.tasks.only_launched(task_id)).cloned().collect::<Vec<_>>()
            {
                let agent_id = self.tasks.agent_of(&task_id).unwrap_or_default();
                let task = TaskInfo { task_id: TaskId { value: task_id.to_string() }, agent_id, ..TaskInfo::default() };
                let text = format!("refused by the master: {}: {}", refused.field, refused.text);
                self.drop_task(now, &task, Reason::TaskInvalid, text);
            }
        }
        self.refuse(user_seq, &refused.field, refused.text);
    }

    pub(super) fn tell_again(&mut self, now: Now) {
        while let Some((_, status)) = self.again.statuses.pop_front_if(|(due_ns, _)| *due_ns <= now.mono_ns) {
            if self.tasks.take_again(&status.task_id.value, status.state()) {
                self.tell(SchedulerEvent::StatusUpdate(status));
            }
        }
    }

    fn took(&mut self, told: Told, out: &mut Vec<Effect>) {
        let explicit = self.options.explicit;
        let uuid = told.uuid.as_deref().and_then(uuid_of);
        self.tasks.handled(&told.task_id.value, told.state, uuid, !explicit);
        if uuid.is_some() && over(told.state) {
            // That answers every question about the task, also one that waits for a master.
            self.queued.reconcile.remove(&told.task_id);
            self.reconciliation.answered(&told.task_id.value);
            self.tasks.answered(&told.task_id.value);
        }
        if let (false, Some(agent_id), Some(uuid)) = (explicit, told.agent_id, told.uuid) {
            self.acknowledge(told.task_id, agent_id, uuid, out);
        }
    }

    fn did_not_take(&mut self, now: Now, told: Told) {
        let uuid = told.uuid.as_deref().and_then(uuid_of);
        self.tasks.failed(&told.task_id.value, told.state, uuid);
        if let Some(status) = told.status {
            self.again.statuses.push_back((now.mono_after(AGAIN), status));
        }
    }

    fn acknowledge(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        if self.subscribed() {
            self.send(wire::acknowledge(task_id, agent_id, uuid), 0, Sent::Plain, out);
        } else if self.queued.acknowledge(task_id, agent_id, uuid).is_err() {
            tracing::debug!("too many acknowledgements wait; the agent will ask again");
        }
    }
}
