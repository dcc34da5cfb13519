//! An agent hears an acknowledgement only of what a callback took.
//!
//! A state that a callback took from an answer to a reconciliation may be acknowledged when the agent tells it itself,
//! and whatever an agent still says of a task whose end was taken.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::{
    framework::SchedulerEvent,
    proto::internal::{agent_record, master_message},
    sim::scheduler::is_last,
};

#[derive(Debug, Default)]
pub(super) struct AcknowledgedAfterOk {
    /// What each uuid says: container, task and state.
    made: BTreeMap<Bytes, (String, (String, i32))>,
    taken: BTreeSet<Bytes>,
    /// Containers whose end was taken.
    ended: BTreeSet<String>,
    /// Tasks whose end was taken from the master, which names no container.
    ended_tasks: BTreeSet<String>,
    states: BTreeSet<(String, i32)>,
}

impl Invariant for AcknowledgedAfterOk {
    fn name(&self) -> &'static str {
        "acknowledged_after_ok"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Wrote { records, .. } => {
                for record in records {
                    if let Some(agent_record::Kind::Status(made)) = &record.kind
                        && let Some(status) = &made.status
                        && let Some(uuid) = &status.uuid
                    {
                        let says = (status.task_id.value.clone(), status.state);
                        self.made.insert(uuid.clone(), (made.container_id.clone(), says));
                    }
                }
            }
            Fact::Returned {
                event: SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status),
                ok: true,
                ..
            } => {
                let made = status.uuid.as_ref().and_then(|uuid| self.made.get(uuid));
                if is_last(status.state()) {
                    self.ended.extend(made.map(|(container, _)| container.clone()));
                    self.ended_tasks.insert(status.task_id.value.clone());
                }
                self.taken.extend(status.uuid.clone());
                self.states.insert((status.task_id.value.clone(), status.state));
            }
            Fact::AgentHeard { agent, message } => {
                let Some(master_message::Kind::Acknowledge(acknowledge)) = &message.kind else { return Ok(()) };
                let uuid = &acknowledge.uuid;
                let told = self.made.get(uuid).is_some_and(|(container, says)| {
                    let over = self.ended.contains(container) || self.ended_tasks.contains(&says.0);
                    over || self.states.contains(says)
                });
                if !self.taken.contains(uuid) && !told {
                    let what = self.made.get(uuid);
                    return Err(format!("agent {agent} hears {what:?} acknowledged, which no callback has taken"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
