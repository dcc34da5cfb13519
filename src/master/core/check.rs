//! The invariants, asserted: a broken one is a bug in this module's neighbours, never bad input. In debug builds those of
//! the agents an input changed after each input, all of them every so often.

use super::{Master, agents::Agent, keys::AgentKey, ledger::Holding, sessions::Peer};

impl Master {
    /// Asserts every invariant of the whole state.
    ///
    /// # Panics
    /// When one does not hold.
    pub(crate) fn check(&self) {
        self.agents.check();
        self.frameworks.check();
        for (key, agent) in self.agents.iter() {
            self.check_agent(key, agent);
        }
        self.ledger.check();
        self.outgoing.check();
        self.check_sessions();
        self.check_offers();
        self.check_tasks();
    }

    /// A session and the peer it is of agree.
    fn check_sessions(&self) {
        for (session, peer) in self.sessions.identified() {
            let current = match peer {
                Peer::Stranger => None,
                Peer::Framework(key) => self.frameworks.get(key).and_then(|framework| framework.session),
                Peer::Agent(key) => self.agents.get(key).and_then(Agent::contact),
            };
            assert_eq!(current, Some(session), "{peer:?} is at the other end");
        }
        let agents = self.agents.iter().filter_map(|(key, agent)| Some((agent.contact()?, Peer::Agent(key))));
        let frameworks = self.frameworks.iter().filter_map(|(key, one)| Some((one.session?, Peer::Framework(key))));
        for (session, peer) in agents.chain(frameworks) {
            assert_eq!(self.sessions.peer(session), Some(peer), "{session:?} is open");
        }
    }

    /// Asserts the invariants of the agents that changed since the last call.
    pub(super) fn check_changed(&mut self) {
        self.ledger.check_changed();
        for key in self.agents.take_changed() {
            if let Some(agent) = self.agents.get(key) {
                self.check_agent(key, agent);
            }
        }
    }

    fn check_agent(&self, key: AgentKey, agent: &Agent) {
        assert!(self.ledger.amounts(key).is_some(), "{key:?}: the ledger has an account of it");
        let offers = &agent.bucket.offers;
        assert!(agent.reachable() || offers.is_empty(), "{key:?}: nothing of an agent that is away is offered");
        for (offer, made) in offers {
            assert_eq!(self.offers.get(offer), Some(&key), "{key:?}: {offer:?} is found where it is kept");
            assert!(self.ledger.has(key, Holding::Offer(*offer)), "{key:?}: {offer:?} is in the ledger");
            let its = made.client.framework;
            let connected = self.frameworks.get(its).is_some_and(|one| one.session.is_some());
            assert!(connected || self.frameworks.is_withdrawing(its), "{offer:?} is of a connected framework");
        }
        for orphan in agent.bucket.orphans.values() {
            assert!(self.ledger.has(key, Holding::Orphan(orphan.key)), "{key:?}: {orphan:?} is in the ledger");
        }
        for (number, task) in agent.bucket.tasks.iter() {
            assert!(self.frameworks.get(task.framework).is_some(), "{}: its framework is there", task.id);
            let held = self.ledger.has(key, Holding::Task(number));
            assert_eq!(held, task.state.holds_resources(), "{}: it holds resources by its state", task.id);
        }
    }

    /// Every offer is in one place and counted for its framework.
    fn check_offers(&self) {
        let kept: usize = self.agents.values().map(|agent| agent.bucket.offers.len()).sum();
        assert_eq!(kept, self.offers.len(), "every offer is kept by one agent");
        for (key, framework) in self.frameworks.iter() {
            for offer in &framework.outstanding {
                assert!(self.offers.contains_key(offer), "{key:?}: {offer:?} is outstanding");
            }
            for (role, state) in &framework.roles {
                let mine = |agent: &Agent| {
                    let offers = agent.bucket.offers.values();
                    offers.filter(|one| one.client.framework == key && one.client.role == *role).count()
                };
                let outstanding: usize = self.agents.values().map(mine).sum();
                assert_eq!(outstanding, state.outstanding as usize, "{key:?} {role}: outstanding offers are counted");
            }
        }
    }

    /// A task and the framework's index of it agree.
    fn check_tasks(&self) {
        for (key, framework) in self.frameworks.iter() {
            for (id, (agent, task)) in framework.tasks.iter() {
                let record = &self.agents[*agent].bucket.tasks[*task];
                assert!(record.id == *id && record.framework == key, "{key:?}: {id} is where the index says");
            }
            framework.check_roles(key);
        }
    }
}
