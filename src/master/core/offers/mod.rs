//! Offers: made, accepted, declined, rescinded, expired. Exactly one of the last four ends an offer.

mod allocation;
mod overdue;

use std::{sync::Arc, time::Duration};

pub(in crate::master::core) use self::overdue::Overdue;
use crate::{
    allocator::fair::Refusal as Refused,
    master::core::{
        Accept, Client, Event, Launch, Master, Operation, Refusal, Turn,
        agents::Presence,
        frameworks::{ClientState, Framework},
        keys::{AgentKey, FrameworkKey, OfferKey, offer_key},
        ledger::Holding,
        timers::Timer,
    },
    types::{Milli, Resources},
};

/// Resources of one agent offered to one client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) client: Client,
    pub(crate) resources: Arc<Resources>,
    pub(crate) made_ns: u64,
}

/// An offer that was removed because it was accepted, declined, rescinded or expired.
#[derive(Debug)]
pub(in crate::master::core) struct RemovedOffer {
    pub(in crate::master::core) agent: AgentKey,
    pub(in crate::master::core) offer: Offer,
}

/// The cost of rescinding an offer, in the units of [`Turn::spend`].
const WORK_PER_OFFER: usize = 2;

impl Master {
    /// Removes an offer and frees its resources; the caller counts and reports it.
    fn remove_offer(&mut self, key: OfferKey) -> Option<RemovedOffer> {
        let agent_key = self.offers.remove(&key)?;
        let offer = self.agents.get_mut(agent_key)?.record_mut().offers.remove(&key)?;
        let held = self.ledger.release(agent_key, Holding::Offer(key));
        if let Some((framework, role)) = held.and_then(|held| held.client) {
            let fresh_until_ns = offer.made_ns.saturating_add(nanos(self.config.refusal_floor));
            self.ledger.shares_mut().clear_fresh(agent_key, role, framework, fresh_until_ns);
        }
        let quantities = offer.resources.quantities();
        if let Some(framework) = self.frameworks.get_mut(offer.client.framework) {
            framework.remove_outstanding(key, &quantities);
        }
        self.reopen_demand(offer.client.framework);
        self.mark_dirty(agent_key);
        Some(RemovedOffer { agent: agent_key, offer })
    }

    /// Changes the state of a client and updates the allocator.
    fn change_client(&mut self, client: &Client, change: impl FnOnce(&mut ClientState)) {
        if let Some(framework) = self.frameworks.get_mut(client.framework)
            && let Some(state) = framework.roles.get_mut(&client.role)
        {
            change(state);
            self.serve_client(client.framework, &client.role);
        }
    }

    /// Removes an offer and sends RESCIND to its framework.
    pub(in crate::master::core) fn rescind(&mut self, turn: &mut Turn<'_>, key: OfferKey) {
        let Some(removed) = self.remove_offer(key) else { return };
        self.counts.offers_rescinded += 1;
        self.change_client(&removed.offer.client, ClientState::rescinded);
        self.send_rescinded(turn, &removed, key);
    }

    fn send_rescinded(&mut self, turn: &mut Turn<'_>, removed: &RemovedOffer, key: OfferKey) {
        let key_of = removed.offer.client.framework;
        // An instance that took over was never sent the offers that are being withdrawn.
        if let Some(framework) = self.frameworks.get(key_of).filter(|_| !self.frameworks.is_withdrawing(key_of)) {
            turn.send_event(framework.session, Event::Rescinded { offer: key });
        }
    }

    /// Rescinds all offers of an agent.
    pub(in crate::master::core) fn rescind_all(&mut self, turn: &mut Turn<'_>, agent: AgentKey) {
        let keys: Vec<OfferKey> = self.agents[agent].record.offers.keys().copied().collect();
        for key in keys {
            self.rescind(turn, key);
        }
    }

    /// Rescinds a framework's offers, of one role or all.
    pub(in crate::master::core) fn rescind_of(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        role: Option<&Arc<str>>,
    ) {
        for key in self.offers_of(framework, role) {
            self.rescind(turn, key);
        }
    }

