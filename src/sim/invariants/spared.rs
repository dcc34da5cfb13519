//! A process ends by itself, by a requested signal, with its supervisor or host, or as a leftover.
//!
//! It never ends because of the kill of another one.

use std::collections::BTreeSet;

use super::{Fact, How, Invariant, Known};

#[derive(Debug, Default)]
pub(super) struct Spared {
    to_end: BTreeSet<String>,
}

impl Invariant for Spared {
    fn name(&self) -> &'static str {
        "spared"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::EndExpected { container } => {
                self.to_end.insert(container.clone());
            }
            Fact::ProcessEnded { container, how: How::Signal(_) | How::WithSupervisor, agent }
                if !self.to_end.contains(container) =>
            {
                return Err(format!("{container} was killed on agent {agent}, without a request"));
            }
            _ => {}
        }
        Ok(())
    }
}
