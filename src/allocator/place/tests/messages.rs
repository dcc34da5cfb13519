//! The task messages of a plan.

use super::*;
use crate::types::{OnReturn, PartitionPolicy};

fn variables(task: &v1::TaskInfo) -> Vec<(String, String)> {
    let environment = task.command.as_ref().and_then(|command| command.environment.clone()).unwrap_or_default();
    environment.variables.into_iter().map(|it| (it.name, it.value.unwrap_or_default())).collect()
}

fn resources(task: &v1::TaskInfo) -> Resources {
    Resources::from_proto(&task.resources).expect("resources that make sense")
}

#[test]
fn a_task_has_everything_but_an_id() {
    let request = task("web", 0.5, 64.0).env("MODE", "test").label("team", "a").count(2);
    let request = request.partition(PartitionPolicy::default().on_returning(OnReturn::KeepReplacement));
    let plan = place(&[offer("o1", "cpus:4;mem:8192")], &[request]);
    let tasks = plan.launches[0].tasks();
    assert_eq!(tasks.len(), 2);
    assert_eq!((tasks[0].name.as_str(), tasks[0].task_id.value.as_str()), ("web", ""));
    assert_eq!(tasks[0].agent_id.value, "o1");
    assert_eq!(resources(&tasks[0]), Resources::cpus_mem(0.5, 64.0));
    assert_eq!(tasks[0].command.as_ref().and_then(|command| command.value.as_deref()), Some("true"));
    assert_eq!(variables(&tasks[0]), [("MODE".to_owned(), "test".to_owned())]);
    assert_eq!(tasks[0].labels.as_ref().map(|labels| labels.labels[0].key.as_str()), Some("team"));
    let policy = tasks[0].partition_policy.as_ref().expect("set");
    assert_eq!(policy.on_return(), OnReturn::KeepReplacement);
    assert_eq!(tasks[0], tasks[1]);
    assert_eq!(plan.launches[0].instances().map(|it| it.instance).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_task_learns_its_ports_from_its_environment() {
    let request = TaskRequest::command("web", "true").cpus(0.1).fixed_ports([8080]).ports(2);
    let plan = place(&[offer("o1", "cpus:1;ports:[8000-8080]")], &[request]);
    let task = &plan.launches[0].tasks()[0];
    assert_eq!(resources(task), "cpus:0.1;ports:[8000-8001,8080-8080]".parse().expect("resources in text form"));
    let expected = [
        ("PORT0", "8080"),
        ("PORT1", "8000"),
        ("PORT2", "8001"),
        ("PORT_8080", "8080"),
        ("PORT", "8080"),
        ("PORTS", "8080,8000,8001"),
    ];
    assert_eq!(variables(task), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_variable_that_the_author_set_is_kept() {
    let request = TaskRequest::command("web", "true").cpus(0.1).ports(1).env("PORT", "mine");
    let plan = place(&[offer("o1", "cpus:1;ports:[8000-8080]")], &[request]);
    let mut all = variables(&plan.launches[0].tasks()[0]);
    all.retain(|(name, _)| name == "PORT");
    assert_eq!(all, [("PORT".to_owned(), "mine".to_owned())]);
}

#[test]
fn what_is_reserved_for_the_role_is_taken_first() {
    let reserved = "cpus:2;cpus(web):1;mem:100;ports:[1-9];ports(web):[20-20]";
    let plan = place(&[for_role(offer("o1", reserved), "web")], &[task("a", 0.75, 10.0).ports(1).count(2)]);
    let tasks = plan.launches[0].tasks();
    let taken = |task: &v1::TaskInfo| {
        let all = resources(task);
        (all.reserved_to("web").cpus().to_string(), all.unreserved().cpus().to_string(), all.ports().first())
    };
    assert_eq!(taken(&tasks[0]), ("0.75".to_owned(), "0".to_owned(), Some(20)));
    assert_eq!(taken(&tasks[1]), ("0.25".to_owned(), "0.5".to_owned(), Some(1)));
    let mut roles =
        tasks[1].resources.iter().map(|it| it.allocation_info.as_ref().and_then(|info| info.role.as_deref()));
    assert!(roles.all(|role| role == Some("web")));
}

#[test]
#[expect(deprecated, reason = "the old format is what is tested")]
fn the_old_reservation_format_is_answered_in_kind() {
    let mut old = offer("o1", "cpus:2;mem:100");
    for resource in &mut old.resources {
        resource.role = Some("*".to_owned());
    }
    old.resources[0].role = Some("web".to_owned());
    let task = &place(&[old], &[task("a", 1.0, 10.0)]).launches[0].tasks()[0];
    let roles: Vec<_> = task.resources.iter().map(|it| (it.name.as_str(), it.role.as_deref())).collect();
    assert_eq!(roles, [("cpus", Some("web")), ("mem", Some("*"))]);
    assert!(task.resources.iter().all(|it| it.reservations.is_empty() && it.allocation_info.is_none()));
}
