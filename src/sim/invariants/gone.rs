//! An agent that an operator marked gone stays gone.
//!
//! It is never registered again, and nothing of it is offered. The end of its tasks is reported once, after the registry
//! has recorded it as gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known};
use crate::{
    framework::{SchedulerEvent, core::Request},
    master::core::{Event, Order, Report, SessionId},
    proto::{
        internal::{RegistryChange, registry_change::Kind},
        v1::{TaskState, task_status::Reason},
    },
};

#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Agents that the registry records as gone.
    durable: BTreeSet<String>,
    /// Agents that the present master decided to mark gone; a slow registry records them later.
    decided: BTreeSet<String>,
    /// The agent that registered in a session.
    registering: BTreeMap<SessionId, String>,
    /// Agents that operators marked gone.
    asked: BTreeSet<String>,
    /// `TASK_GONE_BY_OPERATOR` statuses that a callback accepted, by framework, life and task.
    taken: BTreeSet<(usize, u64, String)>,
    /// Tasks that were reconciled.
    reconciled: BTreeSet<(usize, String)>,
    /// Frameworks that reconciled all their tasks: an answer to that may repeat an end.
    reconciled_all: BTreeSet<usize>,
}

/// The agents that the changes mark gone.
fn made_gone(changes: &[RegistryChange]) -> impl Iterator<Item = &String> {
    changes.iter().filter_map(|change| match &change.kind {
        Some(Kind::AgentGone(gone)) => Some(&gone.agent_id),
        _ => None,
    })
}

impl Invariant for Gone {
    fn name(&self) -> &'static str {
        "gone"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => {
                self.decided.clone_from(&self.durable);
                self.registering.clear();
            }
            Fact::Reported { session, report: Report::Register(register) } => {
                self.registering.extend(register.id.clone().map(|id| (*session, id)));
            }
            Fact::OrderSent { session, order: Order::Gone } => {
                if let Some(agent) = self.registering.get(session).filter(|agent| !self.durable.contains(*agent)) {
                    return Err(format!("{agent} is sent Gone, and the registry does not record it as gone"));
                }
            }
            Fact::MarkedGone { agent } => drop(self.asked.insert(agent.clone())),
            Fact::Proposed(changes) => {
                for id in made_gone(changes) {
                    if !self.asked.contains(id) {
                        return Err(format!("{id} is gone without an operator's request"));
                    }
                    self.decided.insert(id.clone());
                }
            }
            Fact::Durable { changes, .. } => self.durable.extend(made_gone(changes).cloned()),
            Fact::Admitted { agent, .. } if self.decided.contains(agent) => {
                return Err(format!("{agent} is admitted, and was marked gone"));
            }
            Fact::Admitted { session, agent } => drop(self.registering.insert(*session, agent.clone())),
            Fact::OffersMade { offers, .. } => {
                if let Some(offer) = offers.iter().find(|offer| self.decided.contains(&*offer.agent)) {
                    return Err(format!("{} is offered, and {} was marked gone", offer.resources, offer.agent));
                }
            }
            Fact::EventSent { event: Event::Updated { status }, .. }
                if status.state() == TaskState::TaskGoneByOperator =>
            {
                let agent = status.agent_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
                if !self.durable.contains(agent) {
                    let task = &status.task_id.value;
                    return Err(format!("{task} is reported gone, and the registry does not record {agent:?} as gone"));
                }
            }
            Fact::Requested { framework, request: Request::Reconcile { tasks } } => {
                if tasks.is_empty() {
                    self.reconciled_all.insert(*framework);
                }
                self.reconciled.extend(tasks.iter().map(|(task, _)| (*framework, task.value.clone())));
            }
            Fact::CallbackReturned { framework, life, event: SchedulerEvent::StatusUpdate(status), ok: true }
                if status.state() == TaskState::TaskGoneByOperator =>
            {
                let (task, asked) = (status.task_id.value.clone(), (*framework, status.task_id.value.clone()));
                let is_answer = status.reason() == Reason::Reconciliation && self.reconciled_all.contains(framework);
                let asked = self.reconciled.contains(&asked) || is_answer;
                if !self.taken.insert((*framework, *life, task.clone())) && !asked {
                    return Err(format!("{task} is reported gone twice"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
