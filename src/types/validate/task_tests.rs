//! Tasks with one error each, and the field that the error names.

use super::*;
use crate::proto::v1::{
    CheckInfo, CommandInfo, ContainerInfo, DurationInfo, ExecutorInfo, HealthCheck, KillPolicy, LinuxInfo,
    container_info, environment, value,
};
use crate::types::PartitionPolicy;
use crate::types::limits::{ARGUMENTS, COMMAND_BYTES, URIS, VARIABLE_BYTES, VARIABLES, VOLUMES};

fn valid() -> TaskInfo {
    TaskInfo::shell("web", "sleep 1").with_id("web-1").with_agent("S1").with_resources(&Resources::cpus_mem(1.0, 64.0))
}

fn checked(info: &TaskInfo) -> Result<TaskNeeds, String> {
    let context = LaunchContext { framework_id: &"F".into(), agent_id: &"S1".into(), agent_has_limits: true };
    task(info, &context).map_err(|error| error.to_string())
}

fn refused(info: &TaskInfo) -> String {
    checked(info).unwrap_err()
}

fn limited(name: &str, limit: f64) -> TaskInfo {
    TaskInfo { limits: [(name.to_owned(), value::Scalar { value: limit })].into(), ..valid() }
}

fn with_executor(executor: ExecutorInfo) -> TaskInfo {
    TaskInfo { command: None, executor: Some(Box::new(executor)), ..valid() }
}

fn custom() -> ExecutorInfo {
    ExecutorInfo::custom("e", CommandInfo::in_shell("run"))
}

fn contained(container: ContainerInfo) -> TaskInfo {
    TaskInfo { container: Some(Box::new(container)), ..valid() }
}

#[test]
fn a_valid_task_needs_the_resources_it_names() {
    let needs = checked(&valid()).unwrap();
    assert_eq!(needs, TaskNeeds { task: Resources::cpus_mem(1.0, 64.0), executor: None });
    let executor = custom().with_resources(&Resources::cpus_mem(0.1, 32.0));
    assert_eq!(checked(&with_executor(executor)).unwrap().executor, Some(Resources::cpus_mem(0.1, 32.0)));
}

#[test]
fn the_id_is_legal_and_the_agent_is_that_of_the_offers() {
    assert_eq!(refused(&valid().with_id("")), "task_id: task id `` must not be empty");
    assert!(refused(&valid().with_id("a/b")).starts_with("task_id: task id `a/b` must not contain"));
    assert_eq!(refused(&valid().with_agent("S2")), "agent_id: wrong agent `S2`, expected `S1`");
}

#[test]
fn times_do_not_run_backwards() {
    let negative = Some(DurationInfo { nanoseconds: -1 });
    let kill_policy = Some(KillPolicy { grace_period: negative });
    assert_eq!(refused(&TaskInfo { kill_policy, ..valid() }), "kill_policy.grace_period: must not be negative");
    let late = TaskInfo { max_completion_time: negative, ..valid() };
    assert_eq!(refused(&late), "max_completion_time: must not be negative");
}

#[test]
fn a_partition_policy_is_known_and_no_task_replaces_itself() {
    let policy = PartitionPolicy { on_return: 9, ..PartitionPolicy::default() };
    assert_eq!(refused(&valid().with_partition_policy(policy)), "partition_policy.on_return: 9 is unknown");
    let own = valid().task_id;
    assert_eq!(refused(&valid().with_replaced(own)), "replaces: a task cannot replace itself");
    assert_eq!(refused(&valid().with_replaced("")), "replaces: task id `` must not be empty");
    assert!(checked(&valid().with_replaced("before")).is_ok());
}

#[test]
fn checks_are_complete() {
    let check = TaskInfo { check: Some(Box::new(CheckInfo::default())), ..valid() };
    assert_eq!(refused(&check), "check.type: must be COMMAND, HTTP or TCP");
    let health = TaskInfo { health_check: Some(Box::new(HealthCheck::default())), ..valid() };
    assert_eq!(refused(&health), "health_check.type: must be COMMAND, HTTP or TCP");
}

#[test]
fn a_task_takes_something_that_makes_sense() {
    assert_eq!(refused(&TaskInfo { resources: vec![], ..valid() }), "resources: task has no resources");
    let mut gpus = valid();
    gpus.resources.extend("gpus:1".parse::<Resources>().unwrap().to_proto());
    gpus.resources[2].scalar.as_mut().unwrap().value = 0.5;
    assert_eq!(refused(&gpus), "resources[2].scalar: 0.5 gpus; they come whole");
}

#[test]
fn the_environment_names_the_broken_variable() {
    let mut broken = valid().with_env("GOOD", "1");
    let variable = environment::Variable { name: "BAD".to_owned(), ..environment::Variable::default() };
    broken.command.as_mut().unwrap().environment.as_mut().unwrap().variables.push(variable);
    assert_eq!(
        refused(&broken),
        "command.environment.variables[1].value: variable `BAD` of type VALUE must have a value"
    );
}

