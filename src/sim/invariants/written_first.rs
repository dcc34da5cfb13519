//! A status is sent, and a process started, only after it was written.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::proto::internal::{agent_message, agent_record};

#[derive(Debug, Default)]
pub(super) struct WrittenFirst {
    statuses: BTreeSet<Bytes>,
    accepted: BTreeSet<String>,
}

impl Invariant for WrittenFirst {
    fn name(&self) -> &'static str {
        "written_first"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Wrote { records, .. } => {
                for record in records {
                    match &record.kind {
                        Some(agent_record::Kind::Status(made)) => {
                            self.statuses.extend(made.status.as_ref().and_then(|status| status.uuid.clone()));
                        }
                        Some(agent_record::Kind::Accepted(accepted)) => {
                            self.accepted.insert(accepted.container_id.clone());
                        }
                        _ => {}
                    }
                }
            }
            Fact::AgentSent { agent, message } => {
                if let Some(agent_message::Kind::Update(update)) = &message.kind
                    && let Some(status) = &update.status
                    && status.uuid.as_ref().is_none_or(|uuid| !self.statuses.contains(uuid))
                {
                    let (task, state) = (&status.task_id.value, status.state());
                    return Err(format!("agent {agent} sent {state:?} of {task} before it was written"));
                }
            }
            Fact::ProcessStarted { agent, container } if !self.accepted.contains(container) => {
                return Err(format!("agent {agent} started {container} before it was written"));
            }
            _ => {}
        }
        Ok(())
    }
}
