//! The path of a status update: classified, delivered, and acknowledged when the callback returned `Ok`.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Driver,
    deliveries::{DeliveredStatus, PendingCallback},
    input::{Effect, Outcome},
    kills::may_be_killed,
    master_link::Sent,
    status_queues::Enqueued,
    tasks::{Verdict, is_over},
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
    /// The master sent a status, or forwarded one of an agent.
    pub(super) fn status_received(&mut self, now: Now, status: TaskStatus, out: &mut Vec<Effect>) {
        self.answered(&status.task_id.value, out);
        let runs = may_be_killed(status.state()) && self.tasks.is_killed(&status.task_id.value);
        let killed_in_vain = runs.then(|| status.task_id.value.clone());
        self.note_unreachable(now, &status);
        self.on_status(Box::new(status), out);
        if let Some(task_id) = killed_in_vain {
            self.resend_kill(&task_id, out);
        }
    }

    /// Delivers a status, unless it is a repeat or waits behind another one of its task.
    fn on_status(&mut self, status: Box<TaskStatus>, out: &mut Vec<Effect>) {
        let status = match self.status_queues.enqueue(status) {
            Enqueued::Deliver(status) => status,
            Enqueued::Repeat => return self.repeats += 1,
            Enqueued::Waiting => return,
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
                UnknownTasks::Kill if is_over(status.state()) || status.state() == TaskState::TaskKilling => {}
                UnknownTasks::Kill => {
                    self.tasks.kill_unknown(&task_id.value);
                    self.resend_kill(&task_id.value, out);
                }
            }
        }
        self.status_queues.start_delivery(&status);
        self.queue_status(status);
    }

    fn queue_status(&mut self, status: Box<TaskStatus>) {
        let known = self.tasks.is_known(&status.task_id.value);
        self.queue_event(if known {
            SchedulerEvent::StatusUpdate(status)
        } else {
            SchedulerEvent::UnknownTask(status)
        });
    }

    pub(super) fn returned(&mut self, now: Now, callback: u64, outcome: Outcome, out: &mut Vec<Effect>) {
        let Some(PendingCallback::Status(delivered)) = self.deliveries.returned(now, callback) else { return };
        let by_hand = self.options.explicit && {
            let uuid = delivered.status.acknowledgement();
            self.tasks.was_acknowledged(&delivered.task_id.value, uuid)
        };
        match outcome {
            Outcome::Err | Outcome::Panicked if !by_hand => {
                self.status_queues.schedule_redelivery(now, delivered.status);
            }
            Outcome::Ok | Outcome::Err | Outcome::Panicked => self.status_handled(delivered, out),
        }
    }

    /// The user acknowledged a status explicitly.
    pub(super) fn acknowledged(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        self.tasks.acknowledged(&task_id.value, Uuid::from_slice(&uuid).ok());
        self.acknowledge(task_id, agent_id, uuid, out);
    }

    /// Reports a task that was not sent to the master as the master would report it.
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
        self.on_status(Box::new(wire::dropped(now, task, state, reason, message)), out);
    }

    /// The master refused a call, or a part of it. The tasks of a call that it applied in part it reports itself: some
    /// of them may run.
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
            if self.tasks.is_unreported(task_id) {
                let agent_id = self.tasks.agent_of(task_id).unwrap_or_default();
                let task = TaskInfo { task_id: TaskId { value: task_id.to_string() }, agent_id, ..TaskInfo::default() };
                self.drop_task(now, &task, Reason::TaskInvalid, text.to_owned(), out);
            }
        }
    }

    /// Delivers statuses again whose callbacks failed.
    pub(super) fn redeliver(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(status) = self.status_queues.next_due(now) {
            let uuid = status.acknowledgement();
            if self.options.explicit && self.tasks.was_acknowledged(&status.task_id.value, uuid) {
                self.deliver_waiting(&status.task_id, out);
            } else {
                self.queue_status(status);
            }
        }
    }

    /// Delivers the statuses that waited behind a handled one.
    fn deliver_waiting(&mut self, task_id: &TaskId, out: &mut Vec<Effect>) {
        for status in self.status_queues.finish_delivery(&task_id.value) {
            self.on_status(status, out);
        }
    }

    fn status_handled(&mut self, delivered: DeliveredStatus, out: &mut Vec<Effect>) {
        let explicit = self.options.explicit;
        let uuid = delivered.status.acknowledgement();
        self.tasks.handled(&delivered.task_id.value, delivered.state, uuid, !explicit);
        if uuid.is_some() && is_over(delivered.state) {
            // An end from the agent answers every question about the task, also one that is still to be sent.
            self.answered(&delivered.task_id.value, out);
            self.tasks.answered(&delivered.task_id.value);
        }
        if let (false, Some(agent_id), Some(uuid)) = (explicit, delivered.agent_id, delivered.uuid) {
            self.acknowledge(delivered.task_id.clone(), agent_id, uuid, out);
        }
        self.deliver_waiting(&delivered.task_id, out);
    }

    fn acknowledge(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes, out: &mut Vec<Effect>) {
        if self.subscribed() {
            self.send(wire::acknowledge(task_id, agent_id, uuid), 0, Sent::Plain, out);
        } else if self.queued.acknowledge(task_id, agent_id, uuid).is_err() {
            tracing::debug!("acknowledgement dropped, too many wait for a master; the agent resends the status");
        }
    }
}
