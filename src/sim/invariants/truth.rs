//! A task's last status is what its process came to.
//!
//! What nobody could see (the process ended with its supervisor or its host) may be told as failed, lost or gone; so may
//! an end of which a power cut left no record. What was started is never told to have been dropped on its way.

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
    /// Tasks somebody wanted to kill.
    killed: BTreeSet<String>,
    /// Containers whose end a power cut took from their host.
    unseen: BTreeSet<String>,
    /// Agents whose hosts went down, until a master has heard what is left.
    rebooted: BTreeSet<usize>,
    /// Containers whose last status is written.
    ended: BTreeSet<String>,
}

impl Truth {
    fn judge(&self, known: &Known, agent: usize, container: &str, status: &TaskStatus) -> Result<(), String> {
        let (state, task) = (status.state(), &status.task_id.value);
        let Some(one) = known.containers.get(container) else {
            // The order to run it was lost on its way out of the master. After a power cut the agent cannot know that.
            let never = matches!(state, TaskState::TaskDropped | TaskState::TaskLost);
            let never = never || (state == TaskState::TaskGone && self.rebooted.contains(&agent));
            return if never {
                Ok(())
            } else {
                Err(format!("{task} is {state:?} as {container}, which was never ordered"))
            };
        };
        if one.runs() {
            return Err(format!("{task} is told to be {state:?} while it runs as {container}"));
        }
        let unseen = self.unseen.contains(container);
        let true_of = match (state, one.ended) {
            (TaskState::TaskFinished, how) => how == Some(How::Code(0)),
            (TaskState::TaskKilled, _) => self.killed.contains(task),
            (TaskState::TaskDropped, how) => how.is_none(),
            (_, Some(How::Code(0))) => unseen,
            (_, Some(How::Code(_) | How::Signal(_))) => state == TaskState::TaskFailed || unseen,
            (_, Some(How::Torn) | None) => true,
        };
        if true_of { Ok(()) } else { Err(format!("{task} is told to be {state:?}, and its process: {:?}", one.ended)) }
    }
}

impl Invariant for Truth {
    fn name(&self) -> &'static str {
        "truth"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Asked { request: Request::Kill { task_id, .. }, .. } => {
                self.killed.insert(task_id.value.clone());
            }
            Fact::AgentCrashed { agent, host, ends_lost } => {
                self.rebooted.extend(host.then_some(*agent));
                self.unseen.extend(ends_lost.iter().cloned());
            }
            Fact::EndUnseen { container } => {
                self.unseen.insert(container.clone());
            }
            Fact::ProcessStarted { container, .. } if self.ended.contains(container) => {
                return Err(format!("{container} was started after its end was told"));
            }
            Fact::Wrote { agent, records } => {
                for record in records {
                    if matches!(record.kind, Some(agent_record::Kind::Identity(_))) {
                        self.rebooted.remove(agent);
                    }
                    if let Some(agent_record::Kind::Status(made)) = &record.kind
                        && let Some(status) = made.status.as_ref().filter(|status| is_last(status.state()))
                    {
                        self.judge(known, *agent, &made.container_id, status)?;
                        self.ended.insert(made.container_id.clone());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