#[test]
fn a_container_is_complete() {
    let docker = ContainerInfo { r#type: container_info::Type::Docker.into(), ..ContainerInfo::default() };
    assert_eq!(refused(&contained(docker)), "container.docker: is missing");
    let linux = LinuxInfo { share_cgroups: Some(false), ..LinuxInfo::default() };
    let mesos = container_info::Type::Mesos.into();
    let apart = ContainerInfo { r#type: mesos, linux_info: Some(Box::new(linux)), ..ContainerInfo::default() };
    assert!(refused(&contained(apart)).starts_with("container.linux_info.share_cgroups: "));
}

#[test]
fn limits_lie_above_the_request_for_cpus_and_memory_only() {
    assert!(checked(&limited("cpus", 1.0)).is_ok() && checked(&limited("mem", f64::INFINITY)).is_ok());
    assert_eq!(refused(&limited("cpus", 0.5)), "limits[cpus]: cpus limit 0.5 is below the cpus request 1");
    assert_eq!(refused(&limited("disk", 5.0)), "limits[disk]: only cpus and mem can have a limit");
    for limit in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert!(checked(&limited("mem", limit)).is_err());
    }
    let mut unasked = limited("mem", 5.0);
    unasked.resources.pop();
    assert_eq!(refused(&unasked), "limits[mem]: needs mem among the task's resources");
    let context = LaunchContext { framework_id: &"F".into(), agent_id: &"S1".into(), agent_has_limits: false };
    assert_eq!(task(&limited("cpus", 2.0), &context).unwrap_err().field, "limits");
    assert!(task(&valid(), &context).is_ok());
}

#[test]
fn a_task_runs_in_exactly_one_way() {
    let text = "command: a task needs one, and only one, of `command` and `executor`";
    assert_eq!(refused(&TaskInfo { command: None, ..valid() }), text);
    assert_eq!(refused(&TaskInfo { executor: Some(Box::new(custom())), ..valid() }), text);
}

#[test]
fn its_executor_is_valid_too() {
    let nameless = ExecutorInfo { executor_id: "..".into(), ..custom() };
    let text = "executor.executor_id: executor id `..` must not be a relative directory";
    assert_eq!(refused(&with_executor(nameless)), text);
    let foreign = ExecutorInfo { framework_id: Some("G".into()), ..custom() };
    assert_eq!(refused(&with_executor(foreign)), "executor.framework_id: wrong framework `G`, expected `F`");
    let ports = |range| Resources::cpus_mem(1.0, 1.0).with_ports(range);
    let mut both = with_executor(custom().with_resources(&ports(5..=6)));
    both.resources = ports(6..=7).to_proto();
    assert_eq!(refused(&both), "resources: task and executor both have some of ports:[6-7]");
}

#[test]
fn the_first_broken_rule_wins() {
    let broken = TaskInfo { resources: vec![], command: None, ..valid().with_id("a/b").with_agent("S2") };
    assert!(refused(&broken).starts_with("task_id: "));
    assert!(refused(&broken.with_id("a")).starts_with("agent_id: "));
}

#[test]
fn a_task_has_limits_on_its_size_and_on_what_it_runs() {
    let command = |change: fn(&mut CommandInfo)| {
        let mut info = valid();
        change(info.command.as_mut().unwrap());
        info
    };
    assert!(checked(&command(|command| command.value = Some("x".repeat(COMMAND_BYTES)))).is_ok());
    for (broken, field) in [
        (TaskInfo { name: "n".repeat(NAME_BYTES + 1), ..valid() }, "name: "),
        (TaskInfo { data: Some(vec![0; TASK_BYTES].into()), ..valid() }, ": has 10486"),
        (command(|command| command.value = Some("x".repeat(COMMAND_BYTES + 1))), "command.value: "),
        (command(|command| command.arguments = vec![String::new(); ARGUMENTS + 1]), "command.arguments: "),
        (command(|command| command.arguments = vec!["x".repeat(COMMAND_BYTES + 1)]), "command.arguments[0]: "),
        (
            command(|command| command.uris = vec![crate::proto::v1::command_info::Uri::default(); URIS + 1]),
            "command.uris: ",
        ),
        (command(|command| command.user = Some("u".repeat(NAME_BYTES + 1))), "command.user: "),
        (
            command(|command| {
                let variables = vec![environment::Variable::default(); VARIABLES + 1];
                command.environment = Some(crate::proto::v1::Environment { variables });
            }),
            "command.environment.variables: ",
        ),
        (
            command(|command| {
                let value = Some("x".repeat(VARIABLE_BYTES + 1));
                let variable = environment::Variable { value, ..environment::Variable::default() };
                command.environment = Some(crate::proto::v1::Environment { variables: vec![variable] });
            }),
            "command.environment.variables[0].value: ",
        ),
        (
            contained(ContainerInfo {
                volumes: vec![crate::proto::v1::Volume::default(); VOLUMES + 1],
                ..ContainerInfo::default()
            }),
            "container.volumes: ",
        ),
    ] {
        assert!(refused(&broken).starts_with(field), "{field} {}", refused(&broken));
    }
}
