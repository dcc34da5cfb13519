//! Statuses, acknowledgements, kills and reconciliation.

use std::time::Duration;

use super::world::{World, query, resources};
use crate::{
    master::core::{Call, Input, Order, ReconcileTask, Report, ReportedTask, SessionId, Task, Update},
    proto::v1::{TaskId, TaskState, TaskStatus, task_status::Reason},
};

/// A session and the id of its peer.
type Party = (SessionId, String);

/// A framework with one task `t` running.
fn running() -> (World, Party, Party, (String, String)) {
    let mut world = World::new();
    let framework = world.framework("f");
    let agent = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework.0)[0].clone();
    world.launch(framework.0, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(agent.0)[0].clone();
    world.update(agent.0, &framework.1, &task, TaskState::TaskRunning);
    (world, framework, agent, task)
}

#[test]
fn a_status_goes_on_to_the_framework_and_its_acknowledgement_back() {
    let (mut world, framework, agent, task) = running();
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskRunning)]);
    let uuid = world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    world.acknowledge(framework.0, &agent.1, "t", &uuid);
    assert!(matches!(&world.orders(agent.0)[..], [Order::Acknowledge { task, .. }] if task == "t"));
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty(), "the end was acknowledged");
    assert_eq!(world.harness.core.snapshot().frameworks[0].completed.len(), 1);
}

#[test]
fn a_container_is_completed_as_long_as_one_of_its_completed_tasks_is_kept() {
    let (mut world, framework, ..) = running();
    let task = world.harness.core.snapshot().agents[0].tasks.values().next().expect("it runs").clone();
    let key = world.harness.core.frameworks.by_id(&framework.1).expect("it is subscribed");
    let record = world.harness.core.frameworks.get_mut(key).expect("it is subscribed");
    let other = Task { container: "another".into(), ..(*task).clone() };
    for completed in [(*task).clone(), (*task).clone(), other] {
        record.keep_completed("agent".into(), completed, 2);
    }
    assert!(record.has_completed(&task.container), "one of two is kept");
    record.keep_completed("agent".into(), Task { container: "a third".into(), ..(*task).clone() }, 2);
    assert!(!record.has_completed(&task.container));
    assert!(record.has_completed(&"another".into()) && record.has_completed(&"a third".into()));
}

#[test]
fn resources_are_free_with_the_latest_state_not_with_the_acknowledgement() {
    let (mut world, framework, agent, task) = running();
    let uuid = world.update(agent.0, &framework.1, &task, TaskState::TaskFailed);
    assert!(world.harness.core.snapshot().agents[0].amounts.used.is_empty());
    assert!(!world.harness.core.snapshot().agents[0].tasks.is_empty(), "listed until the acknowledgement");
    world.update(agent.0, &framework.1, &task, TaskState::TaskFailed);
    assert!(world.harness.core.snapshot().agents[0].amounts.used.is_empty(), "freed once");
    world.acknowledge(framework.0, &agent.1, "t", &uuid);
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty());
}

#[test]
fn an_agent_that_forgot_an_acknowledged_end_is_answered_by_the_master_and_the_framework_is_sent_nothing() {
    let (mut world, framework, agent, task) = running();
    let uuid = world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    world.acknowledge(framework.0, &agent.1, "t", &uuid);
    let mut back = super::world::register(Some(&agent.1), "cpus:4;mem:1024");
    back.tasks = vec![super::world::reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskGone)];
    let again = world.register(back);
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty(), "it is not added as an unknown task");
    let uuid = world.update(again, &framework.1, &task, TaskState::TaskGone);
    assert!(world.statuses(framework.0).is_empty());
    assert!(matches!(&world.orders(again)[..], [Order::Acknowledge { uuid: answered, .. }] if *answered == uuid));
}

#[test]
fn an_agent_that_forgot_an_end_in_flight_does_not_replace_it_by_another() {
    let (mut world, framework, agent, task) = running();
    let first = world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    let mut back = super::world::register(Some(&agent.1), "cpus:4;mem:1024");
    back.tasks = vec![super::world::reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskGone)];
    let again = world.register(back);
    let second = world.update(again, &framework.1, &task, TaskState::TaskGone);
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskFinished)], "the first, once more");
    world.acknowledge(framework.0, &agent.1, "t", &first);
    world.update(again, &framework.1, &task, TaskState::TaskGone);
    assert!(matches!(&world.orders(again)[..], [Order::Acknowledge { uuid, .. }] if *uuid == second));
}

#[test]
fn an_end_that_its_agent_forgot_is_kept_until_it_is_acknowledged() {
    let (mut world, framework, agent, task) = running();
    let end = world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    world.detach(framework.0);
    world.register(super::world::register(Some(&agent.1), "cpus:4;mem:1024"));
    let (again, _) = world.subscribe(super::world::facts("f", "*"), Some(&framework.1));
    assert_eq!(world.states(again), [("t".into(), TaskState::TaskFinished)]);
    world.acknowledge(again, &agent.1, "t", &end);
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty());
}

