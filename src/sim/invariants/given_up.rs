//! An agent that is registered, runs, and whose links are whole is not given up, however slow a registry or a disk is.
//!
//! Judged as long as no link has been cut or slowed in the history: from then on an agent may well seem silent.

use std::collections::BTreeSet;

use super::{Fact, Invariant, Known};
use crate::{
    proto::internal::{RegistryChange, master_message, registry_change::Kind},
    sim::{faults::Fault, world::World},
};

/// Whatever may come between an agent and the master.
const BETWEEN: [Fault; 7] =
    [Fault::Cut, Fault::OneWayCut, Fault::Isolation, Fault::SlowLink, Fault::MassLoss, Fault::Pause, Fault::SlowReader];

#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// Those that are registered with the present master, and run: by number and id.
    well: BTreeSet<(usize, String)>,
    blurred: bool,
}

impl GivenUp {
    fn judge(&self, changes: &[RegistryChange]) -> Result<(), String> {
        for change in changes.iter().filter(|_| !self.blurred) {
            if let Some(Kind::AgentUnreachable(gone)) = &change.kind
                && self.well.iter().any(|(_, id)| *id == gone.agent_id)
            {
                return Err(format!("{} is given up, and nothing was wrong with it or its links", gone.agent_id));
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
            Fact::Fault(text) => self.blurred |= BETWEEN.iter().any(|fault| format!("{fault:?}") == *text),
            Fact::MasterStarted { .. } => self.well.clear(),
            Fact::AgentCrashed { agent, .. } => self.well.retain(|(index, _)| index != agent),
            Fact::AgentHeard { agent, message } => {
                if let Some(master_message::Kind::Registered(registered)) = &message.kind
                    && registered.epoch == known.epoch
                {
                    self.well.insert((*agent, registered.agent_id.clone()));
                }
            }
            Fact::Proposed(changes) => self.judge(changes)?,
            _ => {}
        }
        Ok(())
    }
}
