//! What runs on a connected agent is counted as used there until it ends: freed once, and not before.

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
            let lives = ContainerId::parse(container).is_some_and(|id| process.harness.core.is_live(&id));
            if !lives || !process.harness.core.is_registered() {
                continue;
            }
            let Some(id) = process.harness.core.id() else { continue };
            let bucket = snapshot.agents.iter().find(|bucket| *bucket.id == *id);
            let Some(bucket) = bucket.filter(|bucket| bucket.presence == Presence::Connected) else { continue };
            let container = container.as_str().into();
            let held = bucket.tasks.values().any(|task| task.container == container && task.state.holds_resources());
            if !held && !bucket.orphans.contains_key(&container) {
                return Err(format!("{} runs as {container} on {id}, and its resources are not held", one.task));
            }
        }
        Ok(())
    }
}