#[test]
fn an_agent_that_reports_a_task_of_a_removed_framework_is_sent_a_shutdown() {
    let (mut world, framework, agent, task) = running();
    world.call(framework.0, Call::Teardown);
    world.update(agent.0, &framework.1, &task, TaskState::TaskKilled);
    assert!(matches!(&world.orders(agent.0)[..], [Order::Shutdown { framework: id }] if **id == framework.1));
}

#[test]
fn a_reconciliation_after_an_agent_reregistered_is_answered_with_the_status_in_flight() {
    let (mut world, framework, agent, task) = running();
    world.detach(agent.0);
    let mut back = super::world::register(Some(&agent.1), "cpus:4;mem:1024");
    let reported = super::world::reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskFailed);
    back.tasks = vec![ReportedTask { unacknowledged: Some(TaskState::TaskRunning), ..reported }];
    world.register(back);
    world.call(framework.0, Call::Reconcile { tasks: Vec::new() });
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskRunning)], "the end comes in its turn");
}

#[test]
fn an_answer_never_overtakes_an_end_in_flight_and_carries_how_the_process_ended() {
    let (mut world, framework, agent, task) = running();
    world.detach(agent.0);
    let mut back = super::world::register(Some(&agent.1), "cpus:4;mem:1024");
    let reported = super::world::reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskFailed);
    back.tasks = vec![ReportedTask { unacknowledged: Some(TaskState::TaskFailed), ..reported }];
    let session = world.register(back);
    for tasks in [Vec::new(), vec![query("t", None)]] {
        world.call(framework.0, Call::Reconcile { tasks });
        assert!(world.states(framework.0).is_empty(), "the agent's status answers");
    }
    world.update(session, &framework.1, &task, TaskState::TaskFailed);
    let sent = world.statuses(framework.0)[0].clone();
    world.call(framework.0, Call::Reconcile { tasks: Vec::new() });
    let answer = world.statuses(framework.0)[0].clone();
    assert_eq!((answer.state(), answer.reason()), (TaskState::TaskFailed, Reason::Reconciliation));
    assert_eq!((answer.process_end, answer.message), (sent.process_end, sent.message));
}

#[test]
fn an_acknowledgement_of_another_status_does_not_end_the_task() {
    let (mut world, framework, agent, task) = running();
    world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    world.acknowledge(framework.0, &agent.1, "t", &bytes::Bytes::from_static(&[9; 16]));
    assert_eq!(world.harness.core.snapshot().agents[0].tasks.len(), 1);
}

#[test]
fn a_framework_that_resubscribes_receives_the_unacknowledged_statuses_at_once() {
    let (mut world, framework, _, _) = running();
    world.detach(framework.0);
    let (again, id) = world.subscribe(super::world::facts("f", "*"), Some(&framework.1));
    assert_eq!(id, framework.1);
    assert_eq!(world.states(again), [("t".into(), TaskState::TaskRunning)]);
    assert!(world.statuses(again)[0].uuid.is_some());
}

#[test]
fn a_kill_is_sent_to_the_agent_and_again_when_it_reregisters() {
    let (mut world, framework, agent, task) = running();
    world.detach(agent.0);
    world.call(framework.0, Call::Kill { task: "t".into(), agent: None, policy: None });
    let mut back = super::world::register(Some(&agent.1), "cpus:4;mem:1024");
    back.tasks = vec![super::world::reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    let session = world.register(back);
    assert!(world.orders(session).iter().any(|order| matches!(order, Order::Kill { task, .. } if &**task == "t")));
}

#[test]
fn a_kill_that_names_another_agent_does_nothing() {
    let (mut world, framework, agent, _) = running();
    world.call(framework.0, Call::Kill { task: "t".into(), agent: Some("m-S9".into()), policy: None });
    assert!(world.orders(agent.0).is_empty());
    world.call(framework.0, Call::Kill { task: "t".into(), agent: Some(agent.1), policy: None });
    assert_eq!(world.orders(agent.0).len(), 1);
}

#[test]
fn reconciliation_answers_for_all_or_for_those_named() {
    let (mut world, framework, agent, (_, container)) = running();
    world.call(framework.0, Call::Reconcile { tasks: Vec::new() });
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskRunning)]);
    let status = world.statuses(framework.0)[0].clone();
    assert_eq!((status.reason(), status.uuid), (Reason::Reconciliation, None));
    let named = status.container_status.and_then(|it| it.container_id).map(|id| id.value);
    assert_eq!(named, Some(container));
    let tasks = vec![query("t", None), query("nope", None), query("nope", Some(&agent.1)), query("nope", Some("m-S9"))];
    world.call(framework.0, Call::Reconcile { tasks });
    let sent: Vec<TaskState> = world.states(framework.0).into_iter().map(|(_, state)| state).collect();
    let unknown = TaskState::TaskUnknown;
    assert_eq!(sent, [TaskState::TaskRunning, unknown, TaskState::TaskGone, unknown]);
}

