//! After the faults, and the time to become quiescent, no task runs whose kill was requested.
//!
//! The simulator keeps such a task from ending by itself, so a lost kill shows.

use crate::sim::{host::Container, world::World};

/// A container that still runs although the kill of its task was requested.
pub(in crate::sim) fn survivor(world: &World) -> Option<String> {
    let hosts = world.agents.iter().enumerate();
    let mut containers = hosts.flat_map(|(agent, node)| {
        node.host.supervisors.values().flat_map(move |one| one.containers.iter().map(move |one| (agent, one)))
    });
    containers.find_map(|(agent, (id, container))| {
        let task = world.tasks.get(id).filter(|task| world.to_be_killed.contains(*task))?;
        let runs = matches!(container, Container::Running(_));
        runs.then(|| format!("{task} runs on agent {agent} as {id}, and its scheduler requested its kill"))
    })
}
