//! Quotas: set all or none, recorded before they are confirmed, and enforced by rescinding offers.
//!
//! Quotas that contradict one another are always refused. Quotas that the cluster cannot meet now, or exceeds already,
//! are refused unless the operator forces them. A master with quotas offers nothing after its start until most agents
//! have re-registered: before, it does not know what is consumed.

use std::collections::BTreeMap;

use crate::{
    allocator::fair::{Quota, QuotaError, check_quotas},
    master::core::{
        Answer, Master, Turn,
        agents::Presence,
        keys::{AgentKey, OfferKey},
    },
    master::registry,
    proto::{
        internal::{Quotas, registry_change},
        v1::{quota::QuotaConfig, value::Scalar},
    },
    types::{Milli, Now, is_self_or_below},
};

/// So many of five agents have to re-register before a master with quotas makes offers.
const REREGISTERED_OF_FIVE: usize = 4;

/// The quotas of a registry, without invalid ones, which no master records.
pub(in crate::master::core) fn quotas_of(facts: &registry::State) -> BTreeMap<String, Quota> {
    let valid = facts.quotas.iter().filter_map(|(role, config)| Some((role.clone(), quota(config).ok()?)));
    valid.collect()
}

/// Converts a quota from its message.
pub(crate) fn quota(config: &QuotaConfig) -> Result<Quota, QuotaError> {
    let amounts = |map: &BTreeMap<String, Scalar>| -> Vec<(String, f64)> {
        map.iter().map(|(name, scalar)| (name.clone(), scalar.value)).collect()
    };
    Quota::new(amounts(&config.guarantees), amounts(&config.limits))
}

fn config(role: &str, quota: &Quota) -> QuotaConfig {
    let scalars = |amounts: &BTreeMap<std::sync::Arc<str>, Milli>| {
        amounts.iter().map(|(name, amount)| (name.to_string(), Scalar { value: amount.as_f64() })).collect()
    };
    QuotaConfig { role: role.to_owned(), guarantees: scalars(&quota.guarantees), limits: scalars(&quota.limits) }
}

/// How long a master with quotas waits for agents before it makes offers.
#[derive(Debug)]
pub(in crate::master::core) struct AllocationHold {
    /// The number of agents in the registry at the start.
    pub(in crate::master::core) agents: usize,
    pub(in crate::master::core) until_ns: u64,
}

impl Master {
    /// Whether too few agents have re-registered to know what is consumed of the quotas.
    pub(in crate::master::core) fn is_allocation_held(&self, now: Now) -> bool {
        now.mono_ns < self.allocation_held_until_ns()
    }

    /// When that ends if no more agents re-register; 0 if allocation is not held.
    pub(in crate::master::core) fn allocation_held_until_ns(&self) -> u64 {
        let missing = self.recovered.len().saturating_sub(self.agents.count_incomplete());
        let waits = !self.quotas.is_empty() && missing * 5 > self.allocation_hold.agents * (5 - REREGISTERED_OF_FIVE);
        if waits { self.allocation_hold.until_ns } else { 0 }
    }

    pub(in crate::master::core) fn set_quotas(
        &mut self,
        turn: &mut Turn<'_>,
        changes: &[(String, Quota)],
        force: bool,
    ) -> Answer {
        let mut all = self.quotas.clone();
        for (role, quota) in changes {
            if quota.is_empty() {
                all.remove(role);
            } else {
                all.insert(role.clone(), quota.clone());
            }
        }
        let checked = check_quotas(&all).map_err(|error| error.to_string());
        let checked = checked.and_then(|()| if force { Ok(()) } else { self.check_feasible(changes, &all) });
        if let Err(text) = checked {
            return Answer::Refused(text);
        }
        let configs: Vec<QuotaConfig> = changes.iter().map(|(role, quota)| config(role, quota)).collect();
        self.record(turn, registry_change::Kind::Quotas(Quotas { configs }));
        self.quotas = all;
        for (role, quota) in changes {
            self.ledger.shares_mut().set_quota(role, (!quota.is_empty()).then_some(quota));
        }
        for (role, quota) in changes {
            self.rescind_over_limit(turn, role, quota);
        }
        self.rescind_for_guarantees(turn);
        Answer::Done
    }

