//! A task's last status matches how its process ended.
//!
//! An unobserved end (with the supervisor or the host) may be reported as failed, lost or gone; so may an end whose record a
//! power cut removed. A task that was started is never reported as dropped.

use std::collections::BTreeSet;

use super::{Fact, How, Invariant, Known};
use crate::{
    framework::core::Request,
    proto::{
        internal::agent_record,
        v1::{TaskState, TaskStatus},
    },
    sim::scheduler::is_last,
};

#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Tasks whose kill was requested.
    killed: BTreeSet<String>,
    /// Containers whose end a power cut removed from their host.
    unrecorded: BTreeSet<String>,
    /// Agents whose hosts went down, until they register again.
    rebooted: BTreeSet<usize>,
    /// Containers whose last status is written.
    ended: BTreeSet<String>,
}

impl Truth {
    fn check_last(&self, known: &Known, agent: usize, container: &str, status: &TaskStatus) -> Result<(), String> {
        let (state, task) = (status.state(), &status.task_id.value);
        let Some(one) = known.containers.get(container) else {
            // The master's order to run it was lost. After a power cut the agent cannot know that.
            let never = matches!(state, TaskState::TaskDropped | TaskState::TaskLost);
            let never = never || (state == TaskState::TaskGone && self.rebooted.contains(&agent));
            return if never {
                Ok(())
            } else {
                Err(format!("{task} is {state:?} as {container}, which was never launched"))
            };
        };
        if one.runs() {
            return Err(format!("{task} is reported {state:?} while it runs as {container}"));
        }
        let unrecorded = self.unrecorded.contains(container);
        let true_of = match (state, one.ended) {
            (TaskState::TaskFinished, how) => how == Some(How::Code(0)),
            (TaskState::TaskKilled, _) => self.killed.contains(task),
            (TaskState::TaskDropped, how) => how.is_none(),
            (_, Some(How::Code(0))) => unrecorded,
            (_, Some(How::Code(_) | How::Signal(_))) => state == TaskState::TaskFailed || unrecorded,
            (_, Some(How::WithSupervisor) | None) => true,
        };
        if true_of { Ok(()) } else { Err(format!("{task} is reported {state:?}, and its process: {:?}", one.ended)) }
    }
}

impl Invariant for Truth {
    fn name(&self) -> &'static str {
        "truth"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Requested { request: Request::Kill { task_id, .. }, .. } => {
                self.killed.insert(task_id.value.clone());
            }
            Fact::AgentCrashed { agent, host, ends_lost } => {
                self.rebooted.extend(host.then_some(*agent));
                self.unrecorded.extend(ends_lost.iter().cloned());
            }
            Fact::EndUnrecorded { container } => {
                self.unrecorded.insert(container.clone());
            }
            Fact::ProcessStarted { container, .. } if self.ended.contains(container) => {
                return Err(format!("{container} was started after its end was recorded"));
            }
            Fact::Wrote { agent, records } => {
                for record in records {
                    if matches!(record.kind, Some(agent_record::Kind::Identity(_))) {
                        self.rebooted.remove(agent);
                    }
                    if let Some(agent_record::Kind::Status(made)) = &record.kind
                        && let Some(status) = made.status.as_ref().filter(|status| is_last(status.state()))
                    {
                        self.check_last(known, *agent, &made.container_id, status)?;
                        self.ended.insert(made.container_id.clone());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
