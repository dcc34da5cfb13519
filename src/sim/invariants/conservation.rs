//! Per agent and resource: offered + used + free = total.

use super::{Invariant, Known, View};

#[derive(Debug, Default)]
pub(super) struct Conservation;

impl Invariant for Conservation {
    fn name(&self) -> &'static str {
        "conservation"
    }

    fn inspect(&mut self, _known: &Known, view: &View<'_>) -> Result<(), String> {
        for agent in view.snapshot.iter().flat_map(|snapshot| &snapshot.agents) {
            let mut sum = agent.amounts.offered.clone();
            sum += &agent.amounts.used;
            sum += &agent.amounts.free;
            if sum != agent.amounts.total {
                let (offered, used, free, total) =
                    (&agent.amounts.offered, &agent.amounts.used, &agent.amounts.free, &agent.amounts.total);
                return Err(format!("{}: {offered} offered + {used} used + {free} free is not {total}", agent.id));
            }
        }
        Ok(())
    }
}
