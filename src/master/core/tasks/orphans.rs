//! Orphans: containers whose framework was removed, until their agent says that they are gone.
//!
//! A removed framework has no tasks any more, but their processes die in their own time. Until then what they were given
//! is in use, though it counts for nobody's share. An agent that speaks a recent enough protocol says of each orphan that
//! it is gone, and when it registers, which are left. Of an older one nothing would ever be heard: what its orphans were
//! given is free at once.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    master::core::{
        ContainerId, Master, Register, ReportedTask,
        keys::{AgentKey, TaskKey},
        ledger::{Held, Holding},
        tasks::Task,
    },
    types::{Now, Resources},
};

/// The first version of the agent protocol in which orphans are told of.
pub(in crate::master::core) const TOLD_SINCE: u32 = 2;

/// What is known of such a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Orphan {
    /// The framework that was removed, and its task; empty where the agent itself knows no more than the container.
    pub(crate) framework: Arc<str>,
    pub(crate) task: Arc<str>,
    pub(crate) role: Arc<str>,
    pub(crate) resources: Arc<Resources>,
    /// Its number among the holdings of the agent.
    pub(crate) key: TaskKey,
    /// Since when this master has it as an orphan, on the wall clock.
    pub(crate) since_ns: i64,
}

impl Orphan {
    fn of_task(key: TaskKey, task: &Task, framework: &Arc<str>, now: Now) -> Self {
        Self {
            framework: framework.clone(),
            task: task.id.clone(),
            role: task.role.clone(),
            resources: task.resources.clone(),
            key,
            since_ns: now.wall_ns,
        }
    }

    fn reported(key: TaskKey, task: &ReportedTask, resources: Arc<Resources>, now: Now) -> Self {
        Self {
            framework: task.framework.as_str().into(),
            task: task.id.as_str().into(),
            role: task.role.clone(),
            resources,
            key,
            since_ns: now.wall_ns,
        }
    }
}

impl Master {
    /// What becomes of a task whose framework is being removed: its container, where its agent will tell of its end.
    pub(in crate::master::core) fn orphan_of(
        &self,
        agent: AgentKey,
        key: TaskKey,
        framework: &Arc<str>,
        now: Now,
    ) -> Option<(ContainerId, Orphan)> {
        let held = self.ledger.has(agent, Holding::Task(key));
        let agent = self.agents.get(agent).filter(|agent| held && agent.reports_orphans)?;
        let task = agent.bucket.tasks.get(key)?;
        Some((task.container.clone(), Orphan::of_task(key, task, framework, now)))
    }

    pub(in crate::master::core) fn add_orphan(&mut self, key: AgentKey, container: ContainerId, orphan: Orphan) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let held = Held { client: None, resources: orphan.resources.clone() };
        self.ledger.allocate(key, Holding::Orphan(orphan.key), held);
        if let Some(before) = agent.bucket_mut().orphans.insert(container, orphan) {
            self.ledger.release(key, Holding::Orphan(before.key));
        }
    }

    /// Nothing is left of the container. One that is no orphan of this agent is somebody's task, or was forgotten.
    pub(in crate::master::core) fn orphan_gone(&mut self, key: AgentKey, container: &ContainerId) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        if !agent.bucket.orphans.contains_key(container) {
            return;
        }
        if let Some(orphan) = agent.bucket_mut().orphans.remove(container) {
            self.ledger.release(key, Holding::Orphan(orphan.key));
        }
    }

    /// A task of a framework that was removed, on an agent that registers.
    pub(in crate::master::core) fn orphan_reported(&mut self, now: Now, key: AgentKey, task: &ReportedTask) {
        let agent = &self.agents[key];
        let is_known = agent.bucket.orphans.contains_key(&task.container);
        if agent.reports_orphans && task.state.holds_resources() && !is_known {
            let orphan = Orphan::reported(self.counters.task(), task, self.taken.share(&task.resources), now);
            self.add_orphan(key, task.container.clone(), orphan);
        }
    }

    /// An agent that registers names its orphans, and tasks that become such by what it is answered: these there are, and
    /// no others.
    pub(in crate::master::core) fn reconcile_orphans(
        &mut self,
        now: Now,
        key: AgentKey,
        register: &Register,
        removed: &BTreeSet<String>,
    ) {
        let tells = register.version >= TOLD_SINCE;
        let bereft = |task: &&ReportedTask| removed.contains(&task.framework) && task.state.holds_resources();
        let named = register.orphans.iter().chain(register.tasks.iter().filter(bereft));
        let named: Vec<&ReportedTask> = named.filter(|_| tells).collect();
        let there: BTreeSet<&ContainerId> = named.iter().map(|one| &one.container).collect();
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.reports_orphans = tells;
        let known = agent.bucket.orphans.keys();
        let gone: Vec<ContainerId> = known.filter(|container| !there.contains(container)).cloned().collect();
        for container in gone {
            self.orphan_gone(key, &container);
        }
        for one in named {
            if !self.agents[key].bucket.orphans.contains_key(&one.container) {
                let orphan = Orphan::reported(self.counters.task(), one, self.taken.share(&one.resources), now);
                self.add_orphan(key, one.container.clone(), orphan);
            }
        }
    }
}
