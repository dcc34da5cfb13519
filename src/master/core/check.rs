//! Assertions of the core's invariants: a violation is a bug in the core, never bad input.
//!
//! Debug builds check the changed agents after each input, and the whole state every so many inputs.

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

    /// Asserts that sessions and peers refer to each other.
    fn check_sessions(&self) {
        for (session, peer) in self.sessions.identified() {
            let current = match peer {
                Peer::Unidentified => None,
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
        let offers = &agent.record.offers;
        assert!(agent.is_reachable() || offers.is_empty(), "{key:?}: nothing of a disconnected agent is offered");
        for (offer, made) in offers {
            assert_eq!(self.offers.get(offer), Some(&key), "{key:?}: {offer:?} is found where it is kept");
            assert!(self.ledger.has(key, Holding::Offer(*offer)), "{key:?}: {offer:?} is in the ledger");
            let its = made.client.framework;
            let connected = self.frameworks.get(its).is_some_and(|one| one.session.is_some());
            assert!(connected || self.frameworks.is_withdrawing(its), "{offer:?} is of a connected framework");
        }
        for orphan in agent.record.orphans.values() {
            assert!(self.ledger.has(key, Holding::Orphan(orphan.key)), "{key:?}: {orphan:?} is in the ledger");
        }
        for (number, task) in agent.record.tasks.iter() {
            assert!(self.frameworks.get(task.framework).is_some(), "{}: its framework is there", task.id);
            let held = self.ledger.has(key, Holding::Task(number));
            assert_eq!(held, task.state.holds_resources(), "{}: it holds resources by its state", task.id);
        }
    }

    /// Asserts that each offer belongs to one agent and is counted for its framework.
    fn check_offers(&self) {
        let kept: usize = self.agents.values().map(|agent| agent.record.offers.len()).sum();
        assert_eq!(kept, self.offers.len(), "every offer is kept by one agent");
        for (key, framework) in self.frameworks.iter() {
            for offer in &framework.outstanding {
                assert!(self.offers.contains_key(offer), "{key:?}: {offer:?} is outstanding");
            }
            for (role, state) in &framework.roles {
                let mine = |agent: &Agent| {
                    let offers = agent.record.offers.values();
                    offers.filter(|one| one.client.framework == key && one.client.role == *role).count()
                };
                let outstanding: usize = self.agents.values().map(mine).sum();
                assert_eq!(outstanding, state.outstanding as usize, "{key:?} {role}: outstanding offers are counted");
            }
        }
    }

    /// Asserts that each framework's index of tasks leads to its tasks.
    fn check_tasks(&self) {
        for (key, framework) in self.frameworks.iter() {
            for (id, (agent, task)) in framework.tasks.iter() {
                let record = &self.agents[*agent].record.tasks[*task];
                assert!(record.id == *id && record.framework == key, "{key:?}: {id} is where the index says");
            }
            framework.check_roles(key);
        }
    }
}
