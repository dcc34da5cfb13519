//! Admission, loss and removal are durable before anybody is told; what was removed never comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, Event, Order, SessionId},
    proto::internal::registry_change::Kind,
};

#[derive(Debug, Default)]
pub(super) struct RegistryFirst {
    admitted: BTreeSet<String>,
    unreachable: BTreeSet<String>,
    /// The same by what the core has decided; a slow registry has it later.
    decided_unreachable: BTreeSet<String>,
    /// What this master has wanted to be written, and what is.
    proposed: usize,
    written: usize,
    /// How much had been wanted with the last of each agent's own changes.
    of_agent: BTreeMap<String, usize>,
    /// How much has to be written before the agent of a session may be told that it is registered.
    admits: BTreeMap<SessionId, usize>,
    /// Those that were so at some time.
    lost: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// The framework that a session asked to be subscribed as.
    asked: BTreeMap<SessionId, String>,
    /// Sessions that asked to be subscribed as a framework that was removed.
    void: BTreeSet<SessionId>,
}

impl RegistryFirst {
    fn decided(&mut self, kind: &Kind) {
        match kind {
            Kind::AgentUnreachable(agent) => drop(self.decided_unreachable.insert(agent.agent_id.clone())),
            Kind::AgentReachable(id) => drop(self.decided_unreachable.remove(id)),
            _ => {}
        }
    }

    fn durable(&mut self, kind: &Kind) {
        match kind {
            Kind::AgentAdmitted(info) => self.admitted.extend(info.id.as_ref().map(|id| id.value.clone())),
            Kind::AgentUnreachable(agent) => {
                self.unreachable.insert(agent.agent_id.clone());
                self.lost.insert(agent.agent_id.clone());
            }
            Kind::AgentReachable(id) => drop(self.unreachable.remove(id)),
            // That it was admitted may have been decided before and be told after: see `gone` for what is not.
            Kind::AgentGone(agent) => drop(self.lost.insert(agent.agent_id.clone())),
            Kind::AgentRemoved(id) | Kind::AgentForgotten(id) => {
                self.admitted.remove(id);
                self.unreachable.remove(id);
            }
            Kind::FrameworkTombstone(tombstone) => drop(self.removed.insert(tombstone.framework_id.clone())),
            // Masters of this version write tombstones with their time, so none is a mere `FrameworkRemoved`.
            Kind::FrameworkRemoved(_)
            | Kind::Weight(_)
            | Kind::Quotas(_)
            | Kind::FrameworkRun(_)
            | Kind::FrameworkForgotten(_) => {}
        }
    }
}

impl Invariant for RegistryFirst {
    fn name(&self) -> &'static str {
        "registry_first"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Proposed(changes) => {
                self.proposed += changes.len();
                for agent in changes.iter().filter_map(|change| agent_of(change.kind.as_ref()?)) {
                    self.of_agent.insert(agent.to_owned(), self.proposed);
                }
                for kind in changes.iter().filter_map(|change| change.kind.as_ref()) {
                    self.decided(kind);
                }
            }
            Fact::Admits { session, agent } => {
                if self.decided_unreachable.contains(agent) {
                    return Err(format!("{agent} is taken back, and is to be written as unreachable"));
                }
                self.admits.insert(*session, self.of_agent.get(agent).copied().unwrap_or(0));
            }
            Fact::Durable { changes, .. } => {
                self.written += changes.len();
                for kind in changes.iter().filter_map(|change| change.kind.as_ref()) {
                    self.durable(kind);
                }
            }
            Fact::Ordered { session, order: Order::Registered(registered) } => {
                let id = &registered.agent_id;
                if !self.admitted.contains(id) {
                    return Err(format!("{id} is told that it is registered, and the registry does not know it"));
                }
                if self.admits.get(session).is_none_or(|writes| self.written < *writes) {
                    return Err(format!(
                        "{id} is told that it is registered before what was decided of it earlier is written"
                    ));
                }
            }
            Fact::Ordered { order: Order::Shutdown { framework }, .. } if !self.removed.contains(&**framework) => {
                return Err(format!("the tasks of {framework} are to end, and the registry has no tombstone of it"));
            }
            Fact::MasterStarted { .. } => {
                self.void.clear();
                self.asked.clear();
                self.admits.clear();
                self.of_agent.clear();
                (self.proposed, self.written) = (0, 0);
                self.decided_unreachable.clone_from(&self.unreachable);
            }
            Fact::Called { session, call: Call::Subscribe(subscribe) } => {
                if let Some(id) = &subscribe.info.id {
                    self.asked.insert(*session, id.value.clone());
                    if self.removed.contains(&id.value) {
                        self.void.insert(*session);
                    }
                }
            }
            Fact::Told { session, event: Event::Error { text } } if text == "Framework has been removed" => {
                if let Some(id) = self.asked.get(session).filter(|id| !self.removed.contains(*id)) {
                    return Err(format!("{id} is refused as removed, and the registry has no tombstone of it"));
                }
            }
            Fact::Told { session, event: Event::Subscribed { framework, .. } } if self.void.contains(session) => {
                return Err(format!("{framework} is subscribed after it was removed"));
            }
            Fact::Told { event: Event::Failures { agents }, .. } => {
                let unknown = |agent: &&Arc<str>| self.admitted.contains(&***agent) && !self.lost.contains(&***agent);
                if let Some(agent) = agents.iter().find(unknown) {
                    return Err(format!("{agent} is reported lost, and the registry never had it as unreachable"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The agent that a change is about.
fn agent_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::AgentAdmitted(info) => info.id.as_ref().map(|id| id.value.as_str()),
        Kind::AgentUnreachable(agent) => Some(&agent.agent_id),
        Kind::AgentGone(agent) => Some(&agent.agent_id),
        Kind::AgentReachable(id) | Kind::AgentRemoved(id) | Kind::AgentForgotten(id) => Some(id),
        Kind::FrameworkRemoved(_)
        | Kind::FrameworkTombstone(_)
        | Kind::Weight(_)
        | Kind::Quotas(_)
        | Kind::FrameworkRun(_)
        | Kind::FrameworkForgotten(_) => None,
    }
}
