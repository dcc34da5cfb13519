//! An agent hears an acknowledgement only of what a callback took.
//!
//! A state that a callback took from an answer to a reconciliation may be acknowledged when the agent tells it itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::{
    framework::SchedulerEvent,
    proto::internal::{agent_record, master_message},
};

#[derive(Debug, Default)]
pub(super) struct AcknowledgedAfterOk {
    /// What each uuid says: task and state.
    made: BTreeMap<Bytes, (String, i32)>,
    taken: BTreeSet<Bytes>,
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
                        self.made.insert(uuid.clone(), (status.task_id.value.clone(), status.state));
                    }
                }
            }
            Fact::Returned { event: SchedulerEvent::StatusUpdate(status), ok: true, .. } => {
                self.taken.extend(status.uuid.clone());
                self.states.insert((status.task_id.value.clone(), status.state));
            }
            Fact::AgentHeard { agent, message } => {
                let Some(master_message::Kind::Acknowledge(acknowledge)) = &message.kind else { return Ok(()) };
                let uuid = &acknowledge.uuid;
                let told = self.made.get(uuid).is_some_and(|made| self.states.contains(made));
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
