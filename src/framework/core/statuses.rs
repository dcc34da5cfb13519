//! A status update's way: judged, told, and acknowledged when the callback took it.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Driver,
    deliveries::{Told, UnderWay},
    input::{Effect, Outcome},
    kills::may_be_killed,
    lanes::Entrance,
    link::Sent,
    tasks::{Verdict, over},
    wire,
};
use crate::{
    framework::{event::SchedulerEvent, unknown::UnknownTasks},
    proto::{
        ext,
        v1::{AgentId, TaskId, TaskInfo, TaskState, TaskStatus, framework_info::capability, task_status::Reason},
    },
    types::Now,
};

impl Driver {
    /// The master told a status, or passed one on.
    pub(super) fn status(&mut self, now: Now, status: TaskStatus, out: &mut Vec<Effect>) {
        self.answered(&status.task_id.value, out);
        let runs = may_be_killed(status.state()) && self.tasks.is_killed(&status.task_id.value);
        let killed_in_vain = runs.then(|| status.task_id.value.clone());
        self.note_unreachable(now, &status);
        self.news(Box::new(status), out);
        if let Some(task_id) = killed_in_vain {
            self.kill_again(&task_id, out);
        }
    }

    /// Tells a status unless the callback has it, or has one of the same task before it.
    fn news(&mut self, status: Box<TaskStatus>, out: &mut Vec<Effect>) {
        let status = match self.lanes.enter(status) {
            Entrance::Free(status) => status,
            Entrance::Repeat => return self.repeats += 1,
            Entrance::Waits => return,
        };
        match self.tasks.judge(&status) {
            Verdict::Deliver => self.deliver_status(status, out),
            Verdict::Drop => self.repeats += 1,
            Verdict::Acknowledge => {
                self.repeats += 1;
                if let (Some(agent_id), Some(uuid)) = (status.agent_id, status.uuid) {
                    self.acknowledge(status.task_id, agent_id, uuid, out);
                }
            }
        }
    }

    fn deliver_status(&mut self, status: Box<TaskStatus>, out: &mut Vec<Effect>) {
        let task_id = &status.task_id;
        if !self.tasks.is_known(&task_id.value) {
            match self.options.unknown_tasks {
                UnknownTasks::Report => {}
                UnknownTasks::Adopt => self.tasks.claimed(&task_id.value, None),
                UnknownTasks::Kill if over(status.state()) || status.state() == TaskState::TaskKilling => {}
                UnknownTasks::Kill => {
                    self.tasks.kill_unknown(&task_id.value);
                    self.kill_again(&task_id.value, out);
                }
            }
        }
        self.lanes.open(&status);
        self.tell_status(status);
    }

    fn tell_status(&mut self, status: Box<TaskStatus>) {
        let known = self.tasks.is_known(&status.task_id.value);
        self.tell(if known { SchedulerEvent::StatusUpdate(status) } else { SchedulerEvent::UnknownTask(status) });
    }

    pub(super) fn returned(&mut self, now: Now, callback: u64, outcome: Outcome, out: &mut Vec<Effect>) {
        let Some(UnderWay::Status(told)) = self.deliveries.returned(now, callback) else { return };
        let by_hand = self.options.explicit && {
            let uuid = told.status.acknowledgement();
            self.tasks.was_acknowledged(&told.task_id.value, uuid)
        };
        match outcome {
            Outcome::Err | Outcome::Panicked if !by_hand => self.lanes.failed(now, told.status),
            Outcome::Ok | Outcome::Err | Outcome::Panicked => self.took(told, out),
        }
    }

    /// The user acknowledges by hand.
    pub(super) fn acknowledged(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        self.tasks.acknowledged(&task_id.value, Uuid::from_slice(&uuid).ok());
        self.acknowledge(task_id, agent_id, uuid, out);
    }

    /// A task that never got to the master, told as the master would tell it.
    pub(super) fn drop_task(
        &mut self,
        now: Now,
        task: &TaskInfo,
        reason: Reason,
        message: String,
        out: &mut Vec<Effect>,
    ) {
        self.tasks.launched(task);
        let state = TaskState::TaskDropped.for_framework(self.capable_of(capability::Type::PartitionAware));
        self.news(Box::new(wire::dropped(now, task, state, reason, message)), out);
    }

    /// The master did not carry a call out, or not all of it. What it took up it answers for itself, task by task: some of
    /// them may run.
    pub(super) fn refused(&mut self, now: Now, refused: ext::Refused, out: &mut Vec<Effect>) {
        let Some(call) = self.link.refused(refused.seq) else {
            return self.refuse(0, &refused.field, refused.text);
        };
        match call.sent {
            Sent::Accept(task_ids) if !refused.partially_applied => {
                let text = format!("refused by the master: {}: {}", refused.field, refused.text);
                self.drop_refused(now, &task_ids, &text, out);
            }
            Sent::Kill(task_id) => self.tasks.kill_refused(&task_id.value),
            Sent::Accept(_) | Sent::Plain | Sent::Revive(_) | Sent::Teardown => {}
        }
        self.refuse(call.user_seq, &refused.field, refused.text);
    }

    fn drop_refused(&mut self, now: Now, task_ids: &[Arc<str>], text: &str, out: &mut Vec<Effect>) {
        for task_id in task_ids {
            if self.tasks.only_launched(task_id) {
                let agent_id = self.tasks.agent_of(task_id).unwrap_or_default();
                let task = TaskInfo { task_id: TaskId { value: task_id.to_string() }, agent_id, ..TaskInfo::default() };
                self.drop_task(now, &task, Reason::TaskInvalid, text.to_owned(), out);
            }
        }
    }

    /// Tells statuses again whose callbacks did not take them.
    pub(super) fn tell_again(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(status) = self.lanes.next_due(now) {
            let uuid = status.acknowledgement();
            if self.options.explicit && self.tasks.was_acknowledged(&status.task_id.value, uuid) {
                self.go_on(&status.task_id, out);
            } else {
                self.tell_status(status);
            }
        }
    }

    /// What waited behind a status has its turn.
    fn go_on(&mut self, task_id: &TaskId, out: &mut Vec<Effect>) {
        for status in self.lanes.close(&task_id.value) {
            self.news(status, out);
        }
    }

    fn took(&mut self, told: Told, out: &mut Vec<Effect>) {
        let explicit = self.options.explicit;
        let uuid = told.status.acknowledgement();
        self.tasks.handled(&told.task_id.value, told.state, uuid, !explicit);
        if uuid.is_some() && over(told.state) {
            // That answers every question about the task, also one that waits for a master.
            self.answered(&told.task_id.value, out);
            self.tasks.answered(&told.task_id.value);
        }
        if let (false, Some(agent_id), Some(uuid)) = (explicit, told.agent_id, told.uuid) {
            self.acknowledge(told.task_id.clone(), agent_id, uuid, out);
        }
        self.go_on(&told.task_id, out);
    }

    fn acknowledge(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        if self.subscribed() {
            self.send(wire::acknowledge(task_id, agent_id, uuid), 0, Sent::Plain, out);
        } else if self.queued.acknowledge(task_id, agent_id, uuid).is_err() {
            tracing::debug!("too many acknowledgements wait; the agent will ask again");
        }
    }
}
