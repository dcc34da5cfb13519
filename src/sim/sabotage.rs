//! Bugs planted at the edges of the cores, to show that the invariants bite.

use super::world::World;
use crate::{
    agent::core::Effect as AgentEffect,
    master::core::{Order, Report, SessionId},
    proto::{
        internal::{MasterMessage, RegistryChange, agent_message, agent_record, master_message, registry_change},
        v1::TaskState,
    },
};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// An agent is told that it is registered before the registry holds it.
    RegistersTooEarly,
    /// The tombstone of a removed framework is not written.
    DropsTombstones,
    /// A status leaves the agent before it is written.
    SendsBeforeWriting,
    /// A status is not written at all.
    DropsStatusRecords,
    /// An acknowledgement is taken for one of another task.
    AcknowledgesAnother,
    /// A task's resources are freed while it runs.
    FreesTooEarly,
    /// What one ACCEPT launched is launched again out of the same offer.
    UsesOffersTwice,
    /// A restarted agent starts again what it had started.
    StartsAgainAfterRestart,
}

/// Whether the changes are lost on their way to the registry.
pub(super) fn drops(sabotage: Option<Sabotage>, changes: &[RegistryChange]) -> bool {
    let tombstone = |change: &RegistryChange| matches!(change.kind, Some(registry_change::Kind::FrameworkRemoved(_)));
    sabotage == Some(Sabotage::DropsTombstones) && changes.iter().any(tombstone)
}

impl World {
    pub(super) fn sabotage_report(&self, report: &mut Report) {
        if self.sabotage == Some(Sabotage::FreesTooEarly)
            && let Report::Updated(update) = report
        {
            update.latest = TaskState::TaskFinished;
        }
    }

    pub(super) fn sabotage_order(&self, _session: SessionId, order: Order) -> Vec<Order> {
        match &order {
            Order::Run { framework, container, info } if self.sabotage == Some(Sabotage::UsesOffersTwice) => {
                let container = format!("{container}-again").into();
                let again = Order::Run { framework: framework.clone(), container, info: info.clone() };
                vec![order, again]
            }
            _ => vec![order],
        }
    }

    pub(super) fn sabotage_agent(&self, effects: Vec<AgentEffect>) -> Vec<AgentEffect> {
        let is_update = |effect: &AgentEffect| match effect {
            AgentEffect::Send { message, .. } => matches!(message.kind, Some(agent_message::Kind::Update(_))),
            _ => false,
        };
        match self.sabotage {
            Some(Sabotage::SendsBeforeWriting) => {
                let (mut first, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_update);
                first.extend(rest);
                first
            }
            Some(Sabotage::DropsStatusRecords) => effects.into_iter().map(without_statuses).collect(),
            _ => effects,
        }
    }

    /// The acknowledgement names the status that another task of the agent waits for.
    pub(super) fn sabotage_order_heard(&self, index: usize, mut message: MasterMessage) -> MasterMessage {
        if self.sabotage != Some(Sabotage::AcknowledgesAnother) {
            return message;
        }
        let Some(master_message::Kind::Acknowledge(acknowledge)) = &mut message.kind else { return message };
        let Some(process) = &self.agents[index].process else { return message };
        let waiting = process.core.snapshot().into_iter().find_map(|record| match record.kind {
            Some(agent_record::Kind::Status(made)) => made.status.filter(|it| it.task_id.value != acknowledge.task_id),
            _ => None,
        });
        if let Some(status) = waiting {
            acknowledge.task_id = status.task_id.value;
            acknowledge.uuid = status.uuid.unwrap_or_default();
        }
        message
    }
}

fn without_statuses(effect: AgentEffect) -> AgentEffect {
    match effect {
        AgentEffect::Persist { mut records, level } => {
            records.retain(|record| !matches!(record.kind, Some(agent_record::Kind::Status(_))));
            AgentEffect::Persist { records, level }
        }
        other => other,
    }
}
