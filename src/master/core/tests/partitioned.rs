//! A framework with a task on an agent that is cut off.

use std::time::Duration;

use super::world::World;
use crate::{
    master::core::{Config, FrameworkFacts, SessionId},
    proto::v1::{TaskState, TaskStatus},
};

pub(in crate::master::core) const TOTAL: &str = "cpus:4;mem:1024;ports:[31000-31009]";
pub(in crate::master::core) const WANTED: &str = "cpus:1;mem:32;ports:[31000-31001]";

pub(in crate::master::core) type Party = (SessionId, String);

/// A framework with one task `t` running on one agent.
pub(in crate::master::core) fn running_for(
    facts: FrameworkFacts,
    config: Config,
) -> (World, Party, Party, (String, String)) {
    let mut world = World::with(crate::master::registry::State::default(), config);
    let framework = world.subscribe(facts, None);
    let agent = world.agent(TOTAL);
    let offer = world.offers(framework.0)[0].clone();
    world.launch(framework.0, &offer, &[("t", WANTED)]);
    let task = world.runs(agent.0)[0].clone();
    let uuid = world.update(agent.0, &framework.1, &task, TaskState::TaskRunning);
    world.acknowledge(framework.0, &agent.1, "t", &uuid);
    (world, framework, agent, task)
}

/// Lets the agent answer no pings until it is marked unreachable; returns the statuses sent to the framework.
pub(in crate::master::core) fn cut_off(world: &mut World, framework: SessionId) -> Vec<TaskStatus> {
    world.lively = false;
    world.wait(Duration::from_secs(91));
    world.lively = true;
    world.statuses(framework)
}
