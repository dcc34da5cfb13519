//! Registrations with more tasks than a turn registers.

use std::time::Duration;

use super::world::{World, query, register, reported};
use crate::{
    allocator::fair::Quota,
    master::{
        core::{
            Call, Config, Event, Input, Order, Partition, Presence, Principal, Question, Register, Report, RequestId,
            SessionId,
        },
        registry,
    },
    proto::v1::{TaskInfo, TaskState},
    types::{OnReturn, PartitionPolicy},
};

const TASKS: usize = 20;

/// A master that registers a few tasks a turn, and a framework.
fn world() -> (World, SessionId, String) {
    let config = Config { work_per_turn: 4, ..Config::default() };
    let mut world = World::with(registry::State::default(), config);
    let (framework, id) = world.framework("f");
    (world, framework, id)
}

/// An agent full of tasks of this framework.
fn crowded(framework: &str) -> Register {
    let mut register = register(Some("m-S7"), "cpus:20;mem:2000");
    let task = |at: usize| (format!("t{at}"), format!("c{at:02}"));
    let running = |at| reported(framework, &task(at), "cpus:0.5;mem:50", TaskState::TaskRunning);
    register.tasks = (0..TASKS).map(running).collect();
    register
}

/// The number of known tasks of the only agent.
fn known(world: &World) -> usize {
    world.harness.core.snapshot().agents[0].tasks.len()
}

fn presence(world: &World) -> Presence {
    world.harness.core.snapshot().agents[0].presence
}

#[test]
fn nothing_is_offered_or_sent_of_an_agent_before_its_last_task_is_registered_and_others_are_served_meanwhile() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    assert!((1..TASKS).contains(&known(&world)), "{} tasks in the first turn", known(&world));
    assert_eq!((world.registered(agent), presence(&world)), (None, Presence::Disconnected));
    let (other, other_id) = world.framework("other");
    assert!(!other_id.is_empty(), "it is subscribed at once");
    assert!(world.inbox().is_empty());
    world.wait(Duration::ZERO);
    assert_eq!((known(&world), presence(&world)), (TASKS, Presence::Connected));
    assert!(world.registered(agent).is_some());
    let made = world.inbox();
    assert_eq!(made.len(), 1, "{made:?}");
    assert!([framework, other].contains(&made[0].0));
    assert_eq!(made[0].1.resources.to_string(), "cpus:10; mem:1000", "what its tasks leave");
}

#[test]
fn a_session_lost_meanwhile_leaves_what_was_registered_and_the_rest_is_still_expected() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    let taken_in = known(&world);
    world.detach(agent);
    assert!(!world.harness.core.is_registering(agent));
    world.wait(Duration::from_secs(1));
    assert_eq!((known(&world), presence(&world)), (taken_in, Presence::Disconnected));
    let last = format!("t{}", TASKS - 1);
    world.call(framework, Call::Reconcile { tasks: vec![query(&last, Some("m-S7")), query("t0", Some("m-S7"))] });
    let answered = world.states(framework);
    assert_eq!(answered, [("t0".to_owned(), TaskState::TaskRunning)], "the other may well run");
    let again = world.register(crowded(&id));
    world.wait(Duration::ZERO);
    assert!(world.registered(again).is_some());
    assert_eq!((known(&world), presence(&world)), (TASKS, Presence::Connected));
    world.call(framework, Call::Reconcile { tasks: vec![query(&last, Some("m-S7")), query("x", Some("m-S7"))] });
    assert_eq!(
        world.states(framework),
        [(last, TaskState::TaskRunning), ("x".to_owned(), TaskState::TaskGone)],
        "now all that it has is known"
    );
}

#[test]
fn an_agent_that_never_reregisters_after_that_is_unreachable_and_so_are_all_its_tasks() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    world.detach(agent);
    world.wait(Duration::from_mins(11));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }));
    let last = format!("t{}", TASKS - 1);
    world.call(framework, Call::Reconcile { tasks: vec![query(&last, Some("m-S7"))] });
    assert_eq!(world.states(framework), [(last, TaskState::TaskUnreachable)]);
}

#[test]
fn a_kill_of_a_task_that_is_not_registered_yet_is_sent_once_the_agent_is() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    let last = format!("t{}", TASKS - 1);
    for (task, named) in [("t0", None), (last.as_str(), Some("m-S7"))] {
        world.call(framework, Call::Kill { task: task.to_owned(), agent: named.map(str::to_owned), policy: None });
        assert!(world.orders(agent).is_empty(), "nothing is sent before it is registered");
    }
    world.wait(Duration::ZERO);
    let orders = world.orders(agent);
    assert!(matches!(orders[0], Order::Registered(_)), "{orders:?}");
    let mut killed: Vec<&str> = orders
        .iter()
        .filter_map(|order| match order {
            Order::Kill { task, .. } => Some(&**task),
            _ => None,
        })
        .collect();
    killed.sort_unstable();
    assert_eq!(killed, [last.as_str(), "t0"].map(str::to_owned).iter().rev().collect::<Vec<_>>());
}