    /// Checks that no limit is below what is consumed, and that the guarantees do not exceed the cluster.
    fn check_feasible(&self, changes: &[(String, Quota)], all: &BTreeMap<String, Quota>) -> Result<(), String> {
        for (role, quota) in changes {
            for (name, &limit) in &quota.limits {
                let consumed = self.ledger.shares().consumed(role, name);
                if consumed > limit {
                    return Err(format!(
                        "role {role} has {name}:{consumed}, over its limit of {name}:{limit}; force sets it all the same"
                    ));
                }
            }
        }
        let names = changes.iter().flat_map(|(_, quota)| quota.guarantees.keys());
        for name in names {
            let guaranteed = guaranteed(all, name);
            let registered =
                self.agents.iter().filter(|(_, agent)| !matches!(agent.record.presence, Presence::Unreachable { .. }));
            let amounts = registered.filter_map(|(key, _)| self.ledger.amounts(key));
            let total: Milli = amounts.map(|amounts| amounts.total.non_revocable().scalar(name)).sum();
            if guaranteed > total {
                return Err(format!(
                    "{name}:{guaranteed} would be guaranteed, the cluster has {name}:{total}; force sets it all the same"
                ));
            }
        }
        Ok(())
    }

    /// Rescinds offers in a role that is over its limit, the newest first.
    fn rescind_over_limit(&mut self, turn: &mut Turn<'_>, role: &str, quota: &Quota) {
        for (name, &limit) in &quota.limits {
            if self.ledger.shares().consumed(role, name) <= limit {
                continue;
            }
            for (key, agent) in self.newest_offers() {
                if self.ledger.shares().consumed(role, name) <= limit {
                    break;
                }
                let offer = &self.agents[agent].record.offers[&key];
                if is_self_or_below(&offer.client.role, role) && !offer.resources.unreserved().scalar(name).is_zero() {
                    self.rescind(turn, key);
                }
            }
        }
    }

    /// Rescinds offers of resources that guarantees lack, the newest first, but none of roles with guarantees.
    fn rescind_for_guarantees(&mut self, turn: &mut Turn<'_>) {
        if self.ledger.shares().lacking().is_empty() {
            return;
        }
        for (key, agent) in self.newest_offers() {
            let lacking = self.ledger.shares().lacking();
            if lacking.is_empty() {
                return;
            }
            let offer = &self.agents[agent].record.offers[&key];
            let guaranteed = self
                .quotas
                .iter()
                .any(|(role, quota)| !quota.guarantees.is_empty() && is_self_or_below(&offer.client.role, role));
            let unreserved = offer.resources.unreserved();
            if !guaranteed && lacking.iter().any(|name| !unreserved.scalar(name).is_zero()) {
                self.rescind(turn, key);
            }
        }
    }

    fn newest_offers(&self) -> Vec<(OfferKey, AgentKey)> {
        self.offers.iter().rev().map(|(key, agent)| (*key, *agent)).collect()
    }
}

/// The sum of all guarantees; a guarantee of a role below another guaranteed role is part of that one's.
fn guaranteed(all: &BTreeMap<String, Quota>, name: &std::sync::Arc<str>) -> Milli {
    let has = |role: &str| all.get(role).is_some_and(|quota| quota.guarantees.contains_key(name));
    let above = |role: &str| {
        std::iter::successors(role.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/'))
            .any(|(parent, _)| has(parent))
    };
    let top = all.iter().filter(|(role, _)| has(role) && !above(role));
    top.map(|(_, quota)| quota.guarantees[name]).sum()
}
