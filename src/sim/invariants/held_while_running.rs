//! The resources of a running task on a connected agent count as used until it ends.

use super::{Invariant, Known, View};
use crate::{agent::core::ContainerId, master::core::Presence};

#[derive(Debug, Default)]
pub(super) struct HeldWhileRunning;

impl Invariant for HeldWhileRunning {
    fn name(&self) -> &'static str {
        "held_while_running"
    }

    fn inspect(&mut self, known: &Known, view: &View<'_>) -> Result<(), String> {
        let Some(snapshot) = view.snapshot else { return Ok(()) };
        for (container, one) in known.running() {
            let Some(process) = &view.world.agents[one.agent].process else { continue };
            let is_live = ContainerId::parse(container).is_some_and(|id| process.harness.core.is_live(&id));
            if !is_live || !process.harness.core.is_registered() {
                continue;
            }
            let Some(id) = process.harness.core.id() else { continue };
            let agent = snapshot.agents.iter().find(|agent| *agent.id == *id);
            let Some(agent) = agent.filter(|agent| agent.presence == Presence::Connected) else { continue };
            let container = container.as_str().into();
            let held = agent.tasks.values().any(|task| task.container == container && task.state.holds_resources());
            if !held && !agent.orphans.contains_key(&container) {
                return Err(format!("{} runs as {container} on {id}, and its resources are not held", one.task));
            }
        }
        Ok(())
    }
}
