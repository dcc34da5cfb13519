//! What an operator marked gone stays so: from then on the agent is never told again that it is registered and nothing of
//! it is offered; its tasks' end is told when the registry has it, and once.

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
    /// What the registry has as gone.
    durable: BTreeSet<String>,
    /// The same by what the present master has decided; a slow registry has it later.
    decided: BTreeSet<String>,
    /// The agent that registered in a session.
    registering: BTreeMap<SessionId, String>,
    /// What operators have asked for.
    asked: BTreeSet<String>,
    /// Ends by an operator that a callback took, by framework, life and task.
    taken: BTreeSet<(usize, u64, String)>,
    /// Tasks that were asked after.
    questions: BTreeSet<(usize, String)>,
    /// Frameworks that asked after all their tasks: an answer to that may repeat an end.
    asked_all: BTreeSet<usize>,
}

/// The agents that the changes make gone.
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
            Fact::Ordered { session, order: Order::Gone } => {
                if let Some(agent) = self.registering.get(session).filter(|agent| !self.durable.contains(*agent)) {
                    return Err(format!("{agent} is sent away as gone, and the registry does not have it as gone"));
                }
            }
            Fact::MarkedGone { agent } => drop(self.asked.insert(agent.clone())),
            Fact::Proposed(changes) => {
                for id in made_gone(changes) {
                    if !self.asked.contains(id) {
                        return Err(format!("{id} is gone, and nobody asked for that"));
                    }
                    self.decided.insert(id.clone());
                }
            }
            Fact::Durable { changes, .. } => self.durable.extend(made_gone(changes).cloned()),
            Fact::Admits { agent, .. } if self.decided.contains(agent) => {
                return Err(format!("{agent} is told that it is registered, and was marked gone"));
            }
            Fact::Admits { session, agent } => drop(self.registering.insert(*session, agent.clone())),
            Fact::Made { offers, .. } => {
                if let Some(offer) = offers.iter().find(|offer| self.decided.contains(&*offer.agent)) {
                    return Err(format!("{} is offered, and {} was marked gone", offer.resources, offer.agent));
                }
            }
            Fact::Told { event: Event::Updated { status }, .. } if status.state() == TaskState::TaskGoneByOperator => {
                let agent = status.agent_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
                if !self.durable.contains(agent) {
                    let task = &status.task_id.value;
                    return Err(format!("{task} is told to be gone, and the registry does not have {agent:?} as gone"));
                }
            }
            Fact::Asked { framework, request: Request::Reconcile { tasks } } => {
                if tasks.is_empty() {
                    self.asked_all.insert(*framework);
                }
                self.questions.extend(tasks.iter().map(|(task, _)| (*framework, task.value.clone())));
            }
            Fact::Returned { framework, life, event: SchedulerEvent::StatusUpdate(status), ok: true }
                if status.state() == TaskState::TaskGoneByOperator =>
            {
                let (task, asked) = (status.task_id.value.clone(), (*framework, status.task_id.value.clone()));
                let is_answer = status.reason() == Reason::Reconciliation && self.asked_all.contains(framework);
                let asked = self.questions.contains(&asked) || is_answer;
                if !self.taken.insert((*framework, *life, task.clone())) && !asked {
                    return Err(format!("{task} is told twice to be gone"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
