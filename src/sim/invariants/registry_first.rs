//! Admission, loss and removal are durable before they are reported. A removed framework never re-registers.

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
    /// Agents that the core decided to mark unreachable; a slow registry records them later.
    decided_unreachable: BTreeSet<String>,
    /// How many changes this master has requested, and how many are written.
    proposed: usize,
    written: usize,
    /// How many changes had been requested with the last change of each agent.
    of_agent: BTreeMap<String, usize>,
    /// How many changes have to be written before the agent of a session may be sent its registration.
    admits: BTreeMap<SessionId, usize>,
    /// Agents that were unreachable or gone at some time.
    lost: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// The framework named by each session's SUBSCRIBE.
    asked: BTreeMap<SessionId, String>,
    /// Sessions that subscribe as a removed framework.
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
            // Its admission may have been decided before and sent after; `gone` checks the rest.
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
            Fact::Admitted { session, agent } => {
                if self.decided_unreachable.contains(agent) {
                    return Err(format!("{agent} is admitted, and is about to be written as unreachable"));
                }
                self.admits.insert(*session, self.of_agent.get(agent).copied().unwrap_or(0));
            }
            Fact::Durable { changes, .. } => {
                self.written += changes.len();
                for kind in changes.iter().filter_map(|change| change.kind.as_ref()) {
                    self.durable(kind);
                }
            }
            Fact::OrderSent { session, order: Order::Registered(registered) } => {
                let id = &registered.agent_id;
                if !self.admitted.contains(id) {
                    return Err(format!("{id} is sent its registration, and the registry does not have it"));
                }
                if self.admits.get(session).is_none_or(|writes| self.written < *writes) {
                    return Err(format!("{id} is sent its registration before earlier changes of it are written"));
                }
            }
            Fact::OrderSent { order: Order::Shutdown { framework }, .. } if !self.removed.contains(&**framework) => {
                return Err(format!("the tasks of {framework} are shut down, and the registry has no tombstone of it"));
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
            Fact::EventSent { session, event: Event::Error { text } } if text == "Framework has been removed" => {
                if let Some(id) = self.asked.get(session).filter(|id| !self.removed.contains(*id)) {
                    return Err(format!("{id} is refused as removed, and the registry has no tombstone of it"));
                }
            }
            Fact::EventSent { session, event: Event::Subscribed { framework, .. } } if self.void.contains(session) => {
                return Err(format!("{framework} is subscribed after it was removed"));
            }
            Fact::EventSent { event: Event::Failures { agents }, .. } => {
                let unknown = |agent: &&Arc<str>| self.admitted.contains(&***agent) && !self.lost.contains(&***agent);
                if let Some(agent) = agents.iter().find(unknown) {
                    return Err(format!("{agent} is reported lost, and the registry never recorded it as unreachable"));
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
