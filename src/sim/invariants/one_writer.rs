//! The registry accepts nothing from a master after another one has loaded it.

use super::{Fact, Invariant, Known};

#[derive(Debug, Default)]
pub(super) struct OneWriter;

impl Invariant for OneWriter {
    fn name(&self) -> &'static str {
        "one_writer"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Durable { epoch, .. } if *epoch < known.epoch => {
                Err(format!("a master of epoch {epoch} writes after one of epoch {} has started", known.epoch))
            }
            _ => Ok(()),
        }
    }
}
