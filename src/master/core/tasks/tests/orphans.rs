//! Orphans: containers of removed frameworks, whose resources are used until they are gone.

use super::{
    partitioned::{Party, cut_off, running_for},
    world::{World, facts, known, register, reported, resources},
};
use crate::{
    master::core::{Answer, Call, Config, Input, Order, Question, Register, Report, SessionId},
    proto::v1::TaskState,
    types::Resources,
};

const TOTAL: &str = "cpus:4;mem:1024;ports:[31000-31009]";
const WANTED: &str = "cpus:1;mem:32;ports:[31000-31001]";
const REST: &str = "cpus:3;mem:992;ports:[31002-31009]";

/// A framework with one task running on an agent, and a second framework that takes what there is.
fn running() -> (World, Party, Party, (String, String), Party) {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    let other = world.framework("other");
    (world, framework, agent, task, other)
}

fn used(world: &World) -> Resources {
    world.harness.core.snapshot().agents[0].amounts.used.clone()
}

/// The master's orphans: containers, with their frameworks.
fn orphans(world: &World) -> Vec<(String, String)> {
    let snapshot = world.harness.core.snapshot();
    let all = snapshot.agents.iter().flat_map(|agent| agent.orphans.iter());
    all.map(|(container, orphan)| (container.to_string(), orphan.framework.to_string())).collect()
}

fn gone(world: &mut World, session: SessionId, container: &str) {
    let report = Report::OrphanGone { container: container.into() };
    world.feed(Input::Reported { session, report });
}

/// The agent as it registers with this orphan.
fn with_orphan(agent: &str, framework: &str, task: &(String, String)) -> Register {
    let mut back = register(Some(agent), TOTAL);
    back.orphans = vec![reported(framework, task, WANTED, TaskState::TaskRunning)];
    back
}

#[test]
fn what_a_removed_framework_ran_is_in_use_until_its_agent_reports_it_gone() {
    let (mut world, framework, agent, task, other) = running();
    world.call(framework.0, Call::Teardown);
    assert!(matches!(&world.orders(agent.0)[..], [Order::Shutdown { .. }]));
    assert!(world.offers(other.0).is_empty(), "the other framework was offered the rest already");
    assert_eq!(used(&world), resources(WANTED));
    assert_eq!(orphans(&world), [(task.1.clone(), framework.1.clone())]);
    let snapshot = world.harness.core.snapshot();
    assert!(snapshot.agents[0].tasks.is_empty(), "the task is completed");
    assert_eq!(snapshot.completed[0].completed[0].1.state, TaskState::TaskKilled);

    gone(&mut world, agent.0, "another");
    assert_eq!(used(&world), resources(WANTED));
    gone(&mut world, agent.0, &task.1);
    assert!(used(&world).is_empty() && orphans(&world).is_empty());
    gone(&mut world, agent.0, &task.1);
    assert!(used(&world).is_empty(), "a second report changes nothing");
    world.wait(std::time::Duration::from_secs(2));
    assert_eq!(*world.offers(other.0)[0].resources, resources(WANTED), "now it is offered again");
}

#[test]
fn an_operators_teardown_and_a_failover_timeout_leave_orphans_too() {
    let (mut world, framework, agent, task, _) = running();
    let question = Question::Teardown { framework: framework.1.clone() };
    assert!(matches!(world.ask(question), Answer::Done));
    assert_eq!(used(&world), resources(WANTED));
    gone(&mut world, agent.0, &task.1);
    assert!(used(&world).is_empty());

    let (mut world, framework, agent, task, _) = running();
    world.detach(framework.0);
    world.wait(std::time::Duration::from_secs(61));
    assert_eq!((used(&world), orphans(&world).len()), (resources(WANTED), 1));
    gone(&mut world, agent.0, &task.1);
    assert!(used(&world).is_empty());
}

#[test]
fn an_end_in_flight_when_the_framework_was_removed_does_not_free_what_the_task_had() {
    let (mut world, framework, agent, task, _) = running();
    world.call(framework.0, Call::Teardown);
    world.update(agent.0, &framework.1, &task, TaskState::TaskRunning);
    assert_eq!(used(&world), resources(WANTED));
    world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    assert_eq!(used(&world), resources(WANTED));
    gone(&mut world, agent.0, &task.1);
    assert!(used(&world).is_empty());
}

