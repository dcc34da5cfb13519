//! What of a snapshot belongs to which framework: keys into it, gathered once for all who read it.

use std::collections::HashMap;

use crate::{
    master::core::{AgentView, FrameworkKey, OfferKey, Snapshot, Task, TaskKey},
    types::Resources,
};

/// Where something is on an agent: the agent's place in the snapshot, and a key there.
type On<K> = (u32, K);

/// What belongs to one framework.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    /// Tasks of agents that can be reached, in the order of the snapshot.
    tasks: Vec<On<TaskKey>>,
    /// Those of the others.
    unreachable: Vec<On<TaskKey>>,
    offers: Vec<On<OfferKey>>,
    pub(super) used: Resources,
    pub(super) offered: Resources,
}

/// The belongings of every framework that has any.
#[derive(Debug, Default)]
pub(super) struct ByFramework {
    of: HashMap<FrameworkKey, Belongings>,
    none: Belongings,
}

impl ByFramework {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut of: HashMap<FrameworkKey, Belongings> = HashMap::new();
        for (place, agent) in (0..).zip(&snapshot.agents) {
            let reachable = super::render::reachable(agent);
            for (key, task) in agent.tasks.iter() {
                let belongings = of.entry(task.framework).or_default();
                let list = if reachable { &mut belongings.tasks } else { &mut belongings.unreachable };
                list.push((place, key));
                if task.state.holds_resources() {
                    belongings.used += &*task.resources;
                }
            }
            for (key, offer) in &agent.offers {
                let belongings = of.entry(offer.client.framework).or_default();
                belongings.offers.push((place, *key));
                belongings.offered += &offer.resources;
            }
        }
        for belongings in of.values_mut() {
            belongings.tasks.shrink_to_fit();
            belongings.unreachable.shrink_to_fit();
            belongings.offers.shrink_to_fit();
        }
        Self { of, none: Belongings::default() }
    }

    pub(super) fn of(&self, framework: FrameworkKey) -> &Belongings {
        self.of.get(&framework).unwrap_or(&self.none)
    }
}

impl Belongings {
    /// The task at this place among those that can be reached, or among the others.
    pub(super) fn task<'a>(
        &self,
        snapshot: &'a Snapshot,
        reachable: bool,
        place: usize,
    ) -> Option<(&'a AgentView, &'a Task)> {
        let (agent, key) = if reachable { &self.tasks } else { &self.unreachable }.get(place)?;
        let agent = snapshot.agents.get(usize::try_from(*agent).ok()?)?;
        Some((agent, agent.tasks.get(*key)?))
    }

    /// Its offers: each with its agent, its role and what it holds.
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
