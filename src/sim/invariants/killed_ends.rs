//! What was to be killed runs no more when the trouble is over and the cluster had its time to come to rest.
//!
//! Here a task that its scheduler wants to be killed does not end by itself any more, so a kill that got lost shows.

use crate::sim::{host::Container, world::World};

/// A container that still runs although its task was to be killed.
pub(in crate::sim) fn survivor(world: &World) -> Option<String> {
    let hosts = world.agents.iter().enumerate();
    let mut containers = hosts.flat_map(|(agent, node)| {
        node.host.supervisors.values().flat_map(move |one| one.containers.iter().map(move |one| (agent, one)))
    });
    containers.find_map(|(agent, (id, container))| {
        let task = world.tasks.get(id).filter(|task| world.to_be_killed.contains(*task))?;
        let runs = matches!(container, Container::Running(_));
        runs.then(|| format!("{task} runs on agent {agent} as {id}, and its scheduler wanted it to be killed"))
    })
}
