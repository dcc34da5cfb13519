//! Agents are marked unreachable no faster than the configured rate.

use super::{Fact, Invariant, Known};
use crate::{master::core::RemovalRate, proto::internal::registry_change::Kind, sim::chance::nanos};

#[derive(Debug)]
pub(super) struct SlowRemovals {
    /// From one removal to the next.
    interval_ns: u64,
    /// When the present master last marked an agent unreachable.
    last_ns: Option<u64>,
}

impl SlowRemovals {
    pub(super) fn new(rate: Option<RemovalRate>) -> Self {
        Self { interval_ns: rate.map_or(0, |rate| nanos(rate.interval())), last_ns: None }
    }
}

impl Invariant for SlowRemovals {
    fn name(&self) -> &'static str {
        "removal_rate"
    }

    fn observe(&mut self, known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => self.last_ns = None,
            Fact::Proposed(changes) => {
                for kind in changes.iter().filter_map(|change| change.kind.as_ref()) {
                    let Kind::AgentUnreachable(agent) = kind else { continue };
                    let last_ns = self.last_ns.replace(known.now_ns);
                    if let Some(passed) =
                        last_ns.map(|last_ns| known.now_ns - last_ns).filter(|it| *it < self.interval_ns)
                    {
                        let (passed, interval) = (passed / 1_000_000, self.interval_ns / 1_000_000);
                        let id = &agent.agent_id;
                        return Err(format!(
                            "{id} is marked unreachable {passed} ms after another, and the rate is one in {interval} ms"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
