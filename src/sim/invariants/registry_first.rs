//! Admission, loss and removal are durable before anybody is told; what was removed never comes back.

use std::collections::BTreeSet;

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, Event, Order, SessionId},
    proto::internal::registry_change::Kind,
};

#[derive(Debug, Default)]
pub(super) struct RegistryFirst {
    admitted: BTreeSet<String>,
    unreachable: BTreeSet<String>,
    /// Those that were so at some time.
    lost: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// Sessions that asked to be subscribed as a framework that was removed.
    void: BTreeSet<SessionId>,
}

impl RegistryFirst {
    fn durable(&mut self, kind: &Kind) {
        match kind {
            Kind::AgentAdmitted(info) => self.admitted.extend(info.id.as_ref().map(|id| id.value.clone())),
            Kind::AgentUnreachable(agent) => {
                self.unreachable.insert(agent.agent_id.clone());
                self.lost.insert(agent.agent_id.clone());
            }
            Kind::AgentReachable(id) => drop(self.unreachable.remove(id)),
            Kind::AgentGone(agent) => drop(self.admitted.remove(&agent.agent_id)),
            Kind::AgentRemoved(id) | Kind::AgentForgotten(id) => {
                self.admitted.remove(id);
                self.unreachable.remove(id);
            }
            Kind::FrameworkRemoved(id) => drop(self.removed.insert(id.clone())),
            Kind::Weight(_) | Kind::Quotas(_) => {}
        }
    }
}

impl Invariant for RegistryFirst {
    fn name(&self) -> &'static str {
        "registry_first"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Durable(changes) => changes.iter().filter_map(|it| it.kind.as_ref()).for_each(|it| self.durable(it)),
            Fact::Ordered { order: Order::Registered(registered), .. } => {
                let id = &registered.agent_id;
                if !self.admitted.contains(id) {
                    return Err(format!("{id} is told that it is registered, and the registry does not know it"));
                }
                if self.unreachable.contains(id) {
                    return Err(format!("{id} is told that it is registered, and the registry has it as unreachable"));
                }
            }
            Fact::Ordered { order: Order::Shutdown { framework }, .. } if !self.removed.contains(&**framework) => {
                return Err(format!("the tasks of {framework} are to end, and the registry has no tombstone of it"));
            }
            Fact::MasterStarted { .. } => self.void.clear(),
            Fact::Called { session, call: Call::Subscribe(subscribe) }
                if subscribe.info.id.as_ref().is_some_and(|id| self.removed.contains(&id.value)) =>
            {
                self.void.insert(*session);
            }
            Fact::Told { session, event: Event::Subscribed { framework } } if self.void.contains(session) => {
                return Err(format!("{framework} is subscribed after it was removed"));
            }
            Fact::Told { event: Event::Failure { agent }, .. }
                if self.admitted.contains(&**agent) && !self.lost.contains(&**agent) =>
            {
                return Err(format!("{agent} is told to be lost, and the registry never had it as unreachable"));
            }
            _ => {}
        }
        Ok(())
    }
}
