//! Quotas: set all or none, written before anything else is said, and made room for by taking offers back.
//!
//! What contradicts itself is refused whatever the cluster looks like. What the cluster cannot meet now, or exceeds already,
//! is refused unless the operator insists. After a master's start nothing is offered for a while where there are quotas:
//! until most agents are back it cannot know what is consumed.

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

/// So many of five agents have to be back before a master with quotas offers anything.
const BACK_OF_FIVE: usize = 4;

/// The quotas of a registry. One that makes no sense was not written by any master, and is left out.
pub(in crate::master::core) fn quotas_of(facts: &registry::State) -> BTreeMap<String, Quota> {
    let valid = facts.quotas.iter().filter_map(|(role, config)| Some((role.clone(), quota(config).ok()?)));
    valid.collect()
}

/// What a message says.
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

/// How long a master with quotas waits for agents before it offers anything.
#[derive(Debug)]
pub(in crate::master::core) struct HeldOff {
    /// How many agents the registry named at the start.
    pub(in crate::master::core) agents: usize,
    pub(in crate::master::core) until_ns: u64,
}

impl Master {
    /// Whether too few agents are back to know what the quotas leave.
    pub(in crate::master::core) fn holds_off(&self, now: Now) -> bool {
        now.mono_ns < self.held_off_until_ns()
    }

    /// Until when that is, as long as no more agents come back; 0 where nothing is held off.
    pub(in crate::master::core) fn held_off_until_ns(&self) -> u64 {
        let missing = self.recovered.len().saturating_sub(self.agents.count_incomplete());
        let waits = !self.quotas.is_empty() && missing * 5 > self.held_off.agents * (5 - BACK_OF_FIVE);
        if waits { self.held_off.until_ns } else { 0 }
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
        let checked = checked.and_then(|()| if force { Ok(()) } else { self.quotas_can_be_kept(changes, &all) });
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
            self.make_room_below(turn, role, quota);
        }
        self.make_room_for_guarantees(turn);
        Answer::Done
    }

    /// A limit must not be below what is consumed, nor all guarantees above what the cluster has.
    fn quotas_can_be_kept(&self, changes: &[(String, Quota)], all: &BTreeMap<String, Quota>) -> Result<(), String> {
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
                self.agents.iter().filter(|(_, agent)| !matches!(agent.bucket.presence, Presence::Unreachable { .. }));
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

    /// Offers in a role that is over its limit go back, the newest first.
    fn make_room_below(&mut self, turn: &mut Turn<'_>, role: &str, quota: &Quota) {
        for (name, &limit) in &quota.limits {
            if self.ledger.shares().consumed(role, name) <= limit {
                continue;
            }
            for (key, agent) in self.newest_offers() {
                if self.ledger.shares().consumed(role, name) <= limit {
                    break;
                }
                let offer = &self.agents[agent].bucket.offers[&key];
                if is_self_or_below(&offer.client.role, role) && !offer.resources.unreserved().scalar(name).is_zero() {
                    self.rescind(turn, key);
                }
            }
        }
    }

    /// Offers of what guarantees lack go back, the newest first, but for those of roles with guarantees of their own.
    fn make_room_for_guarantees(&mut self, turn: &mut Turn<'_>) {
        if self.ledger.shares().lacking().is_empty() {
            return;
        }
        for (key, agent) in self.newest_offers() {
            let lacking = self.ledger.shares().lacking();
            if lacking.is_empty() {
                return;
            }
            let offer = &self.agents[agent].bucket.offers[&key];
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

/// What all roles together are guaranteed: a guarantee below another is part of it.
fn guaranteed(all: &BTreeMap<String, Quota>, name: &std::sync::Arc<str>) -> Milli {
    let has = |role: &str| all.get(role).is_some_and(|quota| quota.guarantees.contains_key(name));
    let above = |role: &str| {
        std::iter::successors(role.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/'))
            .any(|(parent, _)| has(parent))
    };
    let top = all.iter().filter(|(role, _)| has(role) && !above(role));
    top.map(|(_, quota)| quota.guarantees[name]).sum()
}
