//! Orphans: containers that are being killed and whose states no framework receives.
//!
//! They belong to a removed framework, or a supervisor has them and no record names them. They use resources until they
//! have ended. So the agent lists them when it registers, and reports each one when it has ended. A container with a
//! process that is stuck in the kernel stays an orphan for as long as that lasts.

use crate::agent::core::session::described;
use crate::agent::core::{Agent, ContainerId, Effect, Level, persist};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentMessage, AgentTask, OrphanGone, agent_message};
use crate::proto::v1::FrameworkId;
use crate::proto::v1::task_status::Reason;
use crate::types::Now;

impl Agent {
    /// A framework was removed: kills its tasks, which become orphans.
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

    /// Makes a task an orphan and kills it.
    fn orphan(&mut self, now: Now, id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.orphaned = true;
        task.pending.clear();
        let Some(container) = self.containers.get(id) else { return };
        let grace = container.grace_or_default();
        if container.has_ended() {
            self.forget(now, id, None, out);
        } else {
            self.kill(now, id, grace, Some(Reason::FrameworkRemoved), out);
        }
    }

    /// Kills orphans without a recorded kill: a crash may have come before those records.
    pub(in crate::agent::core) fn kill_orphans(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_killed = |id: &ContainerId| self.containers.get(id).is_some_and(|container| container.kill.is_some());
        let spared = self.tasks.iter().filter(|(id, task)| task.orphaned && !is_killed(id));
        let spared: Vec<ContainerId> = spared.map(|(id, _)| id.clone()).collect();
        for id in spared {
            self.orphan(now, &id, out);
        }
    }

    /// All orphans, as they are reported to the master.
    pub(in crate::agent::core) fn orphans(&self) -> Vec<AgentTask> {
        let tasks = self.tasks.iter().filter(|(id, task)| task.orphaned && self.is_live(id));
        let unrecorded = self
            .supervisors
            .unrecorded()
            .map(|container_id| AgentTask { container_id: container_id.to_owned(), ..AgentTask::default() });
        tasks.map(|(id, task)| described(id.as_str(), task)).chain(unrecorded).collect()
    }

    /// Reports that an orphan has ended. Without a session, the next registration does not list it.
    pub(in crate::agent::core) fn orphan_gone(&self, container_id: String, out: &mut Vec<Effect>) {
        if let Some(session) = self.orphan_session() {
            let gone = agent_message::Kind::OrphanGone(OrphanGone { container_id });
            out.push(Effect::Send { session, message: AgentMessage { kind: Some(gone) } });
        }
    }
}
