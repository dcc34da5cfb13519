//! Validation of one task of a LAUNCH, by the rules that need no state, in the master's order.

use super::sizes::{bounded, labels, text};
use super::{Invalid, checks, command, container, ensure, executor, inside, resources};
use crate::proto::v1::{AgentId, FrameworkId, TaskInfo};
use crate::types::limits::{NAME_BYTES, QUANTITIES, TASK_BYTES};
use crate::types::{Milli, OnReturn, Resources, quoted, validate_id};

/// The context of a launch.
#[derive(Clone, Copy, Debug)]
pub struct LaunchContext<'a> {
    /// The framework that launches.
    pub framework_id: &'a FrameworkId,
    /// The agent of the offers.
    pub agent_id: &'a AgentId,
    /// Whether that agent supports limits above the requested resources.
    pub agent_has_limits: bool,
}

/// The resources of a valid task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNeeds {
    /// The task's own resources.
    pub task: Resources,
    /// Its executor's resources, needed once per agent; `None` for a command.
    pub executor: Option<Resources>,
}

/// Validates a task of a LAUNCH. The master checks that its id is unused, that its executor equals a running one, and
/// that it fits, with [`super::same_executor`] and [`super::fits`].
///
/// # Errors
/// The first broken rule; the path is relative to the task.
pub fn task(task: &TaskInfo, context: &LaunchContext<'_>) -> Result<TaskNeeds, Invalid> {
    identity(task, context)?;
    bounded("", "bytes", prost::Message::encoded_len(task), TASK_BYTES)?;
    text("name", &task.name, NAME_BYTES)?;
    labels("labels", task.labels.as_ref())?;
    times(task)?;
    partition(task)?;
    inside("check", task.check.as_deref(), checks::check)?;
    inside("health_check", task.health_check.as_deref(), checks::health_check)?;
    ensure(!task.resources.is_empty(), "resources", "task has no resources")?;
    let needed = resources::resources(&task.resources)?;
    inside("command", task.command.as_deref(), command::command)?;
    inside("container", task.container.as_deref(), container::container)?;
    limits(task, &needed, context.agent_has_limits)?;
    one_way_to_run(task)?;
    let executor = match task.executor.as_deref() {
        None => None,
        Some(info) => {
            let within = |error: Invalid| error.under("executor");
            let taken = executor::executor(info, context.framework_id).map_err(within)?;
            executor::launched(info, &taken).map_err(within)?;
            resources::together(&needed, &taken)?;
            Some(taken)
        }
    };
    let linux = task.container.as_ref().and_then(|container| container.linux_info.as_ref());
    let apart = linux.is_some_and(|linux| linux.share_cgroups == Some(false));
    ensure(!apart, "container.linux_info.share_cgroups", "may be false only in a task group")?;
    Ok(TaskNeeds { task: needed, executor })
}

fn identity(task: &TaskInfo, context: &LaunchContext<'_>) -> Result<(), Invalid> {
    validate_id("task id", task.task_id.as_str()).map_err(|error| Invalid::from_id("task_id", &error))?;
    let (given, expected) = (&task.agent_id, context.agent_id);
    if given == expected {
        return Ok(());
    }
    Err(Invalid::new("agent_id", format!("wrong agent `{}`, expected `{}`", quoted(given), quoted(expected))))
}

fn times(task: &TaskInfo) -> Result<(), Invalid> {
    let grace = task.kill_policy.and_then(|policy| policy.grace_period);
    let forward = |time: Option<crate::proto::v1::DurationInfo>| time.is_none_or(|time| !time.is_negative());
    ensure(forward(grace), "kill_policy.grace_period", "must not be negative")?;
    ensure(forward(task.max_completion_time), "max_completion_time", "must not be negative")
}

fn partition(task: &TaskInfo) -> Result<(), Invalid> {
    let on_return = task.partition_policy.as_ref().map_or(0, |policy| policy.on_return);
    ensure(
        OnReturn::try_from(on_return).is_ok(),
        "partition_policy.on_return",
        format_args!("{on_return} is unknown"),
    )?;
    let Some(replaced) = &task.replaces else { return Ok(()) };
    validate_id("task id", replaced.as_str()).map_err(|error| Invalid::from_id("replaces", &error))?;
    ensure(*replaced != task.task_id, "replaces", "a task cannot replace itself")
}

fn limits(task: &TaskInfo, needed: &Resources, agent_has_limits: bool) -> Result<(), Invalid> {
    ensure(task.limits.is_empty() || agent_has_limits, "limits", "the agent cannot hold tasks to limits")?;
    bounded("limits", "names", task.limits.len(), QUANTITIES)?;
    for (name, limit) in &task.limits {
        let field = format!("limits[{}]", quoted(name));
        ensure(name == "cpus" || name == "mem", &field, "only cpus and mem can have a limit")?;
        let request = needed.scalar(name);
        ensure(request > Milli::ZERO, &field, format_args!("needs {name} among the task's resources"))?;
        let enough = limit.value == f64::INFINITY || Milli::amount(limit.value).is_ok_and(|limit| limit >= request);
        ensure(enough, &field, format_args!("{name} limit {} is below the {name} request {request}", limit.value))?;
    }
    Ok(())
}

fn one_way_to_run(task: &TaskInfo) -> Result<(), Invalid> {
    let ways = usize::from(task.command.is_some()) + usize::from(task.executor.is_some());
    ensure(ways == 1, "command", "a task needs one, and only one, of `command` and `executor`")
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
