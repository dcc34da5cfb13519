//! A task's last status is what its process came to.
//!
//! A supervisor that is just starting a process when the agent comes back does not greet with it: the agent then tells
//! that the launch was cut off, and kills the process as soon as it is there.
//! What nobody could see (the process ended with its supervisor or its host) may be told as failed, lost or gone.

use std::collections::BTreeSet;

use super::{Fact, How, Invariant, Known, Launched};
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
    /// Agents on which an exit may have gone unseen.
    blind: BTreeSet<usize>,
    /// Agents that were restarted at some time.
    restarted: BTreeSet<usize>,
    /// Containers whose last status is written.
    ended: BTreeSet<String>,
}

impl Truth {
    fn cut_off(&self, one: &Launched) -> bool {
        self.restarted.contains(&one.agent)
    }

    fn judge(&self, known: &Known, agent: usize, container: &str, status: &TaskStatus) -> Result<(), String> {
        let (state, task) = (status.state(), &status.task_id.value);
        let Some(one) = known.containers.get(container) else {
            // The order to run it was lost on its way out of the master.
            let never = matches!(state, TaskState::TaskDropped | TaskState::TaskLost);
            return if never {
                Ok(())
            } else {
                Err(format!("{task} is {state:?} as {container}, which was never ordered"))
            };
        };
        if one.runs() && !self.cut_off(one) {
            return Err(format!("{task} is told to be {state:?} while it runs as {container}"));
        }
        let true_of = match (state, one.ended) {
            (TaskState::TaskFinished, how) => how == Some(How::Code(0)),
            (TaskState::TaskKilled, _) => self.killed.contains(task),
            (_, Some(How::Code(0))) => self.blind.contains(&agent) || self.cut_off(one),
            (_, Some(How::Code(_) | How::Signal(_))) => state == TaskState::TaskFailed || self.blind.contains(&agent),
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
            Fact::ProcessEnded { agent, how: How::Torn, .. } => drop(self.blind.insert(*agent)),
            Fact::AgentCrashed { agent, host } => {
                self.restarted.insert(*agent);
                self.blind.extend(host.then_some(*agent));
            }
            Fact::ProcessStarted { agent, container }
                if self.ended.contains(container) && !self.restarted.contains(agent) =>
            {
                return Err(format!("{container} was started after its end was told"));
            }
            Fact::Wrote { agent, records } => {
                for record in records {
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
