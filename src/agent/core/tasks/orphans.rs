//! Orphans: containers that nobody wants to hear of, and that are being ended.
//!
//! They are those of a framework that was removed, and those that a supervisor has and no record tells of. They use what
//! they use until they have ended, so the master is told which there are when the agent registers, and of each when
//! nothing is left of it. A process that is stuck in the kernel keeps its container an orphan for as long as that lasts.

use crate::agent::core::session::described;
use crate::agent::core::{Agent, ContainerId, Effect, Level, persist};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentMessage, AgentTask, OrphanGone, agent_message};
use crate::proto::v1::FrameworkId;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

impl Agent {
    /// The framework is gone: what it runs is killed, and nothing of it is told any more but its end to the master.
    pub(in crate::agent::core) fn shut_down_framework(
        &mut self,
        now: Now,
        framework_id: String,
        out: &mut Vec<Effect>,
    ) {
        let framework = FrameworkId { value: framework_id };
        let containers = self.containers_of(&framework, None);
        if self.frameworks.remove(&framework).is_none() && containers.is_empty() {
            return;
        }
        out.push(persist([Kind::FrameworkForgotten(framework.value)], Level::Process));
        for id in containers {
            self.orphan(now, &id, out);
        }
    }

    /// Ends a task nobody wants to hear of.
    fn orphan(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.orphaned = true;
        task.pending.clear();
        let grace = task.own_grace();
        if task.has_ended() {
            self.forget(now, id, None, out);
        } else {
            self.kill(now, id, grace, Some(Reason::FrameworkRemoved), out);
        }
    }

    /// A crash may have come between the record that makes orphans and those of their kills.
    pub(in crate::agent::core) fn kill_orphans(&mut self, now: Now, out: &mut Vec<Effect>) {
        let spared = self.tasks.iter().filter(|(_, task)| task.orphaned && task.kill.is_none());
        let spared: Vec<ContainerId> = spared.map(|(id, _)| id.clone()).collect();
        for id in spared {
            self.orphan(now, &id, out);
        }
    }

    /// All orphans, as the master is told of them.
    pub(in crate::agent::core) fn orphans(&self) -> Vec<AgentTask> {
        let tasks = self.tasks.iter().filter(|(_, task)| task.orphaned && !task.has_ended());
        let strangers = self
            .supervisors
            .strangers()
            .map(|container_id| AgentTask { container_id: container_id.to_owned(), ..AgentTask::default() });
        tasks.map(|(id, task)| described(id.as_str(), task)).chain(strangers).collect()
    }

    /// Nothing is left of an orphan. Without a session, the next registration does not name it.
    pub(in crate::agent::core) fn orphan_gone(&self, container_id: String, out: &mut Vec<Effect>) {
        if let Some(session) = self.orphans_told_to() {
            let gone = agent_message::Kind::OrphanGone(OrphanGone { container_id });
            out.push(Effect::Send { session, message: AgentMessage { kind: Some(gone) } });
        }
    }
}
