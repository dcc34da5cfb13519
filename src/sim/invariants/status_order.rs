//! A scheduler sees a task's statuses in the order the agent made them, its end once, and nothing else after it.
//!
//! The end is told again only to a callback that did not take it, to a successor, or in answer to a question. A state
//! that the master says of its own (lost, unreachable, unknown) is no end of the task's own making.
//!
//! Another end may follow where nobody is left that knows the first: a power cut took it from its host, the masters that
//! had heard of it have ended, and so has the run of the framework that took it.

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
    /// Each status' place among those of its container.
    made: BTreeMap<Bytes, (String, usize)>,
    count: BTreeMap<String, usize>,
    lives: BTreeMap<usize, u64>,
    /// Containers whose end a power cut took from their host.
    lost: BTreeSet<String>,
    /// The epoch of the last master that heard of a container's end.
    heard: BTreeMap<String, u64>,
    /// What callbacks took, by framework and task.
    seen: BTreeMap<(usize, String), Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    life: u64,
    /// The last place told in this life, per container.
    place: BTreeMap<String, usize>,
    /// Taken in this life.
    taken: BTreeSet<Bytes>,
    /// The end that the agent told and a callback took, in any life, and its container.
    end: Option<(TaskState, String)>,
    /// In this life.
    end_taken: bool,
    asked: bool,
}

impl StatusOrder {
    fn of(&mut self, framework: usize, life: u64, task: &str) -> &mut Seen {
        let seen = self.seen.entry((framework, task.to_owned())).or_default();
        if seen.life != life {
            *seen = Seen { life, end: seen.end.take(), ..Seen::default() };
        }
        seen
    }

    /// Whether this may be the end that a power cut took later, and is not what the agent made of its loss.
    fn is_first(&self, container: &str, state: TaskState) -> bool {
        let guessed = matches!(state, TaskState::TaskGone | TaskState::TaskLost | TaskState::TaskDropped);
        is_last(state) && !(guessed && self.lost.contains(container))
    }

    /// Whether no part that runs knows the end of a container, its framework's run aside.
    fn forgotten(&self, known: &Known, container: &str) -> bool {
        self.lost.contains(container) && self.heard.get(container).is_none_or(|epoch| *epoch < known.epoch)
    }

    fn given(&mut self, known: &Known, framework: usize, life: u64, status: &TaskStatus) -> Result<(), String> {
        let task = status.task_id.value.clone();
        let state = status.state();
        let made = status.uuid.as_ref().map(|uuid| (uuid.clone(), self.made.get(uuid).cloned()));
        let seen = self.of(framework, life, &task);
        let (end, in_this_life) = (seen.end.clone(), seen.end_taken);
        if let Some((end, container)) = end.filter(|(end, _)| *end != state)
            && (in_this_life || !self.forgotten(known, &container))
        {
            return Err(format!("{task}: {state:?} is told after its end, {end:?}"));
        }
        let seen = self.of(framework, life, &task);
        if seen.end_taken && !(seen.asked && status.uuid.is_none()) {
            return Err(format!("{task}: its end {state:?} is told again after the callback took it"));
        }
        let Some((uuid, made)) = made else { return Ok(()) };
        let Some((container, place)) = made else {
            return Err(format!("{task}: {state:?} was never made by an agent"));
        };
        if seen.taken.contains(&uuid) {
            return Err(format!("{task}: {state:?} is told again after the callback took it"));
        }
        let last = seen.place.insert(container, place);
        if last.is_some_and(|last| last > place) {
            return Err(format!("{task}: {state:?} is told after a later status"));
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
                self.heard.insert(update.container.to_string(), known.epoch);
            }
            Fact::Reported { report: Report::Register(register), .. } => {
                for task in &register.tasks {
                    if self.is_first(&task.container.to_string(), task.state) {
                        self.heard.insert(task.container.to_string(), known.epoch);
                    }
                }
            }
            Fact::DriverStarted { framework, life } => drop(self.lives.insert(*framework, *life)),
            Fact::Asked { framework, request: Request::Reconcile { tasks } } => {
                let life = self.lives.get(framework).copied().unwrap_or_default();
                for (task, _) in tasks {
                    self.of(*framework, life, &task.value).asked = true;
                }
            }
            Fact::Given { framework, life, event: SchedulerEvent::StatusUpdate(status) } => {
                self.given(known, *framework, *life, status)?;
            }
            Fact::Returned { framework, life, event: SchedulerEvent::StatusUpdate(status), ok: true } => {
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
