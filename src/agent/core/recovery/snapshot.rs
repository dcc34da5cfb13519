//! The shortest log that describes the current state. A compaction writes it in place of a long one.

use std::collections::BTreeSet;

use crate::agent::core::containers::{Container, Phase};
use crate::agent::core::tasks::Task;
use crate::agent::core::{Agent, ContainerId, record};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentRecord, Started, StatusMade, TaskAccepted};
use crate::proto::v1::FrameworkId;

impl Agent {
    /// The records from which [`Agent::recover`] rebuilds this state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<AgentRecord> {
        let mut records = vec![];
        if self.id().is_some() || !self.installation.is_empty() {
            records.push(record(self.identity()));
        }
        if self.epoch > 0 {
            records.push(record(Kind::Epoch(self.epoch)));
        }
        records.extend(self.supervisors.recipients.records());
        let written = self.cut_off.filter(|cut_off| cut_off.written);
        records.extend(written.map(|cut_off| cut_off.record()));
        let (orphans, others): (Vec<_>, Vec<_>) = self.tasks.iter().partition(|(_, task)| task.orphaned);
        for (id, task) in &orphans {
            records.extend(self.described(id, task));
        }
        // These records make the tasks so far orphans, so they come before the other tasks.
        let gone: BTreeSet<&FrameworkId> = orphans.iter().map(|(_, task)| &task.framework).collect();
        let forgotten = |framework: &FrameworkId| record(Kind::FrameworkForgotten(framework.value.clone()));
        records.extend(gone.into_iter().map(forgotten));
        let frameworks = self.frameworks.values().map(|framework| Kind::Framework(Box::new(framework.decoded())));
        records.extend(frameworks.map(record));
        for (id, task) in others {
            records.extend(self.described(id, task));
        }
        records
    }

    fn described(&self, id: &ContainerId, task: &Task) -> Vec<AgentRecord> {
        self.containers.get(&task.container).map(|container| describe(id, task, container)).unwrap_or_default()
    }
}

fn describe(id: &ContainerId, task: &Task, container: &Container) -> Vec<AgentRecord> {
    let container_id = id.to_string();
    let accepted = Kind::Accepted(TaskAccepted {
        framework_id: task.framework.value.clone(),
        container_id: container_id.clone(),
        task_info: task.info.clone(),
        wall_ns: container.accepted_at.wall_ns,
        parent_id: container.parent.as_ref().map(ToString::to_string),
    });
    let mut records = vec![container.accepted_at.record(accepted)];
    if let Phase::Running(_, process) | Phase::Unresolved(Some(process)) = &container.phase {
        let (pid, start_time) = (process.pid, process.start_time);
        let started = Started { container_id: container_id.clone(), pid, start_time };
        records.push(record(Kind::Started(started)));
    }
    // A kill that only cancels provisioning is not recorded: provisioning ends with the agent.
    let kill = container.kill.as_ref().filter(|_| !matches!(container.phase, Phase::Provisioning(..)));
    records.extend(kill.map(|kill| kill.to_record(id)));
    for pending in &task.pending {
        let made = StatusMade { container_id: container_id.clone(), status: Some(pending.decoded()) };
        records.push(record(Kind::Status(Box::new(made))));
    }
    records
}