#[test]
fn no_status_of_unknown_tasks_is_sent_while_agents_are_expected_to_reregister() {
    let mut facts = crate::master::registry::State::default();
    facts.agents.insert("old-S0".into(), crate::proto::v1::AgentInfo::default());
    let mut world = World::with(facts, crate::master::core::Config::default());
    let (framework, _) = world.framework("f");
    let ask = |agent: Option<&str>| Call::Reconcile { tasks: vec![query("t", agent)] };
    world.call(framework, ask(None));
    world.call(framework, ask(Some("old-S0")));
    assert!(world.states(framework).is_empty());
    world.wait(Duration::from_mins(11));
    world.call(framework, ask(Some("old-S0")));
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskUnreachable)]);
    assert!(world.statuses(framework)[0].unreachable_time.is_some());
}

#[test]
fn a_terminal_task_stays_what_it_is() {
    let (mut world, framework, agent, task) = running();
    world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    world.update(agent.0, &framework.1, &task, TaskState::TaskKilled);
    let tasks = &world.harness.core.snapshot().agents[0].tasks;
    assert_eq!(tasks.values().next().map(|task| task.state), Some(TaskState::TaskFinished));
}

#[test]
fn what_an_agent_uses_again_for_a_task_it_reported_lost_is_not_offered() {
    let (mut world, framework, agent, task) = running();
    let says = |latest: TaskState| {
        let mut status = TaskStatus { task_id: TaskId { value: task.0.clone() }, ..TaskStatus::default() };
        status.set_state(TaskState::TaskRunning);
        let (framework, container) = (framework.1.clone(), task.1.as_str().into());
        let update = Update { framework, container, state: TaskState::TaskRunning, latest, status: status.into() };
        Input::Reported { session: agent.0, report: Report::Updated(Box::new(update)) }
    };
    world.feed(says(TaskState::TaskLost));
    world.wait(Duration::from_secs(10));
    let offered = |world: &World| world.harness.core.snapshot().agents[0].amounts.offered.clone();
    assert_eq!(offered(&world), resources("cpus:4;mem:1024"));
    world.feed(says(TaskState::TaskRunning));
    assert!(resources("cpus:3;mem:992").contains(&offered(&world)), "{}", offered(&world));
}

#[test]
fn a_restarted_master_reports_an_unknown_task_lost_when_its_policy_says_so_and_not_before() {
    let mut facts = crate::master::registry::State::default();
    facts.agents.insert("old-S0".into(), crate::proto::v1::AgentInfo::default());
    let mut world = World::with(facts, crate::master::core::Config::default());
    let (framework, _) = world.framework("f");
    let ask = |lost_after: Option<Duration>| {
        let query = ReconcileTask { lost_after, ..query("t", Some("old-S0")) };
        Call::Reconcile { tasks: vec![query] }
    };
    let soon = Some(Duration::from_mins(5));
    world.wait(Duration::from_mins(11));
    world.call(framework, ask(soon));
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskUnreachable)]);
    world.wait(Duration::from_mins(4));
    world.call(framework, ask(soon));
    let lost = &world.statuses(framework)[0];
    assert_eq!((lost.state(), lost.unreachable_time.is_some()), (TaskState::TaskLost, true), "{lost:?}");
    for patient in [None, Some(Duration::from_hours(1))] {
        world.call(framework, ask(patient));
        assert_eq!(world.states(framework), [("t".into(), TaskState::TaskUnreachable)]);
    }
}

#[test]
fn the_history_of_a_task_whose_state_changes_for_ever_is_bounded_and_misses_no_state() {
    let (mut world, framework, agent, task) = running();
    let uuid = world.update(agent.0, &framework.1, &task, TaskState::TaskKilling);
    world.acknowledge(framework.0, &agent.1, "t", &uuid);
    for _ in 0..200 {
        for state in [TaskState::TaskStarting, TaskState::TaskUnreachable] {
            let uuid = world.update(agent.0, &framework.1, &task, state);
            world.acknowledge(framework.0, &agent.1, "t", &uuid);
        }
    }
    let snapshot = world.harness.core.snapshot();
    let (_, record) = snapshot.agents[0].tasks.iter().next().expect("it is there");
    let states: Vec<TaskState> = record.history.iter().map(|seen| seen.state).collect();
    assert_eq!(states.len(), 32, "{states:?}");
    let first = [TaskState::TaskStaging, TaskState::TaskRunning, TaskState::TaskKilling];
    assert_eq!(states[..3], first, "what came once stays");
    assert_eq!(states.last(), Some(&TaskState::TaskUnreachable));
}
