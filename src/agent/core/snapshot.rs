//! The shortest log that describes the present state: what a compaction writes in place of a long one.

use std::collections::BTreeSet;

use super::tasks::{Phase, Task};
use super::{Agent, ContainerId, record};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentRecord, Started, StatusMade, TaskAccepted};
use crate::proto::v1::FrameworkId;

impl Agent {
    /// The records from which [`Agent::recover`] rebuilds this state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<AgentRecord> {
        let mut kinds = vec![];
        if self.id().is_some() || !self.installation.is_empty() {
            kinds.push(self.identity());
        }
        if self.epoch > 0 {
            kinds.push(Kind::Epoch(self.epoch));
        }
        let written = self.cut_off.filter(|cut_off| cut_off.written);
        kinds.extend(written.map(|cut_off| Kind::CutOff(cut_off.since_wall_ns)));
        let (orphans, others): (Vec<_>, Vec<_>) = self.tasks.iter().partition(|(_, task)| task.orphaned);
        for (id, task) in &orphans {
            describe(id, task, &mut kinds);
        }
        // What makes the tasks so far orphans, and has to stand before those that are none.
        let gone: BTreeSet<&FrameworkId> = orphans.iter().map(|(_, task)| &task.framework).collect();
        kinds.extend(gone.into_iter().map(|framework| Kind::FrameworkForgotten(framework.value.clone())));
        kinds.extend(self.frameworks.values().map(|framework| Kind::Framework(Box::new(framework.decoded()))));
        for (id, task) in others {
            describe(id, task, &mut kinds);
        }
        kinds.into_iter().map(record).collect()
    }
}

fn describe(id: &ContainerId, task: &Task, kinds: &mut Vec<Kind>) {
    let container_id = id.to_string();
    kinds.push(Kind::Accepted(TaskAccepted {
        framework_id: task.framework.value.clone(),
        container_id: container_id.clone(),
        task_info: task.info.clone(),
        wall_ns: task.accepted_wall_ns,
    }));
    if let Phase::Running(_, process) | Phase::Unresolved(Some(process)) = &task.phase {
        let (pid, start_time) = (process.pid, process.start_time);
        kinds.push(Kind::Started(Started { container_id: container_id.clone(), pid, start_time }));
    }
    kinds.extend(task.kill.as_ref().map(|kill| kill.asked(id)));
    for pending in &task.pending {
        let made = StatusMade { container_id: container_id.clone(), status: Some(pending.decoded()) };
        kinds.push(Kind::Status(Box::new(made)));
    }
}
