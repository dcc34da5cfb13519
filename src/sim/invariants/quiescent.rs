//! After the faults the cluster becomes quiescent and serves new work.
//!
//! Every agent is registered and has no task, and every framework is subscribed. Every task has a last state at its
//! scheduler, or is unreachable on an agent that lost its id. The master holds no task, and no agent keeps more sandboxes
//! than its limit.

use crate::{
    proto::v1::TaskState,
    sim::{host::Container, world::World},
};

/// Whether the master has the framework.
pub(in crate::sim) fn has_framework(world: &mut World, framework: &str) -> bool {
    let now = world.time(crate::sim::nodes::Node::Master);
    let Some(process) = &mut world.master.process else { return false };
    process.snapshot(now).frameworks.iter().any(|one| *one.id == *framework)
}

/// Returns the first thing that is not quiescent, as an error.
pub(in crate::sim) fn check_quiescent(world: &mut World) -> Result<(), String> {
    agents(world)?;
    frameworks(world)?;
    let now = world.time(crate::sim::nodes::Node::Master);
    let Some(process) = &mut world.master.process else { return Err("there is no master".to_owned()) };
    let present: Vec<&str> = world
        .agents
        .iter()
        .filter_map(|agent| agent.process.as_ref().and_then(|process| process.harness.core.id()))
        .collect();
    for agent in process.snapshot(now).agents {
        if present.contains(&&*agent.id)
            && let Some(task) = agent.tasks.values().next()
        {
            return Err(format!("the master keeps {} as {:?} on {}", task.id, task.state, agent.id));
        }
    }
    Ok(())
}

fn agents(world: &World) -> Result<(), String> {
    for (index, agent) in world.agents.iter().enumerate() {
        let Some(process) = &agent.process else { return Err(format!("agent {index} is down")) };
        if !process.harness.core.is_registered() {
            return Err(format!("agent {index} is not registered"));
        }
        if process.harness.core.task_count() > 0 {
            return Err(format!("agent {index} still has tasks: {:?}", process.harness.core.snapshot()));
        }
        let (kept, most) = (agent.host.sandboxes.len(), agent.config.retention.keep_at_most);
        if kept > most {
            return Err(format!("agent {index} keeps {kept} sandboxes, and is to keep at most {most}"));
        }
        for supervisor in agent.host.supervisors.values() {
            // A supervisor that no agent finds keeps its records, and ends by itself.
            let is_open = |(_, it): &(&String, &Container)| !supervisor.lost || !matches!(it, Container::Ended(_));
            if let Some((container, _)) = supervisor.containers.iter().find(is_open) {
                return Err(format!("a supervisor of agent {index} still has {container}"));
            }
        }
    }
    Ok(())
}

fn frameworks(world: &World) -> Result<(), String> {
    if let Some(index) = world.replaced.iter().position(Option::is_some) {
        return Err(format!("replaced instance {index} of a framework still runs"));
    }
    let present: Vec<&str> = world
        .agents
        .iter()
        .filter_map(|agent| agent.process.as_ref().and_then(|process| process.harness.core.id()))
        .collect();
    for (index, framework) in world.frameworks.iter().enumerate() {
        if framework.plan.torn_down {
            continue;
        }
        if framework.process.is_none() {
            return Err(format!("framework {index} is down"));
        }
        for (id, task) in &framework.store.tasks {
            let nameless = task.launched.as_ref().is_some_and(|agent| !present.contains(&agent.value.as_str()));
            let gone = task.launched.as_ref().is_some_and(|agent| world.gone.contains(&agent.value));
            let out_of_reach = nameless && !gone && task.state == TaskState::TaskUnreachable;
            if !(task.over || out_of_reach) {
                return Err(format!("{id} is {:?} at its scheduler, launched on {:?}", task.state, task.launched));
            }
        }
    }
    Ok(())
}