    /// Removes the offers of a framework that disconnected, failed over or was removed, as many as a turn may. No
    /// RESCIND is sent.
    pub(in crate::master::core) fn withdraw_offers(&mut self, turn: &mut Turn<'_>, framework: FrameworkKey) {
        self.frameworks.begin_withdrawal(framework);
        self.continue_withdrawals(turn);
    }

    /// Continues to remove such offers.
    pub(in crate::master::core) fn continue_withdrawals(&mut self, turn: &mut Turn<'_>) {
        while !turn.is_spent()
            && let Some(framework) = self.frameworks.withdrawing()
        {
            turn.spend(WORK_PER_OFFER);
            if !self.withdraw_one(framework) {
                self.frameworks.end_withdrawal(framework);
                self.serve_framework(framework);
            }
        }
    }

    /// Removes one such offer; returns false if there is none.
    fn withdraw_one(&mut self, framework: FrameworkKey) -> bool {
        let offer = self.frameworks.get(framework).and_then(|one| one.outstanding.first().copied());
        let Some(removed) = offer.and_then(|offer| self.remove_offer(offer)) else { return false };
        let one = self.frameworks.get_mut(framework);
        if let Some(state) = one.and_then(|one| one.roles.get_mut(&removed.offer.client.role)) {
            state.rescinded();
        }
        true
    }

    fn offers_of(&self, framework: FrameworkKey, role: Option<&Arc<str>>) -> Vec<OfferKey> {
        let Some(one) = self.frameworks.get(framework) else { return Vec::new() };
        let of = |key: &OfferKey| {
            role.is_none_or(|role| self.agents[self.offers[key]].record.offers[key].client.role == *role)
        };
        one.outstanding.iter().filter(|key| of(key)).copied().collect()
    }

    pub(in crate::master::core) fn backoff_ended(&mut self, turn: &Turn<'_>, framework: FrameworkKey) {
        let Some(one) = self.frameworks.get_mut(framework) else { return };
        one.roles.values_mut().for_each(|state| state.end_backoff(turn.now));
        self.serve_framework(framework);
    }

    pub(in crate::master::core) fn decline(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        offers: &[String],
        refuse: Option<Duration>,
    ) {
        for id in offers {
            let Some(key) = self.own_offer(framework, id) else { continue };
            let Some(removed) = self.remove_offer(key) else { continue };
            self.counts.offers_declined += 1;
            self.change_client(&removed.offer.client, |state| state.answered(false));
            self.record_refusal(turn, &removed, refuse, true);
        }
    }

    fn own_offer(&self, framework: FrameworkKey, id: &str) -> Option<OfferKey> {
        let key = offer_key(&self.id, id)?;
        let agent = self.offers.get(&key)?;
        let is_its = self.agents[*agent].record.offers[&key].client.framework == framework;
        (is_its && !self.frameworks.is_withdrawing(framework)).then_some(key)
    }

    /// Records a refusal. It holds for at least the floor if `whole`, and for the time of the filter against offers of
    /// no more than these resources.
    fn record_refusal(&mut self, turn: &Turn<'_>, removed: &RemovedOffer, refuse: Option<Duration>, whole: bool) {
        let floor_ns = if whole { turn.now.mono_after(self.config.refusal_floor) } else { turn.now.mono_ns };
        let until_ns = refuse.map_or(turn.now.mono_ns, |refuse| turn.now.mono_after(refuse));
        if floor_ns.max(until_ns) <= turn.now.mono_ns || removed.offer.resources.is_empty() {
            return;
        }
        let Client { framework, role } = &removed.offer.client;
        let Some(id) = self.ensure_client(*framework, role) else { return };
        let refused = Refused { floor_ns, until_ns, resources: removed.offer.resources.clone() };
        self.ledger.shares_mut().refuse(removed.agent, id, *framework, refused);
        // The timer of the second end is armed when the first one fires.
        if let Some(first_ns) = [floor_ns, until_ns].into_iter().filter(|at| *at > turn.now.mono_ns).min() {
            self.timers.arm_roughly(first_ns, Timer::RefusalEnded(removed.agent));
        }
    }

