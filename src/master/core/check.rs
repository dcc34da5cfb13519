//! The invariants, asserted: a broken one is a bug in this module's neighbours, never bad input.

use super::Master;
use crate::types::Resources;

impl Master {
    /// Asserts every invariant of the whole state.
    ///
    /// # Panics
    /// When one does not hold.
    pub(crate) fn check(&self) {
        self.check_agents();
        self.check_offers();
        self.check_tasks();
    }

    /// Offered + used + free = total, and the parts are what the records add up to.
    fn check_agents(&self) {
        for (key, agent) in &self.agents {
            let bucket = &agent.bucket;
            let mut used = Resources::default();
            for task in bucket.tasks.values().filter(|task| task.holds) {
                used += &*task.resources;
            }
            assert_eq!(used, bucket.used, "{key:?}: used is what its tasks hold");
            let mut offered = Resources::default();
            for offer in bucket.offers.values() {
                offered += &offer.resources;
            }
            assert_eq!(offered, bucket.offered, "{key:?}: offered is what its offers hold");
            let mut taken = used;
            taken += &offered;
            if bucket.total.contains(&taken) {
                taken += &bucket.free;
                assert_eq!(taken, bucket.total, "{key:?}: offered + used + free = total");
            } else {
                assert!(bucket.offers.is_empty(), "{key:?}: an agent that shrank below its tasks offers nothing");
            }
            let told = self.allocator.free(*key);
            let nothing = Resources::default();
            let open = if agent.reachable() { &bucket.free } else { &nothing };
            assert!(told.is_none_or(|told| told == open), "{key:?}: the allocator knows what is free");
            assert!(told.is_some() || !agent.reachable(), "{key:?}: the allocator knows the agent");
            assert!(
                agent.reachable() || bucket.offers.is_empty(),
                "{key:?}: nothing of an agent that is away is offered"
            );
        }
    }

    /// Every offer is in one place, of a connected framework, and counted for it.
    fn check_offers(&self) {
        let kept: usize = self.agents.values().map(|agent| agent.bucket.offers.len()).sum();
        assert_eq!(kept, self.offers.len(), "every offer is kept by one agent");
        for (offer, agent) in &self.offers {
            let client = &self.agents[agent].bucket.offers[offer].client;
            assert!(self.frameworks[&client.framework].session.is_some(), "{offer:?} is of a connected framework");
        }
        for (key, framework) in &self.frameworks {
            for (role, habits) in &framework.roles {
                let mine = |agent: &super::agents::Agent| {
                    let offers = agent.bucket.offers.values();
                    offers.filter(|one| one.client.framework == *key && one.client.role == *role).count()
                };
                let outstanding: usize = self.agents.values().map(mine).sum();
                assert_eq!(outstanding, habits.outstanding as usize, "{key:?} {role}: outstanding offers are counted");
            }
        }
    }

    /// A task and the framework's index of it agree, and a terminal task holds nothing.
    fn check_tasks(&self) {
        for (key, framework) in &self.frameworks {
            for (id, (agent, task)) in &framework.tasks {
                let record = &self.agents[agent].bucket.tasks[task];
                assert!(record.id == *id && record.framework == *key, "{key:?}: {id} is where the index says");
            }
        }
        for agent in self.agents.values() {
            for task in agent.bucket.tasks.values() {
                assert!(!(task.holds && task.state.is_terminal()), "{}: a terminal task holds nothing", task.id);
            }
        }
    }
}
