//! Containers that no supervisor reports any more. None is reported as ended before all its processes have ended.
//!
//! A container of the previous run may still run although its supervisor's folder or record is gone. The shell looks
//! for its processes and kills them; only its answer ends the container. Until then the task keeps its last known
//! state.

use super::{Phase, Process};
use crate::agent::core::tasks::statuses::Report;
use crate::agent::core::{Agent, ContainerId, Effect};
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

/// A container that may have left processes behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its id.
    pub container: ContainerId,
    /// Its first process, where that was recorded.
    pub process: Option<Process>,
}

impl Agent {
    /// Looks for processes of containers that no supervisor named, once each supervisor has greeted or died.
    pub(in crate::agent::core) fn look_for_leftovers(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.supervisors.may_have_more() {
            return;
        }
        let unresolved =
            |_: &ContainerId, container: &super::Container| matches!(container.phase, Phase::Unresolved(_));
        let unresolved = self.containers.ids(unresolved);
        if self.host_restarted() {
            for id in unresolved {
                self.end_unresolved(now, &id, out);
            }
            return self.supervisors.recipients.forget_missing(out);
        }
        if unresolved.is_empty() {
            return self.supervisors.recipients.forget_missing(out);
        }
        let searched = &mut self.supervisors.searched;
        let unresolved: Vec<_> = unresolved.into_iter().filter(|id| searched.insert(id.clone())).collect();
        if unresolved.is_empty() {
            return;
        }
        let process = |id: &ContainerId| match self.containers.get(id).map(|container| &container.phase) {
            Some(Phase::Unresolved(process)) => *process,
            Some(_) | None => None,
        };
        let leftovers = unresolved.iter().map(|id| Leftover { container: id.clone(), process: process(id) });
        out.push(Effect::EndLeftovers { leftovers: leftovers.collect() });
    }

    /// No process of these containers is left.
    pub(in crate::agent::core) fn leftovers_ended(
        &mut self,
        now: Now,
        containers: &[ContainerId],
        out: &mut Vec<Effect>,
    ) {
        for id in containers {
            if self.supervisors.searched.remove(id) {
                self.end_unresolved(now, id, out);
            }
        }
        self.attach_once_answered(now, out);
    }

    fn end_unresolved(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(container) = self.containers.get(id) else { return };
        let Phase::Unresolved(process) = &container.phase else { return };
        let latest = self.tasks.get(id).map_or(TaskState::TaskStaging, |task| task.latest);
        let started = process.is_some() || latest != TaskState::TaskStaging;
        let is_known = started || !self.supervisors.recipients.has_unknown();
        let unknown = |loss: &str| format!("{loss}; what became of the task is not known");
        let lost = || self.lost_with_previous_run(id, unknown);
        let report = match &container.kill {
            Some(kill) if !started && is_known => kill.before_start(&container.limits),
            Some(_) | None if let Some(lost) = lost() => lost,
            Some(_) | None if !is_known => {
                let state = self.lost_state_of(id, TaskState::TaskGone);
                let text = "a supervisor that may have started it is not there any more; whether it ran is not known";
                Report::by_agent(state, Reason::AgentRestarted, text.to_owned())
            }
            Some(_) | None if started => {
                let text = "the task's process ended unseen while the agent was away".to_owned();
                Report::by_agent(TaskState::TaskFailed, Reason::ExecutorTerminated, text)
            }
            Some(_) | None => {
                let state = self.lost_state_of(id, TaskState::TaskDropped);
                let text = "the launch was cut off by an agent restart".to_owned();
                Report::by_agent(state, Reason::AgentRestarted, text)
            }
        };
        self.end(now, id, report, out);
    }
}