    pub(in crate::master::core) fn refusal_ended(&mut self, turn: &Turn<'_>, agent: AgentKey) {
        self.ledger.shares_mut().refusals_ended(agent, turn.now);
        if let Some(next_ns) = self.ledger.shares().next_refusal_end(agent, turn.now) {
            self.timers.arm_roughly(next_ns, Timer::RefusalEnded(agent));
        }
    }

    pub(in crate::master::core) fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        accept: Accept,
    ) -> Result<(), Refusal> {
        let launches = accept.operations.iter().any(|one| matches!(one, Operation::Launch(tasks) if !tasks.is_empty()));
        let (agent, client) = match self.one_agent_of(framework, &accept.offers) {
            Ok(found) => found,
            Err(text) => {
                self.accept_void(turn, framework, accept, &text);
                return Err(Refusal { partially_applied: true, ..Refusal::new("accept.offer_ids", text) });
            }
        };
        let mut remaining = Resources::default();
        for id in &accept.offers {
            if let Some(removed) = self.own_offer(framework, id).and_then(|key| self.remove_offer(key)) {
                remaining += &removed.offer.resources;
                self.change_client(&removed.offer.client, |state| state.answered(launches));
            }
        }
        self.counts.offers_accepted += 1;
        let mut outcome = Ok(());
        for (number, operation) in accept.operations.into_iter().enumerate() {
            match operation {
                Operation::Launch(tasks) => {
                    for task in tasks {
                        self.launch(turn, agent, &client, &mut remaining, task);
                    }
                }
                Operation::Unsupported { name, id, text, tasks } => {
                    if let Some(id) = id {
                        let session = self.frameworks[framework].session;
                        turn.send_event(session, Event::OperationFailed { id, text: text.clone() });
                    }
                    for task in tasks {
                        let task = Launch { invalid: Some(text.clone()), ..task };
                        self.launch(turn, agent, &client, &mut remaining, task);
                    }
                    if outcome.is_ok() {
                        let field = format!("accept.operations[{number}].{name}");
                        outcome = Err(Refusal { partially_applied: true, ..Refusal::new(&field, text) });
                    }
                }
            }
        }
        let left = RemovedOffer { agent, offer: Offer { client, resources: Arc::new(remaining), made_ns: 0 } };
        self.record_refusal(turn, &left, accept.refuse, !launches);
        outcome
    }

    /// Checks that the offers of an ACCEPT exist, are this framework's, and are of one agent and one role.
    fn one_agent_of(&self, framework: FrameworkKey, ids: &[String]) -> Result<(AgentKey, Client), String> {
        let mut seen = std::collections::BTreeSet::new();
        let mut found: Option<(AgentKey, &Client)> = None;
        for id in ids {
            if !seen.insert(id) {
                return Err(format!("offer {id} is named twice"));
            }
            let gone = || format!("offer {id} is no longer valid");
            let key =
                offer_key(&self.id, id).filter(|_| !self.frameworks.is_withdrawing(framework)).ok_or_else(gone)?;
            let agent = *self.offers.get(&key).ok_or_else(gone)?;
            let client = &self.agents[agent].record.offers[&key].client;
            if client.framework != framework {
                return Err(format!("offer {id} was made to another framework"));
            }
            match found {
                Some((other, _)) if other != agent => return Err("the offers are of different agents".to_owned()),
                Some((_, other)) if other.role != client.role => {
                    return Err("the offers are of different roles".to_owned());
                }
                Some(_) | None => found = Some((agent, client)),
            }
        }
        let (agent, client) = found.ok_or_else(|| "no offer is named".to_owned())?;
        if self.agents[agent].record.presence != Presence::Connected {
            return Err(format!("agent {} is disconnected", self.agents[agent].record.id));
        }
        Ok((agent, client.clone()))
    }

    /// Handles an ACCEPT of offers that cannot be used together: removes each offer, and sends a status for every task.
    fn accept_void(&mut self, turn: &mut Turn<'_>, framework: FrameworkKey, accept: Accept, text: &str) {
        for id in &accept.offers {
            if let Some(removed) = self.own_offer(framework, id).and_then(|key| self.remove_offer(key)) {
                self.change_client(&removed.offer.client, |state| state.answered(true));
            }
        }
        for operation in accept.operations {
            match operation {
                Operation::Launch(tasks) => {
                    for task in tasks {
                        self.drop_launch(turn, framework, &task, text);
                    }
                }
                Operation::Unsupported { id, tasks, .. } => {
                    if let Some(id) = id {
                        let session = self.frameworks[framework].session;
                        turn.send_event(session, Event::OperationFailed { id, text: text.to_owned() });
                    }
                    for task in tasks {
                        self.drop_launch(turn, framework, &task, text);
                    }
                }
            }
        }
    }

    fn named_roles(&self, framework: FrameworkKey, roles: &[String], call: &str) -> Result<Vec<Arc<str>>, Refusal> {
        let own = &self.frameworks[framework].roles;
        if roles.is_empty() {
            return Ok(own.keys().cloned().collect());
        }
        let named = roles.iter().enumerate().map(|(number, role)| {
            own.get_key_value(role.as_str()).map(|(role, _)| role.clone()).ok_or_else(|| {
                Refusal::new(&format!("{call}.roles[{number}]"), format!("not subscribed to role {role}"))
            })
        });
        named.collect()
    }

    /// Ends suppression and all refusals of the roles, and makes offers at once.
    pub(in crate::master::core) fn revive(
        &mut self,
        _turn: &mut Turn<'_>,
        framework: FrameworkKey,
        roles: &[String],
    ) -> Result<(), Refusal> {
        for role in self.named_roles(framework, roles, "revive")? {
            let client = Client { framework, role };
            self.change_client(&client, |state| {
                state.suppressed = false;
                state.activate();
            });
            if let Some(id) = self.ensure_client(framework, &client.role) {
                self.ledger.shares_mut().forget_refusals(id, framework);
            }
        }
        Ok(())
    }

    /// Stops offers for these roles until they are revived; outstanding offers stay.
    pub(in crate::master::core) fn suppress(
        &mut self,
        framework: FrameworkKey,
        roles: &[String],
    ) -> Result<(), Refusal> {
        for role in self.named_roles(framework, roles, "suppress")? {
            self.change_client(&Client { framework, role }, |state| state.suppressed = true);
        }
        Ok(())
    }

    /// Sets the framework's demand: it is offered no more than that until it has launched it. An empty request removes
    /// the demand.
    pub(in crate::master::core) fn request(
        &mut self,
        _turn: &mut Turn<'_>,
        framework: FrameworkKey,
        resources: &Resources,
    ) {
        let Some(one) = self.frameworks.get_mut(framework) else { return };
        one.demand = (!resources.is_empty()).then(|| resources.quantities());
        one.roles.values_mut().for_each(ClientState::activate);
        self.serve_framework(framework);
        self.framework_changed(framework);
    }

    /// After an offer was removed: a framework with a demand may be offered as much elsewhere now.
    fn reopen_demand(&mut self, framework: FrameworkKey) {
        if self.frameworks.get(framework).is_some_and(Framework::has_open_demand) {
            self.framework_changed(framework);
        }
    }

    /// Subtracts what was launched from the framework's demand.
    pub(in crate::master::core) fn reduce_demand(&mut self, framework: FrameworkKey, launched: &Resources) {
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        let Some(demand) = &mut framework.demand else { return };
        for (name, amount) in launched.quantities() {
            if let Some((_, wanted)) = demand.iter_mut().find(|(wanted, _)| *wanted == name) {
                *wanted = Milli::from_raw((wanted.raw() - amount.raw()).max(0));
            }
        }
        if demand.iter().all(|(_, wanted)| wanted.raw() == 0) {
            framework.demand = None;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
