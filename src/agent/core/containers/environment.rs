//! The environment of a task: the agent's variables, then the task's own, which override them. Nothing is inherited.
//!
//! The one exception is [`MARKER`]: no task overrides it, so that processes left behind can be found by it.

use std::collections::BTreeMap;

use crate::agent::core::ContainerId;
use crate::agent::core::containers::launch::LaunchError;
use crate::proto::internal::EnvironmentVariable;
use crate::proto::v1;

/// The environment variable that holds the container id of a process.
pub const MARKER: &str = "DIVVY_CONTAINER_ID";

/// The default `PATH` of a task.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most ports that get variables; a range of thousands would not fit into an environment.
const MOST_PORTS: usize = 256;

/// The ids and paths that the agent's variables of a task are made from.
pub(in crate::agent::core) struct TaskEnvironment<'a> {
    pub(in crate::agent::core) agent: &'a str,
    pub(in crate::agent::core) framework: &'a str,
    pub(in crate::agent::core) container: &'a ContainerId,
    pub(in crate::agent::core) sandbox: &'a str,
}

/// All variables of a task, sorted by name.
pub(in crate::agent::core) fn environment(
    context: &TaskEnvironment<'_>,
    task: &v1::TaskInfo,
) -> Result<Vec<EnvironmentVariable>, LaunchError> {
    let mut variables = agent_variables(context, task);
    for variable in task.command.iter().flat_map(|command| &command.environment).flat_map(|all| &all.variables) {
        let (name, value) = task_variable(variable)?;
        variables.insert(name, value);
    }
    variables.insert(MARKER.to_owned(), context.container.to_string());
    Ok(variables.into_iter().map(|(name, value)| EnvironmentVariable { name, value }).collect())
}

fn agent_variables(context: &TaskEnvironment<'_>, task: &v1::TaskInfo) -> BTreeMap<String, String> {
    let container = context.container.as_str();
    let fixed = [
        ("PATH", PATH),
        ("HOME", context.sandbox),
        ("MESOS_SANDBOX", context.sandbox),
        ("MESOS_DIRECTORY", context.sandbox),
        ("MESOS_TASK_ID", &task.task_id.value),
        ("MESOS_EXECUTOR_ID", &task.task_id.value),
        ("MESOS_FRAMEWORK_ID", context.framework),
        ("MESOS_AGENT_ID", context.agent),
        ("MESOS_SLAVE_ID", context.agent),
        ("MESOS_CONTAINER_ID", container),
        ("DIVVY_SANDBOX", context.sandbox),
        ("DIVVY_TASK_ID", &task.task_id.value),
        ("DIVVY_FRAMEWORK_ID", context.framework),
        ("DIVVY_AGENT_ID", context.agent),
    ];
    let ports: Vec<String> = ports(&task.resources).take(MOST_PORTS).map(|port| port.to_string()).collect();
    let numbered = ports.iter().enumerate().map(|(index, port)| (format!("PORT{index}"), port.clone()));
    let listed = (!ports.is_empty()).then(|| ("PORTS".to_owned(), ports.join(",")));
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed.chain(numbered).chain(listed).collect()
}

fn ports(resources: &[v1::Resource]) -> impl Iterator<Item = u64> {
    let ranges = resources.iter().filter(|resource| resource.name == "ports").flat_map(|resource| &resource.ranges);
    ranges.flat_map(|ranges| &ranges.range).flat_map(|range| range.begin..=range.end)
}

fn task_variable(variable: &v1::environment::Variable) -> Result<(String, String), LaunchError> {
    let v1::environment::Variable { name, value, secret, .. } = variable;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(LaunchError::VariableName(name.clone()));
    }
    if secret.is_some() || variable.r#type() == v1::environment::variable::Type::Secret {
        return Err(LaunchError::Secret(name.clone()));
    }
    let value = value.clone().unwrap_or_default();
    if value.contains('\0') { Err(LaunchError::VariableValue(name.clone())) } else { Ok((name.clone(), value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(task: &v1::TaskInfo) -> Result<BTreeMap<String, String>, LaunchError> {
        let container = ContainerId::parse("c1").unwrap();
        let context = TaskEnvironment { agent: "S0", framework: "F", container: &container, sandbox: "/w/runs/c1" };
        environment(&context, task).map(|all| all.into_iter().map(|v| (v.name, v.value)).collect())
    }

    fn task(own: &[(&str, &str)]) -> v1::TaskInfo {
        let variable = |(name, value): &(&str, &str)| v1::environment::Variable {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            ..Default::default()
        };
        let environment = Some(v1::Environment { variables: own.iter().map(variable).collect() });
        v1::TaskInfo {
            task_id: v1::TaskId { value: "t".to_owned() },
            command: Some(Box::new(v1::CommandInfo { environment, ..Default::default() })),
            ..Default::default()
        }
    }

    #[test]
    fn a_task_receives_its_ids_as_variables_and_inherits_nothing() {
        let all = variables(&task(&[])).unwrap();
        assert_eq!(all["MESOS_TASK_ID"], "t");
        assert_eq!(all["MESOS_SANDBOX"], "/w/runs/c1");
        assert_eq!(all["HOME"], "/w/runs/c1");
        assert_eq!(all[MARKER], "c1");
        assert!(!all.contains_key("CARGO"), "the test's own environment leaked");
    }

    #[test]
    fn the_tasks_own_variables_override_all_but_the_marker() {
        let all = variables(&task(&[("PATH", "/opt"), ("A", "1"), ("A", "2"), (MARKER, "forged")])).unwrap();
        assert_eq!((all["PATH"].as_str(), all["A"].as_str(), all[MARKER].as_str()), ("/opt", "2", "c1"));
    }

    #[test]
    fn assigned_ports_become_variables_up_to_a_limit() {
        let range = |begin, end| v1::value::Range { begin, end };
        let ports = |range| v1::Resource {
            name: "ports".to_owned(),
            ranges: Some(v1::value::Ranges { range }),
            ..Default::default()
        };
        let mut few = task(&[]);
        few.resources = vec![ports(vec![range(31_000, 31_001)]), ports(vec![range(9, 9)])];
        let all = variables(&few).unwrap();
        assert_eq!(
            (all["PORT0"].as_str(), all["PORT2"].as_str(), all["PORTS"].as_str()),
            ("31000", "9", "31000,31001,9")
        );
        few.resources = vec![ports(vec![range(0, u64::MAX)])];
        assert!(!variables(&few).unwrap().contains_key("PORT256"));
    }

    #[test]
    fn a_variable_that_cannot_be_set_is_refused_by_name() {
        for name in ["", "a=b", "a\0"] {
            assert_eq!(variables(&task(&[(name, "x")])), Err(LaunchError::VariableName(name.to_owned())));
        }
        assert_eq!(variables(&task(&[("A", "x\0")])), Err(LaunchError::VariableValue("A".to_owned())));
        let mut secret = task(&[("A", "x")]);
        let own = &mut secret.command.as_mut().unwrap().environment.as_mut().unwrap().variables[0];
        own.set_type(v1::environment::variable::Type::Secret);
        assert_eq!(variables(&secret), Err(LaunchError::Secret("A".to_owned())));
    }
}
