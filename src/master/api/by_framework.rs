//! An index of a snapshot by framework, built once for all its readers.

use std::collections::HashMap;

use crate::{
    master::core::{AgentView, FrameworkKey, OfferKey, Snapshot, Task, TaskKey},
    types::Resources,
};

/// An item of an agent: the agent's index in the snapshot, and the item's key.
type AgentItem<K> = (u32, K);

/// The tasks, offers and resources of one framework.
#[derive(Debug, Default)]
pub(super) struct FrameworkContents {
    /// Tasks on reachable agents, in the order of the snapshot.
    tasks: Vec<AgentItem<TaskKey>>,
    /// Tasks on unreachable agents.
    unreachable: Vec<AgentItem<TaskKey>>,
    offers: Vec<AgentItem<OfferKey>>,
    pub(super) used: Resources,
    pub(super) offered: Resources,
}

/// The contents of every framework that has any.
#[derive(Debug, Default)]
pub(super) struct FrameworkIndex {
    frameworks: HashMap<FrameworkKey, FrameworkContents>,
    empty: FrameworkContents,
}

impl FrameworkIndex {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut frameworks: HashMap<FrameworkKey, FrameworkContents> = HashMap::new();
        for (index, agent) in (0..).zip(&snapshot.agents) {
            let reachable = super::render::is_reachable(agent);
            for (key, task) in agent.tasks.iter() {
                let contents = frameworks.entry(task.framework).or_default();
                let list = if reachable { &mut contents.tasks } else { &mut contents.unreachable };
                list.push((index, key));
                if task.state.holds_resources() {
                    contents.used += &*task.resources;
                }
            }
            for (key, offer) in &agent.offers {
                let contents = frameworks.entry(offer.client.framework).or_default();
                contents.offers.push((index, *key));
                contents.offered += &offer.resources;
            }
        }
        for contents in frameworks.values_mut() {
            contents.tasks.shrink_to_fit();
            contents.unreachable.shrink_to_fit();
            contents.offers.shrink_to_fit();
        }
        Self { frameworks, empty: FrameworkContents::default() }
    }

    pub(super) fn get(&self, framework: FrameworkKey) -> &FrameworkContents {
        self.frameworks.get(&framework).unwrap_or(&self.empty)
    }
}

impl FrameworkContents {
    /// The task at this index among those on reachable agents, or on unreachable ones.
    pub(super) fn task<'a>(
        &self,
        snapshot: &'a Snapshot,
        reachable: bool,
        index: usize,
    ) -> Option<(&'a AgentView, &'a Task)> {
        let (agent, key) = if reachable { &self.tasks } else { &self.unreachable }.get(index)?;
        let agent = snapshot.agents.get(usize::try_from(*agent).ok()?)?;
        Some((agent, agent.tasks.get(*key)?))
    }

    /// The framework's offers, each with its agent, role and resources.
    pub(super) fn offers<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a AgentView, OfferKey, &'a str, &'a Resources)> {
        self.offers.iter().filter_map(|(agent, key)| {
            let agent = snapshot.agents.get(usize::try_from(*agent).ok()?)?;
            let offer = agent.offers.get(key)?;
            Some((agent, *key, &*offer.client.role, &*offer.resources))
        })
    }
}
