//! Orphans: containers whose framework was removed, until their agent reports them gone.
//!
//! A removed framework has no tasks any more, but their processes take time to end. Until then their resources are
//! used, but count for no client's share. An agent of protocol version 2 or later reports each orphan that is gone, and
//! at registration the ones left. Agents that speak version 1 never report it: the resources of their orphans are free
//! at once.

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

/// The first version of the agent protocol in which agents report orphans.
pub(in crate::master::core) const ORPHANS_REPORTED_SINCE: u32 = 2;

/// A container of a removed framework.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Orphan {
    /// The removed framework, and its task; empty if the agent knows no more than the container.
    pub(crate) framework: Arc<str>,
    pub(crate) task: Arc<str>,
    pub(crate) role: Arc<str>,
    pub(crate) resources: Arc<Resources>,
    /// Its key in the ledger.
    pub(crate) key: TaskKey,
    /// When this master recorded it (nanoseconds of wall time).
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
    /// The orphan of a task whose framework is being removed; `None` if its agent will not report its end.
    pub(in crate::master::core) fn orphan_of(
        &self,
        agent: AgentKey,
        key: TaskKey,
        framework: &Arc<str>,
        now: Now,
    ) -> Option<(ContainerId, Orphan)> {
        let held = self.ledger.has(agent, Holding::Task(key));
        let agent = self.agents.get(agent).filter(|agent| held && agent.reports_orphans)?;
        let task = agent.record.tasks.get(key)?;
        Some((task.container.clone(), Orphan::of_task(key, task, framework, now)))
    }

    pub(in crate::master::core) fn add_orphan(&mut self, key: AgentKey, container: ContainerId, orphan: Orphan) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let held = Held { client: None, resources: orphan.resources.clone() };
        self.ledger.allocate(key, Holding::Orphan(orphan.key), held);
        if let Some(before) = agent.record_mut().orphans.insert(container, orphan) {
            self.ledger.release(key, Holding::Orphan(before.key));
        }
    }

    /// Frees an orphan that is gone; a container that is no orphan of this agent is ignored.
    pub(in crate::master::core) fn orphan_gone(&mut self, key: AgentKey, container: &ContainerId) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        if !agent.record.orphans.contains_key(container) {
            return;
        }
        if let Some(orphan) = agent.record_mut().orphans.remove(container) {
            self.ledger.release(key, Holding::Orphan(orphan.key));
        }
    }

    /// Adds the orphan of a task that a registering agent reports of a removed framework.
    pub(in crate::master::core) fn orphan_reported(&mut self, now: Now, key: AgentKey, task: &ReportedTask) {
        let agent = &self.agents[key];
        let is_known = agent.record.orphans.contains_key(&task.container);
        if agent.reports_orphans && task.state.holds_resources() && !is_known {
            let orphan =
                Orphan::reported(self.counters.task(), task, self.interned_resources.share(&task.resources), now);
            self.add_orphan(key, task.container.clone(), orphan);
        }
    }

    /// Replaces the orphans of a registering agent by those that it reports and by its tasks of removed frameworks.
    pub(in crate::master::core) fn reconcile_orphans(
        &mut self,
        now: Now,
        key: AgentKey,
        register: &Register,
        removed: &BTreeSet<String>,
    ) {
        let reports = register.version >= ORPHANS_REPORTED_SINCE;
        let newly_orphaned = |task: &&ReportedTask| removed.contains(&task.framework) && task.state.holds_resources();
        let named = register.orphans.iter().chain(register.tasks.iter().filter(newly_orphaned));
        let named: Vec<&ReportedTask> = named.filter(|_| reports).collect();
        let there: BTreeSet<&ContainerId> = named.iter().map(|one| &one.container).collect();
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.reports_orphans = reports;
        let known = agent.record.orphans.keys();
        let gone: Vec<ContainerId> = known.filter(|container| !there.contains(container)).cloned().collect();
        for container in gone {
            self.orphan_gone(key, &container);
        }
        for one in named {
            if !self.agents[key].record.orphans.contains_key(&one.container) {
                let orphan =
                    Orphan::reported(self.counters.task(), one, self.interned_resources.share(&one.resources), now);
                self.add_orphan(key, one.container.clone(), orphan);
            }
        }
    }
}
