//! A registered agent with intact links is not marked unreachable, however slow a registry or a disk is.
//!
//! Checked until a link is cut or slowed in the history, because an agent may seem silent after that.

use std::collections::BTreeSet;

use super::{Fact, Invariant, Known};
use crate::{
    proto::internal::{RegistryChange, master_message, registry_change::Kind},
    sim::{faults::Fault, world::World},
};

/// The faults that may disturb the link between an agent and the master.
const LINK_FAULTS: [Fault; 7] =
    [Fault::Cut, Fault::OneWayCut, Fault::Isolation, Fault::SlowLink, Fault::MassLoss, Fault::Pause, Fault::SlowReader];

#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// Running agents registered with the present master, by number and id.
    well: BTreeSet<(usize, String)>,
    links_disturbed: bool,
}

impl GivenUp {
    fn check_changes(&self, changes: &[RegistryChange]) -> Result<(), String> {
        for change in changes.iter().filter(|_| !self.links_disturbed) {
            if let Some(Kind::AgentUnreachable(gone)) = &change.kind
                && self.well.iter().any(|(_, id)| *id == gone.agent_id)
            {
                return Err(format!(
                    "{} is marked unreachable without a fault of its own or of its links",
                    gone.agent_id
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for GivenUp {
    fn name(&self) -> &'static str {
        "given_up"
    }

    fn suits(&self, world: &World) -> bool {
        world.plan.slow_readers.is_none()
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Fault(text) => self.links_disturbed |= LINK_FAULTS.iter().any(|fault| format!("{fault:?}") == *text),
            Fact::MasterStarted { .. } => self.well.clear(),
            Fact::AgentCrashed { agent, .. } => self.well.retain(|(index, _)| index != agent),
            Fact::AgentReceived { agent, message } => {
                if let Some(master_message::Kind::Registered(registered)) = &message.kind
                    && registered.epoch == known.epoch
                {
                    self.well.insert((*agent, registered.agent_id.clone()));
                }
            }
            Fact::Proposed(changes) => self.check_changes(changes)?,
            _ => {}
        }
        Ok(())
    }
}
