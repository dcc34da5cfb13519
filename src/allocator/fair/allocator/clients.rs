//! Clients in runs: which ones take part, and what each has refused of which agent.

use std::fmt::Debug;

use super::{Allocator, Now, Refusal, RoleId};
use crate::allocator::fair::tree::ClientState;

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// Adds a framework to a role, active. An existing one does not change.
    pub fn add_client(&mut self, role: &str, framework: K) -> RoleId {
        if let Some(id) = self.shares.role(role).filter(|id| self.shares.has_client(*id, framework)) {
            return id;
        }
        let id = self.shares.add_client(role, framework);
        self.moment += 1;
        let moment = self.moment;
        *self.state_mut(id, framework) = ClientState { added: moment, revived: moment, changed: moment, idle: false };
        self.awake += 1;
        self.changes.add_client((id, framework));
        id
    }

    /// Removes a framework from a role with its allocations and refusals.
    pub fn remove_client(&mut self, role: RoleId, framework: K) {
        if self.shares.has_client(role, framework) {
            self.awake -= usize::from(self.is_awake(role, framework));
        }
        self.shares.remove_client(role, framework);
        self.changes.forget_client((role, framework));
        self.advance_quota_generation();
    }

    /// Sets whether a client takes part in runs; it does not while it is suppressed or disconnected.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_active(&mut self, role: RoleId, framework: K, active: bool) {
        let was_awake = self.is_awake(role, framework);
        match (self.shares.is_active(role, framework), active) {
            (false, true) => {
                self.shares.activate(role, framework);
                self.changes.add_client((role, framework));
            }
            (true, false) => self.shares.deactivate(role, framework),
            (true, true) | (false, false) => return,
        }
        self.count_awake(role, framework, was_awake);
    }

    /// Returns whether any client that takes part in runs is not idle.
    #[must_use]
    pub fn any_awake(&self) -> bool {
        self.awake > 0
    }

    fn is_awake(&self, role: RoleId, framework: K) -> bool {
        let node = self.shares.client_node(role, framework);
        self.shares.tree.is_active(node) && !self.shares.tree.state(node).idle
    }

    fn count_awake(&mut self, role: RoleId, framework: K, was: bool) {
        self.awake += usize::from(self.is_awake(role, framework));
        self.awake -= usize::from(was);
    }

    /// Sets whether only runs for [all](super::super::Serve::All) clients serve this one.
    ///
    /// The caller marks what it missed while it was idle for the next of those runs.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_idle(&mut self, role: RoleId, framework: K, idle: bool) {
        let was_awake = self.is_awake(role, framework);
        self.state_mut(role, framework).idle = idle;
        self.count_awake(role, framework, was_awake);
    }

    /// Records that a client can use more than before, for example by a new capability or demand.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn client_changed(&mut self, role: RoleId, framework: K) {
        self.moment += 1;
        self.state_mut(role, framework).changed = self.moment;
        self.changes.add_client((role, framework));
    }

    /// Records a client's refusal of resources of an agent.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn refuse(&mut self, agent: A, role: RoleId, framework: K, refusal: Refusal) {
        let node = self.shares.client_node(role, framework);
        if let Some(agent_state) = self.agents.get_mut(&agent) {
            let state = self.shares.tree.state(node);
            agent_state.pairs.entry(node).or_default().refuse(refusal, state, self.moment);
        }
    }

    /// Ends every refusal of a client, as for REVIVE. Costs the same however many there are.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn forget_refusals(&mut self, role: RoleId, framework: K) {
        self.moment += 1;
        self.state_mut(role, framework).revived = self.moment;
        self.changes.add_client((role, framework));
    }

    /// Ends every refusal of an agent, as when its attributes change.
    pub fn forget_refusals_of(&mut self, agent: A) {
        if let Some(agent_state) = self.agents.get_mut(&agent) {
            agent_state.pairs.values_mut().for_each(super::PairState::forget_refusals);
            agent_state.pairs.retain(|_, pair| !pair.is_blank());
            self.mark_dirty(agent);
        }
    }

    /// Records an offer of the agent to a client: until then no second one is made.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_fresh(&mut self, agent: A, role: RoleId, framework: K, until_ns: u64) {
        let node = self.shares.client_node(role, framework);
        if let Some(agent_state) = self.agents.get_mut(&agent) {
            let state = self.shares.tree.state(node);
            agent_state.pairs.entry(node).or_default().set_fresh(until_ns, state, self.moment);
        }
    }

    /// Records that the offer that was [fresh](Self::set_fresh) until then is no longer outstanding.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn clear_fresh(&mut self, agent: A, role: RoleId, framework: K, until_ns: u64) {
        let node = self.shares.client_node(role, framework);
        let Some(agent_state) = self.agents.get_mut(&agent) else { return };
        let Some(pair) = agent_state.pairs.get_mut(&node) else { return };
        pair.forget_void(self.shares.tree.state(node));
        if pair.clear_fresh(until_ns) {
            self.changes.add_pair(agent, (role, framework));
        }
        if pair.is_blank() {
            agent_state.pairs.remove(&node);
        }
    }

    /// Ends refusals and fresh offers of an agent that are over by now.
    pub fn refusals_ended(&mut self, agent: A, now: Now) {
        let Self { shares, agents, changes, .. } = self;
        let Some(agent_state) = agents.get_mut(&agent) else { return };
        agent_state.pairs.retain(|node, pair| {
            pair.forget_void(shares.tree.state(*node));
            if pair.forget_ended(now)
                && let Some(client) = shares.tree.client(*node)
            {
                changes.add_pair(agent, client);
            }
            !pair.is_blank()
        });
    }

    /// Returns when the next refusal of an agent ends, or the next fresh offer that a run waits for.
    #[must_use]
    pub fn next_refusal_end(&self, agent: A, now: Now) -> Option<u64> {
        self.agents.get(&agent)?.pairs.values().filter_map(|pair| pair.next_end(now)).min()
    }

    /// Returns the agents where runs since the last call skipped a client because of a fresh offer, and until when.
    ///
    /// [`refusals_ended`](Self::refusals_ended) is due then.
    #[must_use]
    pub fn take_skipped(&mut self) -> Vec<(A, u64)> {
        std::mem::take(&mut self.skipped)
    }

    fn state_mut(&mut self, role: RoleId, framework: K) -> &mut ClientState {
        let node = self.shares.client_node(role, framework);
        self.shares.tree.state_mut(node)
    }
}
