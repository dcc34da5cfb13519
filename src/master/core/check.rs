//! The invariants, asserted: a broken one is a bug in this module's neighbours, never bad input. In debug builds those of
//! the agents an input changed after each input, all of them every so often.

use std::mem;

use super::{
    Master,
    agents::{Agent, AgentBucket},
    keys::AgentKey,
};
use crate::types::Resources;

impl Master {
    /// Asserts every invariant of the whole state.
    ///
    /// # Panics
    /// When one does not hold.
    pub(crate) fn check(&self) {
        for (key, agent) in &self.agents {
            self.check_agent(*key, agent);
        }
        self.check_offers();
        self.check_tasks();
    }

    /// Asserts the invariants of the agents that changed since the last call.
    pub(super) fn check_changed(&mut self) {
        let taken = self.agents.iter_mut().filter_map(|(key, agent)| mem::take(&mut agent.unchecked).then_some(*key));
        let changed: Vec<AgentKey> = taken.collect();
        for key in changed {
            self.check_agent(key, &self.agents[&key]);
        }
    }

    fn check_agent(&self, key: AgentKey, agent: &Agent) {
        Self::check_balance(key, &agent.bucket);
        let told = self.allocator.free(key);
        let nothing = Resources::default();
        let open = if agent.reachable() { &agent.bucket.free } else { &nothing };
        assert!(told.is_none_or(|told| told == open), "{key:?}: the allocator knows what is free");
        assert!(told.is_some() || !agent.reachable(), "{key:?}: the allocator knows the agent");
        let offers = &agent.bucket.offers;
        assert!(agent.reachable() || offers.is_empty(), "{key:?}: nothing of an agent that is away is offered");
        for (offer, made) in offers {
            assert_eq!(self.offers.get(offer), Some(&key), "{key:?}: {offer:?} is found where it is kept");
            let connected = self.frameworks.get(&made.client.framework).is_some_and(|one| one.session.is_some());
            assert!(connected, "{offer:?} is of a connected framework");
        }
        for task in agent.bucket.tasks.values() {
            assert!(self.frameworks.contains_key(&task.framework), "{}: its framework is there", task.id);
            assert!(!(task.holds && task.state.is_terminal()), "{}: a terminal task holds nothing", task.id);
        }
    }

    /// Offered + used + free = total, and the parts are what the records add up to.
    fn check_balance(key: AgentKey, bucket: &AgentBucket) {
        let mut used = Resources::default();
        for task in bucket.tasks.values().filter(|task| task.holds) {
            used += &*task.resources;
        }
        for orphan in bucket.orphans.values() {
            used += &orphan.resources;
        }
        assert_eq!(used, bucket.used, "{key:?}: used is what its tasks and orphans hold");
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
    }

    /// Every offer is in one place and counted for its framework.
    fn check_offers(&self) {
        let kept: usize = self.agents.values().map(|agent| agent.bucket.offers.len()).sum();
        assert_eq!(kept, self.offers.len(), "every offer is kept by one agent");
        for (key, framework) in &self.frameworks {
            for offer in &framework.outstanding {
                assert!(self.offers.contains_key(offer), "{key:?}: {offer:?} is outstanding");
            }
            for (role, state) in &framework.roles {
                let mine = |agent: &Agent| {
                    let offers = agent.bucket.offers.values();
                    offers.filter(|one| one.client.framework == *key && one.client.role == *role).count()
                };
                let outstanding: usize = self.agents.values().map(mine).sum();
                assert_eq!(outstanding, state.outstanding as usize, "{key:?} {role}: outstanding offers are counted");
            }
        }
    }

    /// A task and the framework's index of it agree.
    fn check_tasks(&self) {
        for (key, framework) in &self.frameworks {
            for (id, (agent, task)) in &framework.tasks {
                let record = &self.agents[agent].bucket.tasks[task];
                assert!(record.id == *id && record.framework == *key, "{key:?}: {id} is where the index says");
            }
        }
    }
}
