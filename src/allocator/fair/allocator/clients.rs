//! Clients in runs: who takes part, what each refused of which agent.

use std::fmt::Debug;

use super::{Allocator, Now, Refusal, RoleId};
use crate::allocator::fair::tree::ClientState;

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// Puts a framework into a role, active. One that is there already stays as it is.
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

    /// Takes a framework out of a role; what it still held counts no more, and neither do its refusals.
    pub fn remove_client(&mut self, role: RoleId, framework: K) {
        if self.shares.has_client(role, framework) {
            self.awake -= usize::from(self.is_awake(role, framework));
        }
        self.shares.remove_client(role, framework);
        self.changes.forget_client((role, framework));
        self.quotas_eased();
    }

    /// Whether a client takes part in runs: it does not while it is suppressed or away.
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

    /// Whether any client that takes part in runs is not idle.
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

    /// Whether only runs for [all](super::super::Serve::All) clients look at this one. What it missed while it was idle is
    /// for the caller to have looked at, in the next of those.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_idle(&mut self, role: RoleId, framework: K, idle: bool) {
        let was_awake = self.is_awake(role, framework);
        self.state_mut(role, framework).idle = idle;
        self.count_awake(role, framework, was_awake);
    }

    /// A client can use more than before, say for a new capability or a new demand.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn client_changed(&mut self, role: RoleId, framework: K) {
        self.moment += 1;
        self.state_mut(role, framework).changed = self.moment;
        self.changes.add_client((role, framework));
    }

    /// A client does not want this of an agent.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn refuse(&mut self, agent: A, role: RoleId, framework: K, refusal: Refusal) {
        let node = self.shares.client_node(role, framework);
        if let Some(account) = self.agents.get_mut(&agent) {
            let state = self.shares.tree.state(node);
            account.pairs.entry(node).or_default().refuse(refusal, state, self.moment);
        }
    }

    /// Every refusal of a client ends, as with REVIVE. Costs the same however many there are.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn forget_refusals(&mut self, role: RoleId, framework: K) {
        self.moment += 1;
        self.state_mut(role, framework).revived = self.moment;
        self.changes.add_client((role, framework));
    }

    /// Every refusal of an agent ends, as when its attributes changed.
    pub fn forget_refusals_of(&mut self, agent: A) {
        if let Some(account) = self.agents.get_mut(&agent) {
            account.pairs.values_mut().for_each(super::PairState::forget_refusals);
            account.pairs.retain(|_, pair| !pair.is_blank());
            self.mark_dirty(agent);
        }
    }

    /// An offer of the agent was made to a client: until then it is made no second one.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_fresh(&mut self, agent: A, role: RoleId, framework: K, until_ns: u64) {
        let node = self.shares.client_node(role, framework);
        if let Some(account) = self.agents.get_mut(&agent) {
            let state = self.shares.tree.state(node);
            account.pairs.entry(node).or_default().set_fresh(until_ns, state, self.moment);
        }
    }

    /// The offer that was [fresh](Self::set_fresh) until then is outstanding no more.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn clear_fresh(&mut self, agent: A, role: RoleId, framework: K, until_ns: u64) {
        let node = self.shares.client_node(role, framework);
        let Some(account) = self.agents.get_mut(&agent) else { return };
        let Some(pair) = account.pairs.get_mut(&node) else { return };
        pair.forget_void(self.shares.tree.state(node));
        if pair.clear_fresh(until_ns) {
            self.changes.add_pair(agent, (role, framework));
        }
        if pair.is_blank() {
            account.pairs.remove(&node);
        }
    }

    /// Refusals of an agent may have ended by now, or offers of it be no longer fresh.
    pub fn refusals_ended(&mut self, agent: A, now: Now) {
        let Self { shares, agents, changes, .. } = self;
        let Some(account) = agents.get_mut(&agent) else { return };
        account.pairs.retain(|node, pair| {
            pair.forget_void(shares.tree.state(*node));
            if pair.forget_ended(now)
                && let Some(client) = shares.tree.client(*node)
            {
                changes.add_pair(agent, client);
            }
            !pair.is_blank()
        });
    }

    /// When the first of the refusals of an agent ends that have not, or of the fresh offers that a run waits for.
    #[must_use]
    pub fn next_refusal_end(&self, agent: A, now: Now) -> Option<u64> {
        self.agents.get(&agent)?.pairs.values().filter_map(|pair| pair.next_end(now)).min()
    }

    /// The agents where runs since the last call skipped a client because of a fresh offer, and until when it is that:
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
