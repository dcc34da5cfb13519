//! A scheduler receives a task's statuses in the order the agent made them, its end once, and nothing after it.
//!
//! The end is redelivered only after a callback failed, to a new instance, or in answer to RECONCILE. A state that the
//! master infers (lost, unreachable, unknown) does not count as the task's end.
//!
//! Another end may follow once no part knows the first: a power cut removed it from its host, and the masters that received
//! it and the framework's instance that accepted it have ended.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::{
    framework::{SchedulerEvent, core::Request},
    master::core::Report,
    proto::{
        internal::agent_record,
        v1::{TaskState, TaskStatus},
    },
    sim::scheduler::is_last,
};

#[derive(Debug, Default)]
pub(super) struct StatusOrder {
    /// The position of each status among those of its container.
    made: BTreeMap<Bytes, (String, usize)>,
    count: BTreeMap<String, usize>,
    lives: BTreeMap<usize, u64>,
    /// Containers whose end a power cut removed from their host.
    lost: BTreeSet<String>,
    /// The epoch of the last master that received a container's end.
    received_epoch: BTreeMap<String, u64>,
    /// The statuses that callbacks received, by framework and task.
    tasks: BTreeMap<(usize, String), TaskStatuses>,
}

#[derive(Debug, Default)]
struct TaskStatuses {
    life: u64,
    /// The position of the last status received in this life, per container.
    position: BTreeMap<String, usize>,
    /// The uuids accepted in this life.
    taken: BTreeSet<Bytes>,
    /// The end that the agent reported and a callback accepted, in any life, and its container.
    end: Option<(TaskState, String)>,
    /// Whether the end was accepted in this life.
    end_taken: bool,
    reconciled: bool,
}

impl StatusOrder {
    fn of(&mut self, framework: usize, life: u64, task: &str) -> &mut TaskStatuses {
        let seen = self.tasks.entry((framework, task.to_owned())).or_default();
        if seen.life != life {
            *seen = TaskStatuses { life, end: seen.end.take(), ..TaskStatuses::default() };
        }
        seen
    }

    /// Whether this may be the end that a power cut removed later, and is not inferred from the loss.
    fn is_first(&self, container: &str, state: TaskState) -> bool {
        let inferred = matches!(state, TaskState::TaskGone | TaskState::TaskLost | TaskState::TaskDropped);
        is_last(state) && !(inferred && self.lost.contains(container))
    }

    /// Whether no running part except the framework knows the end of a container.
    fn is_forgotten(&self, known: &Known, container: &str) -> bool {
        self.lost.contains(container) && self.received_epoch.get(container).is_none_or(|epoch| *epoch < known.epoch)
    }

    fn callback_started(
        &mut self,
        known: &Known,
        framework: usize,
        life: u64,
        status: &TaskStatus,
    ) -> Result<(), String> {
        let task = status.task_id.value.clone();
        let state = status.state();
        let made = status.uuid.as_ref().map(|uuid| (uuid.clone(), self.made.get(uuid).cloned()));
        let seen = self.of(framework, life, &task);
        let (end, in_this_life) = (seen.end.clone(), seen.end_taken);
        if let Some((end, container)) = end.filter(|(end, _)| *end != state)
            && (in_this_life || !self.is_forgotten(known, &container))
        {
            return Err(format!("{task}: {state:?} is delivered after its end, {end:?}"));
        }
        let seen = self.of(framework, life, &task);
        if seen.end_taken && !(seen.reconciled && status.uuid.is_none()) {
            return Err(format!("{task}: its end {state:?} is redelivered after the callback accepted it"));
        }
        let Some((uuid, made)) = made else { return Ok(()) };
        let Some((container, position)) = made else {
            return Err(format!("{task}: {state:?} was never made by an agent"));
        };
        if seen.taken.contains(&uuid) {
            return Err(format!("{task}: {state:?} is redelivered after the callback accepted it"));
        }
        let last = seen.position.insert(container, position);
        if last.is_some_and(|last| last > position) {
            return Err(format!("{task}: {state:?} is delivered after a later status"));
        }
        Ok(())
    }
}

impl Invariant for StatusOrder {
    fn name(&self) -> &'static str {
        "status_order"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Wrote { records, .. } => {
                for record in records {
                    let Some(agent_record::Kind::Status(made)) = &record.kind else { continue };
                    let Some(uuid) = made.status.as_ref().and_then(|status| status.uuid.clone()) else { continue };
                    let count = self.count.entry(made.container_id.clone()).or_default();
                    *count += 1;
                    self.made.insert(uuid, (made.container_id.clone(), *count));
                }
            }
            Fact::AgentCrashed { ends_lost, .. } => self.lost.extend(ends_lost.iter().cloned()),
            Fact::Reported { report: Report::Updated(update), .. }
                if self.is_first(&update.container.to_string(), update.latest) =>
            {
                self.received_epoch.insert(update.container.to_string(), known.epoch);
            }
            Fact::Reported { report: Report::Register(register), .. } => {
                for task in &register.tasks {
                    if self.is_first(&task.container.to_string(), task.state) {
                        self.received_epoch.insert(task.container.to_string(), known.epoch);
                    }
                }
            }
            Fact::DriverStarted { framework, life } => drop(self.lives.insert(*framework, *life)),
            Fact::Requested { framework, request: Request::Reconcile { tasks } } => {
                let life = self.lives.get(framework).copied().unwrap_or_default();
                for (task, _) in tasks {
                    self.of(*framework, life, &task.value).reconciled = true;
                }
            }
            Fact::CallbackStarted { framework, life, event: SchedulerEvent::StatusUpdate(status) } => {
                self.callback_started(known, *framework, *life, status)?;
            }
            Fact::CallbackReturned { framework, life, event: SchedulerEvent::StatusUpdate(status), ok: true } => {
                let state = status.state();
                let made = status.uuid.as_ref().and_then(|uuid| self.made.get(uuid)).cloned();
                let seen = self.of(*framework, *life, &status.task_id.value);
                seen.taken.extend(status.uuid.clone());
                if let Some((container, _)) = made.filter(|_| is_last(state)) {
                    seen.end = Some((state, container));
                    seen.end_taken = true;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