#[test]
fn an_agent_that_reregisters_reports_which_orphans_are_left() {
    let (mut world, framework, agent, task, _) = running();
    world.call(framework.0, Call::Teardown);
    world.detach(agent.0);
    let session = world.register(with_orphan(&agent.1, &framework.1, &task));
    assert_eq!(used(&world), resources(WANTED), "still there");
    world.detach(session);
    world.register(register(Some(&agent.1), TOTAL));
    assert!(used(&world).is_empty() && orphans(&world).is_empty(), "that it is gone was lost with the session");
}

#[test]
fn an_agent_that_missed_the_teardown_has_orphans_when_it_reregisters() {
    for away_for_long in [false, true] {
        let (mut world, framework, agent, task, _) = running();
        if away_for_long {
            cut_off(&mut world, framework.0);
        }
        world.call(framework.0, Call::Teardown);
        let mut back = register(Some(&agent.1), TOTAL);
        back.frameworks = vec![known(&framework.1, "f")];
        let ended = ("ended".to_owned(), "c9".to_owned());
        back.tasks = vec![
            reported(&framework.1, &task, WANTED, TaskState::TaskRunning),
            reported(&framework.1, &ended, "cpus:1;mem:32", TaskState::TaskFinished),
        ];
        let session = world.register(back);
        assert_eq!(world.registered(session).expect("registered").2, std::slice::from_ref(&framework.1));
        assert_eq!(orphans(&world), [(task.1.clone(), framework.1)]);
        gone(&mut world, session, &task.1);
        assert!(used(&world).is_empty());
    }
}

#[test]
fn a_new_master_learns_what_a_framework_that_was_removed_before_it_came_still_uses() {
    let (mut world, framework, agent, task, _) = running();
    world.call(framework.0, Call::Teardown);
    let facts = world.facts();
    let mut later = World::with(facts, Config::default());
    let other = later.framework("other");
    let session = later.register(with_orphan(&agent.1, &framework.1, &task));
    assert_eq!(*later.offers(other.0)[0].resources, resources(REST));
    gone(&mut later, session, &task.1);
    assert!(used(&later).is_empty());
}

#[test]
fn of_an_agent_that_does_not_report_orphans_everything_is_free_at_once() {
    let (mut world, framework, agent, task, _) = running();
    let mut older = register(Some(&agent.1), TOTAL);
    older.version = 1;
    older.frameworks = vec![known(&framework.1, "f")];
    older.tasks = vec![reported(&framework.1, &task, WANTED, TaskState::TaskRunning)];
    let session = world.register(older.clone());
    assert_eq!(used(&world), resources(WANTED));
    world.call(framework.0, Call::Teardown);
    assert!(matches!(&world.orders(session)[..], [Order::Shutdown { .. }]));
    assert!(used(&world).is_empty());
    let session = world.register(older);
    assert_eq!(world.registered(session).expect("registered").2, [framework.1]);
    assert!(used(&world).is_empty(), "it would never report that they are gone");
}

#[test]
fn an_older_copy_of_a_task_goes_with_its_framework() {
    let mut world = World::new();
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let copy = |container: &str| ("t".to_owned(), container.to_owned());
    let mut sessions = Vec::new();
    for (agent, container) in [("old-S0", "c1"), ("old-S1", "c2")] {
        let mut back = register(Some(agent), TOTAL);
        back.frameworks = vec![known("old-0000", "f")];
        back.tasks = vec![reported("old-0000", &copy(container), WANTED, TaskState::TaskRunning)];
        sessions.push(world.register(back));
    }
    world.call(framework, Call::Teardown);
    for (session, container) in sessions.iter().zip(["c1", "c2"]) {
        assert!(matches!(&world.orders(*session)[..], [Order::Shutdown { .. }]), "{container}");
    }
    assert_eq!(orphans(&world).len(), 2);
    gone(&mut world, sessions[0], "c1");
    assert!(used(&world).is_empty());
    let mut back = register(Some("old-S0"), TOTAL);
    back.epoch = 3;
    let again = world.register(back);
    assert!(world.registered(again).is_some(), "nothing of the older copy is left to stumble over");
}