#[test]
fn the_tasks_of_a_framework_that_is_torn_down_meanwhile_are_ended_and_held_until_they_are_gone() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    world.call(framework, Call::Teardown);
    world.wait(Duration::ZERO);
    let (_, missing, removed) = world.registered(agent).expect("registered");
    assert_eq!((missing, removed), (vec![], vec![id]));
    let snapshot = world.harness.core.snapshot();
    assert_eq!((snapshot.agents[0].tasks.len(), snapshot.agents[0].orphans.len()), (0, TASKS));
    assert_eq!(snapshot.agents[0].amounts.used.to_string(), "cpus:10; mem:1000");
}

#[test]
fn an_agent_that_sends_more_before_it_is_registered_or_that_is_marked_gone_is_refused_and_its_session_ends() {
    let (mut world, _, id) = world();
    let agent = world.register(crowded(&id));
    world.feed(Input::Reported { session: agent, report: Report::Ponged });
    assert!(!world.closed(agent), "an answer to a ping is allowed");
    world.feed(Input::Reported { session: agent, report: Report::Unregistered });
    assert!(matches!(&world.orders(agent)[..], [Order::Refused { permanent: false, .. }]));
    assert!(world.closed(agent));
    let agent = world.register(crowded(&id));
    let question = Question::MarkGone { agent: "m-S7".to_owned() };
    world.feed(Input::Asked { request: RequestId(1), principal: Principal::Anonymous, question });
    assert!(matches!(&world.orders(agent)[..], [Order::Gone]));
    assert!(world.closed(agent));
    world.wait(Duration::ZERO);
    assert!(world.harness.core.snapshot().agents.is_empty());
}

#[test]
fn frameworks_that_never_stop_reconciling_delay_no_ping_and_no_registration() {
    let (mut world, framework, id) = world();
    let (second, second_id) = world.framework("g");
    let mut busy = crowded(&id);
    busy.tasks.extend((0..TASKS).map(|at| {
        reported(&second_id, &(format!("g{at}"), format!("g{at:02}")), "cpus:0.1;mem:10", TaskState::TaskRunning)
    }));
    let agent = world.register(busy);
    world.wait(Duration::ZERO);
    assert!(world.registered(agent).is_some());
    let mut next = crowded(&id);
    next.id = Some("m-S8".to_owned());
    next.tasks.iter_mut().for_each(|task| task.id.push('x'));
    next.facts.port += 1;
    let next = world.register(next);
    world.now = world.now.advanced(Duration::from_secs(20));
    let (mut is_pinged, mut is_registered) = (false, false);
    for _ in 0..200 {
        for asking in [framework, second] {
            world.call(asking, Call::Reconcile { tasks: Vec::new() });
        }
        world.feed(Input::Ticked);
        is_pinged |= world.orders(agent).iter().any(|order| matches!(order, Order::Ping));
        is_registered |= world.registered(next).is_some();
        let answered = |event: &Event| matches!(event, Event::Updated { .. });
        assert!(world.events(framework).iter().chain(&world.events(second)).any(answered), "both are answered");
    }
    assert_eq!((is_pinged, is_registered), (true, true));
}

/// The agent with all its tasks running, the first of which ended and is not acknowledged, and one more that was
/// launched there and never arrived. Returns the uuid of the end.
fn with_a_launch_that_never_arrived(world: &mut World, framework: SessionId, id: &str) -> bytes::Bytes {
    let agent = world.register(crowded(id));
    world.wait(Duration::ZERO);
    let offer = world.inbox().pop().expect("what its tasks leave").1;
    world.launch(framework, &offer, &[("lost", "cpus:1;mem:50")]);
    let uuid = world.update(agent, id, &("t0".to_owned(), "c00".to_owned()), TaskState::TaskFinished);
    world.detach(agent);
    uuid
}

/// The agent's next registration, without the launch.
fn without_it(id: &str) -> Register {
    let mut back = crowded(id);
    back.tasks[0].state = TaskState::TaskFinished;
    back.tasks[0].unacknowledged = Some(TaskState::TaskFinished);
    back
}

