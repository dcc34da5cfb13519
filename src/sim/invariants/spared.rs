//! A process ends by itself, of a signal its agent asked for, with its supervisor or its host, or as a leftover: never
//! because something else was to end.

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
            Fact::IsToEnd { container } => {
                self.to_end.insert(container.clone());
            }
            Fact::ProcessEnded { container, how: How::Signal(_) | How::Torn, agent }
                if !self.to_end.contains(container) =>
            {
                return Err(format!("{container} was killed on agent {agent}, and nothing asked for that"));
            }
            _ => {}
        }
        Ok(())
    }
}