#[test]
fn a_launch_that_never_arrived_is_found_missing_though_a_task_that_was_named_ended_meanwhile() {
    let (mut world, framework, id) = world();
    let uuid = with_a_launch_that_never_arrived(&mut world, framework, &id);
    let back = world.register(without_it(&id));
    assert!(world.harness.core.is_registering(back));
    world.acknowledge(framework, "m-S7", "t0", &uuid);
    world.wait(Duration::ZERO);
    let (_, missing, _) = world.registered(back).expect("registered");
    assert_eq!(missing, ["lost"]);
}

#[test]
fn of_a_framework_that_is_torn_down_meanwhile_nothing_is_held_that_the_agent_does_not_have() {
    let (mut world, framework, id) = world();
    with_a_launch_that_never_arrived(&mut world, framework, &id);
    world.register(without_it(&id));
    world.call(framework, Call::Teardown);
    world.wait(Duration::ZERO);
    let snapshot = world.harness.core.snapshot();
    assert_eq!(snapshot.agents[0].orphans.len(), TASKS - 1, "those that run");
    assert_eq!(snapshot.agents[0].amounts.used.to_string(), "cpus:9.5; mem:950");
}

#[test]
fn a_registration_that_breaks_leaves_the_next_to_say_which_tasks_are_reachable_again() {
    let (mut world, framework, id) = world();
    let agent = world.register(crowded(&id));
    world.wait(Duration::ZERO);
    world.detach(agent);
    world.wait(Duration::from_mins(11));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }));
    let part = world.register(crowded(&id));
    world.detach(part);
    world.register(crowded(&id));
    let mut again = world.states(framework);
    world.wait(Duration::ZERO);
    again.extend(world.states(framework));
    let mut again: Vec<String> = again.into_iter().map(|(task, _)| task).collect();
    again.sort_unstable();
    again.dedup();
    assert_eq!(again.len(), TASKS, "{again:?}");
}

#[test]
fn no_status_is_sent_for_tasks_of_an_agent_that_never_completed_a_registration_when_it_retries() {
    let (mut world, framework, id) = world();
    let first = world.register(crowded(&id));
    world.detach(first);
    world.wait(Duration::from_mins(11));
    let second = world.register(crowded(&id));
    let last = format!("t{}", TASKS - 1);
    world.call(framework, Call::Reconcile { tasks: vec![query(&last, Some("m-S7"))] });
    assert_eq!(world.states(framework), []);
    world.call(framework, Call::Kill { task: last.clone(), agent: Some("m-S7".to_owned()), policy: None });
    world.wait(Duration::ZERO);
    let killed = |order: &Order| matches!(order, Order::Kill { task, .. } if **task == *last);
    assert!(world.orders(second).iter().any(killed), "the kill was kept");
}

#[test]
fn an_agent_that_disconnects_meanwhile_delays_no_offers_where_there_are_quotas() {
    let (mut world, framework, id) = world();
    let limit = Quota::new([], [("cpus", 1.0)]).expect("a quota");
    let question = Question::Quotas { quotas: vec![("elsewhere".to_owned(), limit)], force: true };
    world.feed(Input::Asked { request: RequestId(1), principal: Principal::Anonymous, question });
    let agent = world.register(crowded(&id));
    world.detach(agent);
    let mut other = register(None, "cpus:1;mem:100");
    (other.facts.port, other.facts.hostname) = (7_000, "other".to_owned());
    world.register(other);
    let made = world.inbox();
    assert_eq!(made.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [framework]);
}

#[test]
fn of_two_copies_the_policy_chooses_though_the_agent_of_the_first_is_not_registered_yet() {
    let (mut world, _, id) = world();
    let policy = PartitionPolicy::default().on_returning(OnReturn::KeepReplacement);
    let mut first = crowded(&id);
    first.tasks[0].partition =
        Partition::of(&TaskInfo { partition_policy: Some(Box::new(policy)), ..TaskInfo::default() });
    let first = world.register(first);
    assert!(world.harness.core.is_registering(first));
    let mut second = register(Some("m-S8"), "cpus:1;mem:100");
    (second.facts.port, second.facts.hostname) = (7_000, "other".to_owned());
    let replacement = ("r".to_owned(), "d00".to_owned());
    second.tasks = vec![reported(&id, &replacement, "cpus:0.5;mem:50", TaskState::TaskRunning)];
    second.tasks[0].partition = Partition::of(&TaskInfo { replaces: Some("t0".into()), ..TaskInfo::default() });
    world.register(second);
    world.wait(Duration::ZERO);
    let killed = |order: &Order| matches!(order, Order::Kill { task, .. } if **task == *"t0");
    assert_eq!(world.orders(first).iter().filter(|order| killed(order)).count(), 1);
}
